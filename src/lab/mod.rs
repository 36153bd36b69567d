//! The saturation lab: load with intended start times, and what became of it.
//!
//! It knows nothing of the server: a load goes to an address. Measuring (`arrivals`, `load`),
//! theory (`crate::theory`, `twin`) and drawing (`chart`, `table`, `report`) stand apart; `program`
//! is what the programs of `examples/` have in common.

pub mod arrivals;
pub mod chart;
pub mod csv;
pub mod load;
pub mod program;
pub mod progress;
pub mod report;
pub mod sample;
pub mod table;
pub mod trace;
pub mod twin;

/// Text as it stands in HTML and SVG, in content and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
