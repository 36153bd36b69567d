//! The requests that a handler accepts: bodies up to a size, and unregistered methods.

use crate::http::target::DecodedPath;

/// What a handler accepts besides requests with a registered method and no body.
///
/// The server reads a whole message before it calls the handler, so it must know beforehand how
/// much of the body to keep. A handler therefore declares this once, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepts {
    bodies: Vec<BodyRule>,
    unknown_methods: bool,
}

/// The limit of the bodies of requests for a path and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BodyRule {
    segments: Vec<Vec<u8>>,
    most: u64,
}

impl Accepts {
    /// No bodies, and only the methods that [`Method`](crate::http::request::Method) names.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Accepts bodies of up to `most` bytes for the path `under` and everything below it; `/` means
    /// every path. The rule with the longest matching path applies. A longer body is refused with
    /// 413.
    ///
    /// The server keeps a body in memory (`Config::memory`) until its request is served. If no rule
    /// matches, or `most` is 0, it reads the body and drops it, up to `Config::body_bytes`.
    #[must_use]
    pub fn with_bodies(mut self, under: &str, most: u64) -> Self {
        let segments: Vec<Vec<u8>> = segments(under.as_bytes()).map(<[u8]>::to_vec).collect();
        self.bodies.retain(|rule| rule.segments != segments);
        self.bodies.push(BodyRule { segments, most });
        self.bodies.sort_by_key(|rule| std::cmp::Reverse(rule.segments.len()));
        self
    }

    /// Accepts requests with unregistered methods, too. By default they are refused with 501.
    #[must_use]
    pub fn with_unknown_methods(self) -> Self {
        Self { unknown_methods: true, ..self }
    }

    /// Adds everything that `other` accepts, below the path `under`.
    #[must_use]
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

    /// True if unregistered methods are accepted.
    pub(crate) fn takes_unknown_methods(&self) -> bool {
        self.unknown_methods
    }

    /// True if bodies are accepted for any path.
    pub(crate) fn takes_bodies(&self) -> bool {
        self.bodies.iter().any(|rule| rule.most > 0)
    }

    /// The longest body, in bytes, that is accepted for this path.
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
    fn the_rule_with_the_longest_matching_path_applies() {
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
        assert_eq!(
            limit(&accepts.with_bodies("/a", 9), "/a"),
            9,
            "a later rule replaces an earlier one"
        );
    }

    #[test]
    fn rules_keep_their_meaning_below_a_prefix() {
        let inner = Accepts::nothing().with_bodies("/", 5).with_bodies("/deep", 7);
        let outer = Accepts::nothing().with("/files/", &inner.with_unknown_methods());
        assert!(outer.takes_unknown_methods());
        for (path, most) in [("/", 0), ("/files", 5), ("/files/x", 5), ("/files/deep/x", 7)] {
            assert_eq!(limit(&outer, path), most, "{path}");
        }
    }
}
