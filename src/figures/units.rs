//! Numbers as people read them: three digits and a unit. The live page's script has the same rules.

use std::time::Duration;

/// A rate with three digits, without trailing zeros.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 10.0 => trimmed(format!("{rate:.1}")),
        rate => trimmed(format!("{rate:.2}")),
    }
}

/// A time with three digits, in the unit that fits.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "us"),
    };
    format!("{} {unit}", rate(value))
}

/// A share in whole percent; 0 % and 100 % mean exactly that.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        percent if percent > 0.0 && percent < 1.0 => "under 1 %".to_owned(),
        percent if percent < 100.0 && percent > 99.0 => "over 99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

fn trimmed(number: String) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let rates = [(0.0, "0"), (0.256, "0.26"), (9.996, "10"), (40.0, "40"), (1234.5, "1234")];
        for (value, shown) in rates {
            assert_eq!(rate(value), shown);
        }
        let micros = Duration::from_micros;
        let times = [(7, "7 us"), (1_500, "1.5 ms"), (50_000, "50 ms"), (2_000_000, "2 s")];
        for (value, shown) in times {
            assert_eq!(time(micros(value)), shown);
        }
        for (value, shown) in [(0.0, "0 %"), (0.001, "under 1 %"), (0.999, "over 99 %")] {
            assert_eq!(percent(value), shown);
        }
    }
}
