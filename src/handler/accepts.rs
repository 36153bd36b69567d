//! What a handler takes: which bodies, up to which size, and which methods.

use crate::http::target::DecodedPath;

/// What a handler takes beyond requests of known methods without a body.
///
/// Whoever reads a message has to know how much of it to keep before any of the handler's code
/// runs. So a handler states it once, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Accepts {
    bodies: Vec<BodyRule>,
    unknown_methods: bool,
}

/// The bodies of requests for what is at or beneath a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BodyRule {
    segments: Vec<Vec<u8>>,
    most: u64,
}

impl Accepts {
    /// No bodies, and no methods but those of [`Method`](crate::http::request::Method).
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Takes bodies of up to `most` bytes for the path `under` and all beneath it; `/` is every
    /// path. Where several rules fit, the longest path decides. A longer body is refused by 413.
    ///
    /// A body is held in memory until its request is served, within `Config::memory`. Where no
    /// rule fits, or `most` is 0, a body is read and dropped, within `Config::body_bytes`.
    pub fn with_bodies(mut self, under: &str, most: u64) -> Self {
        let segments: Vec<Vec<u8>> = segments(under.as_bytes()).map(<[u8]>::to_vec).collect();
        self.bodies.retain(|rule| rule.segments != segments);
        self.bodies.push(BodyRule { segments, most });
        self.bodies.sort_by_key(|rule| std::cmp::Reverse(rule.segments.len()));
        self
    }

    /// Takes requests of methods that are not registered too, which otherwise are refused by 501.
    pub fn with_unknown_methods(self) -> Self {
        Self { unknown_methods: true, ..self }
    }

    /// All that this one and `other` take, `other` being beneath the path `under`.
    pub fn with(mut self, under: &str, other: &Self) -> Self {
        for rule in &other.bodies {
            let mut path = under.trim_matches('/').to_owned();
            for segment in &rule.segments {
                path.push('/');
                path.push_str(&String::from_utf8_lossy(segment));
            }
            self = self.with_bodies(&path, rule.most);
        }
        self.unknown_methods |= other.unknown_methods;
        self
    }

    /// True where it takes methods that are not registered.
    pub(crate) fn takes_unknown_methods(&self) -> bool {
        self.unknown_methods
    }

    /// True where it takes some body.
    pub(crate) fn takes_bodies(&self) -> bool {
        self.bodies.iter().any(|rule| rule.most > 0)
    }

    /// The bytes of a body that it takes for this path.
    pub(crate) fn body_limit(&self, path: &DecodedPath) -> u64 {
        let fits = |rule: &&BodyRule| {
            let mut asked = path.segments();
            rule.segments.iter().all(|segment| asked.next() == Some(&segment[..]))
        };
        self.bodies.iter().find(fits).map_or(0, |rule| rule.most)
    }
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(accepts: &Accepts, path: &str) -> u64 {
        accepts.body_limit(&DecodedPath::decode(path.as_bytes()).expect("a path"))
    }

    #[test]
    fn the_longest_path_decides() {
        let accepts = Accepts::nothing()
            .with_bodies("/", 1)
            .with_bodies("/a/b", 3)
            .with_bodies("/a", 2)
            .with_bodies("/a/none", 0);
        let rows = [
            ("/", 1),
            ("/b", 1),
            ("/a", 2),
            ("/%61", 2),
            ("/a/", 2),
            ("/ab", 1),
            ("/a/b", 3),
            ("/a/b/c", 3),
            ("/a/../a/b", 3),
            ("/a/none/x", 0),
        ];
        for (path, most) in rows {
            assert_eq!(limit(&accepts, path), most, "{path}");
        }
        assert_eq!(limit(&Accepts::nothing(), "/"), 0);
        assert_eq!(limit(&accepts.with_bodies("/a", 9), "/a"), 9, "the last word counts");
    }

    #[test]
    fn what_is_beneath_a_path_keeps_its_rules() {
        let inner = Accepts::nothing().with_bodies("/", 5).with_bodies("/deep", 7);
        let outer = Accepts::nothing().with("/files/", &inner.with_unknown_methods());
        assert!(outer.takes_unknown_methods());
        for (path, most) in [("/", 0), ("/files", 5), ("/files/x", 5), ("/files/deep/x", 7)] {
            assert_eq!(limit(&outer, path), most, "{path}");
        }
    }
}
