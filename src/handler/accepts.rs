//! The requests that a handler accepts: bodies up to a size, and unregistered methods.

use crate::http::target::DecodedPath;

/// What a handler accepts besides requests with a registered method and no body.
///
/// The server reads a whole message before it calls the handler, so it must know beforehand how
/// much of the body to keep. A handler therefore declares this once, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Accepts {
    /// In the order of the patterns, the most specific first. The first rule that matches applies.
    bodies: Vec<BodyRule>,
    unknown_methods: bool,
}

/// The limit of the bodies of requests for the paths that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BodyRule {
    pattern: Vec<Piece>,
    most: u64,
}

/// A piece of a path pattern. The order of the variants is the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "routes"), allow(dead_code, reason = "routes have patterns"))]
pub(crate) enum Piece {
    /// The path ends here.
    End,
    /// This segment.
    Literal(Vec<u8>),
    /// Any segment.
    Any,
    /// Any number of segments.
    Rest,
}

impl BodyRule {
    fn fits(&self, path: &DecodedPath) -> bool {
        let mut asked = path.segments();
        for piece in &self.pattern {
            let fits = match (piece, asked.next()) {
                (Piece::Rest, _) => return true,
                (Piece::End, segment) => segment.is_none(),
                (Piece::Literal(literal), segment) => segment == Some(&literal[..]),
                (Piece::Any, segment) => segment.is_some(),
            };
            if !fits {
                return false;
            }
        }
        true
    }
}

impl Accepts {
    /// No bodies, and only the methods that [`Method`](crate::http::request::Method) names.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Accepts bodies of up to `most` bytes for the path `under` and everything below it; `/` means
    /// every path. The rule with the most specific path applies. A longer body is refused with 413,
    /// and so is a chunked body that consists mostly of framing.
    ///
    /// The server keeps a body in memory (`Config::memory`) until its request is served. If no rule
    /// matches, or `most` is 0, it reads the body and drops it, up to `Config::body_bytes`.
    pub fn with_bodies(mut self, under: &str, most: u64) -> Self {
        let pattern: Vec<Piece> = literals(under).chain([Piece::Rest]).collect();
        self.bodies.retain(|rule| rule.pattern != pattern);
        self.with_pattern(pattern, most)
    }

    /// Accepts bodies of up to `most` bytes for the paths that match the pattern. If a rule for the
    /// same pattern exists, the larger limit applies.
    pub(crate) fn with_pattern(mut self, pattern: Vec<Piece>, most: u64) -> Self {
        match self.bodies.binary_search_by(|rule| rule.pattern.cmp(&pattern)) {
            Ok(place) => self.bodies[place].most = self.bodies[place].most.max(most),
            Err(place) => self.bodies.insert(place, BodyRule { pattern, most }),
        }
        self
    }

    /// Accepts requests with unregistered methods, too. By default they are refused with 501.
    pub fn with_unknown_methods(self) -> Self {
        Self { unknown_methods: true, ..self }
    }

    /// Adds everything that `other` accepts, below the path `under`. Only the rules of `other`
    /// apply to bodies there.
    pub fn with(self, under: &str, other: &Self) -> Self {
        self.with_mounted(&literals(under).collect::<Vec<_>>(), other)
    }

    /// Does the same as [`with`](Self::with), below the paths that start with these pieces.
    pub(crate) fn with_mounted(mut self, under: &[Piece], other: &Self) -> Self {
        let beneath = |pattern: &[Piece]| [under, pattern].concat();
        self = self.with_pattern(beneath(&[Piece::Rest]), 0);
        for rule in &other.bodies {
            self = self.with_pattern(beneath(&rule.pattern), rule.most);
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
        self.bodies.iter().find(|rule| rule.fits(path)).map_or(0, |rule| rule.most)
    }
}

fn literals(path: &str) -> impl Iterator<Item = Piece> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| Piece::Literal(segment.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(accepts: &Accepts, path: &str) -> u64 {
        accepts.body_limit(&DecodedPath::decode(path.as_bytes()).expect("a path"))
    }

    #[test]
    fn the_longest_matching_path_applies() {
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

    /// For each segment, a literal is tried first, then any segment, then the rest.
    #[test]
    fn the_most_specific_pattern_applies() {
        let literal = |text: &str| Piece::Literal(text.into());
        let accepts = Accepts::nothing()
            .with_pattern(vec![literal("items"), Piece::End], 1)
            .with_pattern(vec![literal("items"), Piece::End], 5)
            .with_pattern(vec![literal("items"), Piece::End], 2)
            .with_pattern(vec![literal("items"), Piece::Any, Piece::End], 10)
            .with_pattern(vec![literal("items"), Piece::Any, literal("blob"), Piece::End], 100)
            .with_pattern(vec![literal("items"), literal("new"), Piece::End], 0)
            .with_bodies("/static", 0)
            .with_pattern(vec![Piece::Rest], 7);
        let rows = [
            ("/", 7),
            ("/items", 5),
            ("/items/", 5),
            ("/items/1", 10),
            ("/items/new", 0),
            ("/items/new/blob", 100),
            ("/items/1/blob", 100),
            ("/items/1/other", 7),
            ("/static/x/y", 0),
        ];
        for (path, most) in rows {
            assert_eq!(limit(&accepts, path), most, "{path}");
        }
    }

    /// A mounted handler without bodies gets none, even if the rules around it accept them.
    #[test]
    fn only_the_rules_of_a_mounted_handler_apply_below_its_path() {
        let outer = Accepts::nothing().with_bodies("/", 9).with("/a", &Accepts::nothing());
        assert_eq!(["/", "/b", "/a", "/a/b"].map(|path| limit(&outer, path)), [9, 9, 0, 0]);
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
