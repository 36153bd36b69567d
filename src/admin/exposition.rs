//! Writes metrics of each shape for Prometheus.

use crate::metrics::Distribution;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::time::Duration;

/// The unit of a share. The crate's own has a plural, which Prometheus' conventions do not have.
pub(super) fn ratio() -> Unit {
    Unit::Other("ratio".to_owned())
}

/// Upper bounds of the histograms' buckets: from the service time of a small file to a long
/// timeout of a client's.
const BUCKETS: [Duration; 16] = [
    Duration::from_micros(25),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
];

/// Writes metrics of each shape.
pub(super) struct Out<'a, 'e>(pub(super) &'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn family(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<&Unit>,
        kind: MetricType,
        write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(self.0.encode_descriptor(name, help, unit, kind)?)
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        self.family((name, help), None, MetricType::Counter, |out| counter.encode(out))
    }

    pub(super) fn counter_of(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        value: u64,
    ) -> fmt::Result {
        let counter = ConstCounter::new(value);
        self.family((name, help), Some(unit), MetricType::Counter, |out| counter.encode(out))
    }

    /// A counter of seconds, which can have fractions.
    #[cfg(target_os = "linux")]
    pub(super) fn seconds_counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        let unit = Some(&Unit::Seconds);
        self.family((name, help), unit, MetricType::Counter, |out| counter.encode(out))
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let values = values.into_iter().map(|(of, value)| (of, ConstCounter::new(value)));
        self.labelled((name, help), None, MetricType::Counter, label, values)
    }

    pub(super) fn labelled<M: EncodeMetric>(
        &mut self,
        texts: (&str, &str),
        unit: Option<&Unit>,
        kind: MetricType,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, M)>,
    ) -> fmt::Result {
        self.family(texts, unit, kind, |mut out| {
            let mut values = values.into_iter();
            values.try_for_each(|(of, value)| value.encode(out.encode_family(&[(label, of)])?))
        })
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        self.family((name, help), None, MetricType::Gauge, |out| gauge.encode(out))
    }

    pub(super) fn gauge_of(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        value: f64,
    ) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        self.family((name, help), Some(unit), MetricType::Gauge, |out| gauge.encode(out))
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        times: &Distribution,
    ) -> fmt::Result {
        let mut below = 0;
        let buckets = BUCKETS.map(|bound| {
            let up_to = times.count_up_to(bound);
            let within = up_to - below;
            below = up_to;
            (bound.as_secs_f64(), within)
        });
        let (sum, count) = (times.sum().as_secs_f64(), times.count());
        self.family((name, help), Some(&Unit::Seconds), MetricType::Histogram, |mut out| {
            out.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        })
    }
}
