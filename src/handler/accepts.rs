//! What a handler takes: which bodies, up to which size, and which methods.

use crate::http::target::DecodedPath;

/// What a handler takes beyond requests of known methods without a body.
///
/// Whoever reads a message has to know how much of it to keep before any of the handler's code
/// runs. So a handler states it once, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepts {
    /// The most specific first: the first one that fits decides.
    bodies: Vec<BodyRule>,
    unknown_methods: bool,
}

/// The bodies of requests for some paths.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BodyRule {
    pattern: Vec<Piece>,
    most: u64,
}

/// A piece of the pattern of paths; in the order in which they are tried.
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
    /// No bodies, and no methods but those of [`Method`](crate::http::request::Method).
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Takes bodies of up to `most` bytes for the path `under` and all beneath it; `/` is every
    /// path. Where several rules fit, the longest path decides. A longer body is refused by 413.
    ///
    /// A body is held in memory until its request is served, within `Config::memory`. Where no
    /// rule fits, or `most` is 0, a body is read and dropped, within `Config::body_bytes`.
    #[must_use]
    pub fn with_bodies(mut self, under: &str, most: u64) -> Self {
        let pattern: Vec<Piece> = literals(under).chain([Piece::Rest]).collect();
        self.bodies.retain(|rule| rule.pattern != pattern);
        self.with_pattern(pattern, most)
    }

    /// Takes bodies of up to `most` bytes where a pattern fits; of the same pattern, the largest
    /// limit counts.
    #[must_use]
    pub(crate) fn with_pattern(mut self, pattern: Vec<Piece>, most: u64) -> Self {
        match self.bodies.binary_search_by(|rule| rule.pattern.cmp(&pattern)) {
            Ok(place) => self.bodies[place].most = self.bodies[place].most.max(most),
            Err(place) => self.bodies.insert(place, BodyRule { pattern, most }),
        }
        self
    }

    /// Takes requests of methods that are not registered too, which otherwise are refused by 501.
    #[must_use]
    pub fn with_unknown_methods(self) -> Self {
        Self { unknown_methods: true, ..self }
    }

    /// All that this one and `other` take, `other` being beneath the path `under`: of bodies there,
    /// `other` alone decides.
    #[must_use]
    pub fn with(self, under: &str, other: &Self) -> Self {
        self.with_mounted(&literals(under).collect::<Vec<_>>(), other)
    }

    /// The same, beneath the paths that begin with these pieces.
    #[must_use]
    pub(crate) fn with_mounted(mut self, under: &[Piece], other: &Self) -> Self {
        let beneath = |pattern: &[Piece]| [under, pattern].concat();
        self = self.with_pattern(beneath(&[Piece::Rest]), 0);
        for rule in &other.bodies {
            self = self.with_pattern(beneath(&rule.pattern), rule.most);
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

    /// Segment by segment, a literal is tried before any segment, and that before the rest.
    #[test]
    fn the_most_specific_pattern_decides() {
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

    /// A handler that takes no bodies takes none for what others take around it.
    #[test]
    fn of_bodies_beneath_a_path_its_handler_alone_decides() {
        let outer = Accepts::nothing().with_bodies("/", 9).with("/a", &Accepts::nothing());
        assert_eq!(["/", "/b", "/a", "/a/b"].map(|path| limit(&outer, path)), [9, 9, 0, 0]);
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
