//! Number formats for axes, tables and sentences.
//!
//! A time in a sentence has its own unit, as `{:.2?}` writes a [`Duration`]: 1.20ms, 3.51s.

use std::time::Duration;

/// A number in a short form: 0.05, 1.5, 400, 25k, 3M.
pub fn number(value: f64) -> String {
    let (value, unit) = match value.abs() {
        huge if huge >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Four significant digits, without trailing zeros.
    let decimals = match value.abs() {
        small if small > 0.0 && small < 1.0 => (3 - small.log10().floor() as i32).min(9) as usize,
        middle if middle < 100.0 => 2,
        _ => 1,
    };
    let text = format!("{value:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let text = if text == "-0" { "0" } else { text };
    format!("{text}{unit}")
}

/// A share of 1 as a percentage, with as many digits as it needs.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent >= 0.01 => format!("{percent:.2} %"),
        percent if percent >= 1e-9 => format!("{percent:.0e} %"),
        _ => "none".to_owned(),
    }
}

/// A time in milliseconds, for charts.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A time in milliseconds without its unit, for table columns.
pub fn millis_cell(time: Duration) -> String {
    format!("{:.2}", millis(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let rows = [
            (0.0, "0"),
            (0.05, "0.05"),
            (0.000_123, "0.000123"),
            (1.5, "1.5"),
            (99.999, "100"),
            (400.0, "400"),
            (25_000.0, "25k"),
            (3_000_000.0, "3M"),
            (-0.25, "-0.25"),
        ];
        for (value, expected) in rows {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn small_shares_differ_from_none() {
        let rows = [(1.0, "100.00 %"), (0.4236, "42.36 %"), (6e-10, "6e-8 %"), (0.0, "none")];
        for (share, expected) in rows {
            assert_eq!(percent(share), expected);
        }
    }

    #[test]
    fn times_in_a_column_have_one_unit() {
        assert_eq!(millis_cell(Duration::from_micros(1234)), "1.23");
        assert_eq!(millis_cell(Duration::from_secs(1)), "1000.00");
    }
}
