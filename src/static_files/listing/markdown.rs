//! Markdown as HTML that runs nothing and loads nothing.

use crate::config;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::fmt::{self, Write};

/// The schemes that links may have. Others, such as `javascript` and `data`, run what they hold.
const SCHEMES: [&str; 3] = ["http", "https", "mailto"];

/// The HTML of Markdown; none if it is too long.
pub(super) fn from_markdown(text: &str) -> Option<String> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let (mut page, mut filter) = (Bounded(String::new()), Filter::default());
    let events = Parser::new_ext(text, options).filter_map(|event| filter.pass(event));
    pulldown_cmark::html::write_html_fmt(&mut page, events).ok()?;
    Some(page.0)
}

/// Text that refuses to grow beyond [`config::README_HTML`]: a few bytes of Markdown can stand for
/// many of HTML.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > config::README_HTML {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Lets through what is harmless: HTML becomes text, an image becomes a link to it, and a link
/// with a scheme that is not allowed becomes its text.
#[derive(Default)]
struct Filter {
    /// Of each link or image around the current place: whether it is a link on the page.
    links: Vec<bool>,
}

impl Filter {
    fn pass<'t>(&mut self, event: Event<'t>) -> Option<Event<'t>> {
        match event {
            Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
            Event::Start(Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
            Event::End(TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
            // The page's policy permits no style at an element, which an alignment would be.
            Event::Start(Tag::Table(_)) => Some(Event::Start(Tag::Table(Vec::new()))),
            Event::Start(
                Tag::Link { link_type, dest_url, title, id }
                | Tag::Image { link_type, dest_url, title, id },
            ) => {
                // A link within another is none in HTML.
                let is_link = is_allowed(&dest_url) && !self.links.contains(&true);
                self.links.push(is_link);
                is_link.then_some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                let was_link = self.links.pop().unwrap_or_default();
                was_link.then_some(Event::End(TagEnd::Link))
            }
            other => Some(other),
        }
    }
}

/// True for a reference that is relative or has one of the allowed [`SCHEMES`]. Browsers ignore
/// spaces and control characters in some places of a scheme. Here, a scheme that has any is not
/// allowed.
fn is_allowed(reference: &str) -> bool {
    match reference.find([':', '/', '?', '#', '\\']) {
        Some(at) if reference[at..].starts_with(':') => {
            SCHEMES.iter().any(|scheme| reference[..at].eq_ignore_ascii_case(scheme))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The elements and attributes of a page, and its references as a browser takes them. Fails on
    /// anything that is not as this module writes it.
    fn parts(page: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (mut elements, mut attributes, mut references) = (vec![], vec![], vec![]);
        for behind in page.split('<').skip(1) {
            let tag = behind.split_once('>').unwrap_or_else(|| panic!("no end: {page}")).0;
            let tag = tag.trim_end_matches([' ', '/']);
            let (element, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
            elements.push(element.trim_start_matches('/').to_owned());
            while let Some((name, behind)) = rest.split_once("=\"") {
                let (value, behind) = behind.split_once('"').expect("a quoted value");
                attributes.push(name.trim().to_owned());
                if name.trim() == "href" {
                    let value = value.replace("&quot;", "\"").replace("&#x27;", "'");
                    references.push(value.replace("&amp;", "&"));
                }
                rest = behind;
            }
            assert!(rest.is_empty(), "{rest:?} is no attribute: {page}");
        }
        (elements, attributes, references)
    }

    /// The scheme of a reference as browsers find it (WHATWG URL, section 4.4).
    fn scheme(reference: &str) -> Option<String> {
        let trimmed = reference.trim_matches(|of: char| of <= ' ');
        let clean: String = trimmed.chars().filter(|of| !"\t\n\r".contains(*of)).collect();
        let (scheme, _) = clean.split_once(':')?;
        let is_scheme = scheme.starts_with(|of: char| of.is_ascii_alphabetic())
            && scheme.chars().all(|of| of.is_ascii_alphanumeric() || "+-.".contains(of));
        is_scheme.then(|| scheme.to_ascii_lowercase())
    }

    fn assert_harmless(markdown: &str) {
        const ELEMENTS: &str = "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p \
                                pre strong table tbody td th thead tr ul";
        let page = from_markdown(markdown).unwrap_or_default();
        let (elements, attributes, references) = parts(&page);
        let known: Vec<_> = ELEMENTS.split(' ').collect();
        let strange: Vec<_> =
            elements.iter().filter(|element| !known.contains(&element.as_str())).collect();
        assert!(strange.is_empty(), "{strange:?} of {markdown:?}: {page}");
        for attribute in attributes {
            assert!(["class", "href", "start", "title"].contains(&&attribute[..]), "{attribute}");
        }
        for reference in references {
            let scheme = scheme(&reference);
            let is_allowed = scheme.as_deref().is_none_or(|scheme| SCHEMES.contains(&scheme));
            assert!(is_allowed, "{reference:?} of {markdown:?}");
        }
    }

    /// What has run as a script in the output of one renderer or another.
    const PAYLOADS: [&str; 34] = [
        "<script>alert(1)</script>",
        "<ScRiPt\n>alert(1)</ScRiPt>",
        "a <img src=x onerror=alert(1)> b",
        "<svg/onload=alert(1)>",
        "<div\n  onclick='alert(1)'>\n\n**x**\n\n</div>",
        "<!-- --><script>alert(1)</script> -->",
        "<?php alert(1) ?>",
        "<![CDATA[<script>alert(1)</script>]]>",
        "<style>body{display:none}</style>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<base href='https://evil.example/'>",
        "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
        "</article></body><script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x]( javascript:alert(1) )",
        "[x](<java\tscript:alert(1)>)",
        "[x](&#106;avascript:alert(1))",
        "[x](&#x6A;&#x61;vascript&colon;alert(1))",
        "[x](java&Tab;script:alert(1))",
        "[x](java&NewLine;script:alert(1))",
        "[x](&#1;javascript:alert(1))",
        "[x](\u{1}javascript:alert(1))",
        "[x](\u{a0}javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
        "[x](vbscript:msgbox(1))",
        "[x](file:///etc/passwd)",
        "[x][y]\n\n[y]: javascript:alert(1) 'title'",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        "![x\" onerror=\"alert(1)](a.png)",
        "[x](a.html \"\\\" onmouseover=alert(1) \\\"\")",
        "[x](https://a.example/\"onmouseover=alert(1))",
        "``` \"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```",
    ];

    #[test]
    fn markdown_cannot_become_a_script() {
        for payload in PAYLOADS {
            assert_harmless(payload);
            assert_harmless(&format!("> 1. {payload}\n\n| {payload} | b |\n|:-:|--|\n| c |\n"));
            assert_harmless(&format!("[![{payload}]({payload})](https://a.example/)"));
        }
    }

    #[test]
    fn markdown_is_shown_as_it_is_meant() {
        let rows = [
            ("# A\n\n*b* **c** ~~d~~ `e`", "<h1>A</h1>\n<p><em>b</em> <strong>c</strong> <del>d"),
            ("a<br>b", "<p>a&lt;br&gt;b</p>"),
            ("<b>\nx\n</b>", "<p>&lt;b&gt;\nx\n&lt;/b&gt;"),
            ("[a](docs/b.md#c)", "<a href=\"docs/b.md#c\">a</a>"),
            ("[a](../?b=c:d)", "<a href=\"../?b=c:d\">a</a>"),
            ("[a](HTTPS://b.example/)", "<a href=\"HTTPS://b.example/\">a</a>"),
            ("<a@b.example>", "<a href=\"mailto:a@b.example\">a@b.example</a>"),
            ("[a *b*](data:,c) d", "<p>a <em>b</em> d</p>"),
            // Nothing is loaded for a page: an image is a link to it.
            ("![a](b.png)", "<p><a href=\"b.png\">a</a></p>"),
            ("![a](https://b.example/c.png)", "<a href=\"https://b.example/c.png\">a</a>"),
            ("[![a](b.png)](c.md)", "<p><a href=\"c.md\">a</a></p>"),
            ("| a |\n|--:|\n| 1 |", "<th>a</th>"),
            ("```rust\nlet a = 1 < 2;\n```", "class=\"language-rust\">let a = 1 &lt; 2;"),
        ];
        for (markdown, html) in rows {
            let page = from_markdown(markdown).expect("it is short");
            assert!(page.contains(html), "{markdown:?} is {page}");
        }
    }

    proptest! {
        #[test]
        fn no_text_becomes_a_script(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(&PAYLOADS[..]).prop_map(str::to_owned),
                    prop::sample::select(&[
                        "[", "]", "(", ")", "<", ">", "!", "\"", "'", "`", "```", "\n", "\n\n",
                        "> ", "- ", "| ", "|--|", "\\", "&", "&lt;", "javascript:", "data:",
                        "\t", " ", ":", "a", "*", "_", "~~", "# ", "]: ", "http://a", "\u{0}",
                    ][..]).prop_map(str::to_owned),
                    any::<String>(),
                ],
                0..24,
            )
        ) {
            assert_harmless(&parts.concat());
        }
    }
}
