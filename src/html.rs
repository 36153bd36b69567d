//! Text in HTML pages, and the style that the pages for visitors share.

/// The style of error pages and of listings.
pub const STYLE: &str = include_str!("page.css");

/// Escapes text for HTML content and for quoted attribute values. Control characters appear as
/// Rust escapes, such as `\n`, so that a file name that holds them can be read.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            control if control.is_control() => safe.extend(control.escape_default()),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<a b=\"c\" d='e'>&\u{e9}"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{e9}"
        );
        assert_eq!(escape("a\nb\u{7f}\0"), "a\\nb\\u{7f}\\u{0}");
    }
}
