//! An axis: its range, its ticks, and the position of values on it.

use super::ChartError;
use crate::numbers::number;

/// The approximate number of ticks on an axis.
const TICKS: f64 = 6.0;

/// A logarithmic axis with at most this many decades has ticks at 2 and 5, too.
const DECADES_IN_DETAIL: f64 = 2.5;

/// One axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The quantity and its unit.
    pub label: String,
    scale: Scale,
    from: Option<f64>,
    to: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Scale {
    Linear,
    Log,
    /// Positions 0, 1, 2, ... with a name each.
    Named(Vec<String>),
}

impl Axis {
    /// A linear axis. It starts at zero unless there are negative values.
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Linear, from: None, to: None }
    }

    /// A logarithmic axis. Values of zero or less cannot be drawn on it.
    pub fn log(label: &str) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label) }
    }

    /// An axis with named positions 0, 1, 2, ...
    pub fn named<T: Into<String>>(label: &str, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { scale: Scale::Named(names), ..Self::linear(label) }
    }

    /// Fixes the ends of the axis, independent of the data.
    #[must_use]
    pub fn between(mut self, from: f64, to: f64) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// The axis with ends that fit these values, unless its ends are fixed.
    pub(super) fn fitted(&self, values: &[f64]) -> Result<Self, ChartError> {
        let is_log = self.scale == Scale::Log;
        let shown = values.iter().copied().filter(|v| v.is_finite() && (!is_log || *v > 0.0));
        let (low, high) = shown
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (from, to) = match &self.scale {
            Scale::Named(names) => (-0.5, names.len() as f64 - 0.5),
            Scale::Log => {
                // Round to the next 1, 2 or 5 on each side.
                let step = |value: f64, up: bool| {
                    let decade = 10f64.powf(value.log10().floor());
                    let of = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
                    match up {
                        true => of.into_iter().find(|v| *v >= value * (1.0 - 1e-9)),
                        false => of.into_iter().rev().find(|v| *v <= value * (1.0 + 1e-9)),
                    }
                };
                (step(low, false).unwrap_or(low), step(high, true).unwrap_or(high))
            }
            Scale::Linear => {
                let low = low.min(0.0);
                let step = nice_step(high - low);
                ((low / step).floor() * step, (high / step - 1e-9).ceil() * step)
            }
        };
        let (from, mut to) = (self.from.unwrap_or(from), self.to.unwrap_or(to));
        if from == to && from.is_finite() {
            to = if is_log { from * 10.0 } else { from + 1.0 };
        }
        if !(from.is_finite() && to.is_finite() && from < to && (!is_log || from > 0.0)) {
            return Err(ChartError(format!("no data for the axis {:?}", self.label)));
        }
        Ok(Self { from: Some(from), to: Some(to), ..self.clone() })
    }

    /// The ends of a fitted axis.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.from.unwrap_or_default(), self.to.unwrap_or(1.0))
    }

    /// The position of a value between the ends, from 0 to 1. Values outside are clamped.
    pub(super) fn place(&self, value: f64) -> f64 {
        let (from, to) = self.ends();
        let share = match self.scale {
            Scale::Log if value <= 0.0 => 0.0,
            Scale::Log => (value / from).ln() / (to / from).ln(),
            Scale::Linear | Scale::Named(_) => (value - from) / (to - from),
        };
        share.clamp(0.0, 1.0)
    }

    /// The value at a position.
    pub(super) fn at(&self, place: f64) -> f64 {
        let (from, to) = self.ends();
        match self.scale {
            Scale::Log => from * (to / from).powf(place),
            Scale::Linear | Scale::Named(_) => from + (to - from) * place,
        }
    }

    /// The values that have a tick and a label.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (from, to) = self.ends();
        let within = |value: &f64| *value >= from - 1e-9 * (to - from) && *value <= to * 1.000_001;
        match &self.scale {
            Scale::Named(names) => (0..names.len()).map(|index| index as f64).collect(),
            Scale::Log => {
                let in_detail = (to / from).log10() <= DECADES_IN_DETAIL;
                let factors: &[f64] = if in_detail { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
                decades
                    .flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power)))
                    .filter(within)
                    .collect()
            }
            Scale::Linear => {
                let step = nice_step(to - from);
                let first = (from / step - 1e-9).ceil();
                let count = ((to - from) / step + 1e-9).floor() as u32;
                let all = (0..=count).map(|index| (first + f64::from(index)) * step);
                all.filter(|value| *value <= to + 1e-9 * step).collect()
            }
        }
    }

    /// The label of a value.
    pub(super) fn name(&self, value: f64) -> String {
        match &self.scale {
            Scale::Named(names) => {
                let index = value.round();
                let is_place = (value - index).abs() < 1e-6 && index >= 0.0;
                let name = is_place.then(|| names.get(index as usize)).flatten();
                name.cloned().unwrap_or_default()
            }
            Scale::Linear | Scale::Log => number(value),
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides a range into a few parts.
fn nice_step(extent: f64) -> f64 {
    let rough = (extent / TICKS).abs();
    if !(rough.is_finite() && rough > 0.0) {
        return 1.0;
    }
    let decade = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * decade >= rough * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * decade
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis, values: &[f64]) -> Vec<String> {
        let axis = axis.fitted(values).expect("an extent");
        axis.ticks().into_iter().map(|tick| axis.name(tick)).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = Axis::linear("x");
        assert_eq!(names(&linear, &[0.3, 1.2]), ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]);
        assert_eq!(names(&linear, &[170.0, 940.0]), ["0", "200", "400", "600", "800", "1000"]);
        assert_eq!(names(&linear, &[-3.0, 5.0]), ["-4", "-2", "0", "2", "4", "6"]);
        assert_eq!(
            names(&linear, &[0.0, 60_000.0]),
            ["0", "10k", "20k", "30k", "40k", "50k", "60k"]
        );
        assert_eq!(names(&linear, &[0.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        let log = Axis::log("y");
        assert_eq!(names(&log, &[3.0, 40.0]), ["2", "5", "10", "20", "50"]);
        assert_eq!(names(&log, &[0.01, 1e3]), ["0.01", "0.1", "1", "10", "100", "1000"]);
        let named = Axis::named("server", ["this", "other"]);
        assert_eq!(names(&named, &[0.0]), ["this", "other"]);
    }

    #[test]
    fn positions_lie_between_the_ends() {
        let log = Axis::log("y").between(1.0, 100.0).fitted(&[]).expect("an extent");
        assert!((log.place(10.0) - 0.5).abs() < 1e-12);
        assert_eq!((log.place(0.0), log.place(1e9)), (0.0, 1.0));
        assert!((log.at(log.place(7.0)) - 7.0).abs() < 1e-9);
        let named = Axis::named("lane", ["a", "b"]).fitted(&[]).expect("an extent");
        assert_eq!(named.place(0.5), 0.5);
    }
}
