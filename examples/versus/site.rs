//! The folder that all servers serve.

use std::fs;
use std::io;
use std::path::Path;

/// The number of files of the case `files`.
pub const MANY: usize = 10_000;

/// A file of a web application: its name, its length, and whether it has compressed forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset(pub &'static str, pub usize, pub bool);

const fn text(name: &'static str, kib: usize) -> Asset {
    Asset(name, kib << 10, true)
}

const fn binary(name: &'static str, kib: usize) -> Asset {
    Asset(name, kib << 10, false)
}

/// The files of HttpArena's profile `static`: their names, types and sizes, with the compressed
/// forms beside those of text. It requests them in turn.
pub const ASSETS: [Asset; 20] = [
    text("reset.css", 8),
    text("layout.css", 25),
    text("theme.css", 18),
    text("components.css", 200),
    text("utilities.css", 60),
    text("analytics.js", 12),
    text("helpers.js", 22),
    text("app.js", 200),
    text("vendor.js", 300),
    text("router.js", 35),
    text("header.html", 120),
    text("footer.html", 55),
    binary("regular.woff2", 18),
    binary("bold.woff2", 22),
    text("logo.svg", 15),
    text("icon-sprite.svg", 70),
    binary("hero.webp", 45),
    binary("thumb1.webp", 8),
    binary("thumb2.webp", 6),
    text("manifest.json", 3),
];

impl Asset {
    /// Its path in URLs.
    pub fn path(&self) -> String {
        format!("/static/{}", self.0)
    }

    /// Its bytes in a coding, `""` for none. The coded forms have a usual length. They are no
    /// streams that could be decoded: neither servers nor `wrk` look into them.
    pub fn bytes(&self, coding: &str) -> Option<Vec<u8>> {
        match (coding, self.2) {
            ("", _) => Some(content(self.1)),
            ("br", true) => Some(content(self.1 * 22 / 100)),
            ("gzip", true) => Some(content(self.1 * 26 / 100)),
            _ => None,
        }
    }
}

/// The path of one of many files; a folder has a hundred.
pub fn many_path(number: usize) -> String {
    format!("/many/{:02}/{:02}.html", number / 100, number % 100)
}

/// So many bytes, always the same.
pub fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"0123456789abcdefghijklmnopqrstu\n"[at % 32]).collect()
}

/// Creates the folder, with the many files if they are wanted.
pub fn make(root: &Path, has_many: bool) -> io::Result<()> {
    for folder in ["folder", "static"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let plain = [
        ("small.html", 1024),
        ("medium.bin", 100 << 10),
        ("mega.bin", 1 << 20),
        ("large.bin", 10 << 20),
        ("folder/index.html", 1024),
    ];
    for (name, length) in plain {
        fs::write(root.join(name), content(length))?;
    }
    for asset in ASSETS {
        for (coding, ending) in [("", ""), ("br", ".br"), ("gzip", ".gz")] {
            if let Some(bytes) = asset.bytes(coding) {
                fs::write(root.join(format!("static/{}{ending}", asset.0)), bytes)?;
            }
        }
    }
    for number in 0..if has_many { MANY } else { 0 } {
        if number % 100 == 0 {
            fs::create_dir_all(root.join(format!("many/{:02}", number / 100)))?;
        }
        fs::write(root.join(&many_path(number)[1..]), content(1024))?;
    }
    Ok(())
}
