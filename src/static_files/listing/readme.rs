//! The README of a directory as HTML, for the end of its listing.

use crate::config;
use crate::files::entries::Entries;
use crate::files::root::{Found, NotServed, Root};
use crate::html;
use crate::http::target::{DecodedPath, SEGMENT};
use crate::memory::{Claim, Memory, MemoryUse};
use percent_encoding::utf8_percent_encode;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, Read};

/// The names, without regard to case; the first one that a directory has counts.
const NAMES: [&str; 3] = ["README.md", "README.txt", "README"];

/// The schemes that links may have. Others, such as `javascript` and `data`, run what they hold.
const SCHEMES: [&str; 3] = ["http", "https", "mailto"];

/// The HTML of a README, and the claim on its memory.
#[derive(Debug)]
pub(super) struct Readme {
    html: Box<[u8]>,
    #[allow(dead_code, reason = "its drop releases the memory")]
    claim: Claim,
}

impl PartialEq for Readme {
    fn eq(&self, other: &Self) -> bool {
        self.html == other.html
    }
}

impl Readme {
    /// The README among the entries of the directory at `path`, if there is one that may be served.
    /// This waits for a disk.
    pub(super) fn of(
        root: &Root,
        path: &DecodedPath,
        entries: &Entries,
        memory: &Memory,
    ) -> Result<Option<Self>, NotServed> {
        let Some(name) = name_in(entries) else { return Ok(None) };
        let text = match root.find_in(path, name) {
            Ok(Found::File(file, _)) => start_of(&file).map_err(NotServed::from_read),
            Ok(Found::Directory) => return Ok(None),
            Err(reason) => Err(reason),
        };
        let (text, is_cut) = match text {
            Ok(text) => text,
            Err(reason) => {
                log::warn!("cannot read {name:?} for a listing, which goes without: {reason:?}");
                return Ok(None);
            }
        };
        let html = article(name, &String::from_utf8_lossy(&text), is_cut).into_bytes();
        let claim = memory.claim(MemoryUse::Listings, html.len() as u64);
        Ok(Some(Self { html: html.into(), claim: claim.ok_or(NotServed::Busy)? }))
    }

    /// An article.
    pub(super) fn html(&self) -> &[u8] {
        &self.html
    }
}

/// The name of the README that counts.
fn name_in(entries: &Entries) -> Option<&str> {
    let files = entries.as_slice().iter().filter(|entry| !entry.is_directory);
    let names = files.filter_map(|entry| {
        let name = entries.name(entry);
        let rank = NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((rank, std::str::from_utf8(name).ok()?))
    });
    names.min().map(|(_, name)| name)
}

/// The first bytes of a file, and whether it has more. Text that is cut ends with a line if it can,
/// and with a character in any case.
fn start_of(file: &File) -> io::Result<(Vec<u8>, bool)> {
    let mut text = Vec::new();
    file.take(config::README_BYTES as u64 + 1).read_to_end(&mut text)?;
    if text.len() <= config::README_BYTES {
        return Ok((text, false));
    }
    let is_inside = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let within = (0..=config::README_BYTES).rev().find(|&at| !is_inside(text[at]));
    let line = text[..config::README_BYTES].iter().rposition(|&byte| byte == b'\n');
    text.truncate(line.map_or(within.unwrap_or_default(), |at| at + 1));
    Ok((text, true))
}

fn article(name: &str, text: &str, is_cut: bool) -> String {
    let is_markdown = name.to_ascii_lowercase().ends_with(".md");
    let content = is_markdown.then(|| from_markdown(text)).flatten();
    let content = content.unwrap_or_else(|| from_text(text));
    let (href, shown) = (utf8_percent_encode(name, SEGMENT), html::escape(name));
    let link = format!("<a href=\"./{href}\">{shown}</a>");
    let more = if is_cut { format!("<p>There is more in {link}.</p>\n") } else { String::new() };
    format!("<article>\n<p>{link}</p>\n{content}{more}</article>\n")
}

fn from_text(text: &str) -> String {
    let mut content = "<pre class=\"t\">".to_owned();
    for line in text.lines() {
        for (at, part) in line.split('\t').enumerate() {
            content.push_str(if at > 0 { "\t" } else { "" });
            content.push_str(&html::escape(part));
        }
        content.push('\n');
    }
    content + "</pre>\n"
}

/// The HTML of Markdown; none if it is too long.
fn from_markdown(text: &str) -> Option<String> {
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
        const ELEMENTS: &str = "a article blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p \
                                pre strong table tbody td th thead tr ul";
        let page = article("README.md", markdown, true);
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
            let page = article("readme.MD", markdown, false);
            assert!(page.contains(html), "{markdown:?} is {page}");
            assert!(page.contains("<p><a href=\"./readme.MD\">readme.MD</a></p>"), "{page}");
        }
        let text = "a <b>\n\t*c*\r\n\u{7}javascript:alert(1)";
        let page = article("README", text, false);
        let html = "<pre class=\"t\">a &lt;b&gt;\n\t*c*\n\\u{7}javascript:alert(1)\n</pre>";
        assert!(page.contains(html) && !page.contains("There is more"), "{page}");
    }

    #[test]
    fn what_is_long_is_bounded() {
        // A table whose rows are short of cells, and a reference that is used often.
        let table =
            format!("|{}\n|{}\n{}", "a|".repeat(500), "-|".repeat(500), "|\n".repeat(30_000));
        let uses = format!("[a]: /{}\n\n{}", "b".repeat(20_000), "[a] ".repeat(10_000));
        let quotes = ">".repeat(config::README_BYTES);
        let plain = "\"".repeat(config::README_BYTES);
        for text in [table, uses, quotes, plain] {
            for name in ["README", "README.md"] {
                let page = article(name, &text[..text.len().min(config::README_BYTES)], false);
                assert!(page.len() <= config::README_HTML + 1024, "{} bytes", page.len());
            }
        }
        let mut file = tempfile::tempfile().expect("a temporary file");
        let rows = [
            (vec![b'a'; config::README_BYTES], config::README_BYTES, false),
            (vec![b'a'; config::README_BYTES + 1], config::README_BYTES, true),
            ("\u{e9}".repeat(config::README_BYTES).into(), config::README_BYTES, true),
            (["b", &"\u{e9}".repeat(99_999)].concat().into(), config::README_BYTES - 1, true),
            ([&b"line\n"[..], &[b'a'; 99_999]].concat(), 5, true),
            (vec![0x80; config::README_BYTES + 1], 0, true),
        ];
        for (content, length, is_cut) in rows {
            use std::io::{Seek, Write};
            file.set_len(0).and_then(|()| file.rewind()).expect("a file");
            file.write_all(&content).and_then(|()| file.rewind()).expect("written");
            let (text, cut) = start_of(&file).expect("read");
            assert_eq!((text.len(), cut), (length, is_cut));
        }
        assert!(article("README.md", "a", true).contains("<p>There is more in <a href"));
    }

    #[test]
    fn markdown_comes_first_and_case_does_not_matter() {
        let memory = Memory::new(1 << 20);
        let rows: [(&[&str], Option<&str>); 6] = [
            (&["a", "README", "README.txt", "readme.md"], Some("readme.md")),
            (&["readme.txt", "README"], Some("readme.txt")),
            (&["Readme", "readme", "README"], Some("README")),
            (&["README.html", "README.mdx", "READ", "xREADME"], None),
            (&["readme"], Some("readme")),
            (&[], None),
        ];
        for (names, expected) in rows {
            let mut entries = Entries::within(&memory, 0).expect("room");
            entries.push(b"README.md", true, 0, None).expect("room");
            for name in names {
                entries.push(name.as_bytes(), false, 1, None).expect("room");
            }
            entries.finish();
            assert_eq!(name_in(&entries), expected, "{names:?}");
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
