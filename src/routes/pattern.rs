//! Patterns of paths: which there are, and what is wrong with the others.

use crate::handler::Piece;
use matchit::InsertError;
use std::fmt;

/// Why there is no table of some routes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The pattern is malformed: the pattern, and what is wrong with it.
    Pattern(String, &'static str),
    /// Both fit the same paths, and neither is more specific.
    Conflict(String, String),
    /// The name of the method is no token (RFC 9110, section 9.1).
    Method(String),
}

impl fmt::Display for RouteError {
    /// One line: what is wrong with what, and in parentheses what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern, wrong) => write!(f, "cannot route {pattern:?}: {wrong}"),
            Self::Conflict(one, other) => {
                write!(f, "cannot route {one} beside {other}: the same paths fit both (drop one)")
            }
            Self::Method(name) => {
                write!(f, "cannot route the method {name:?}: it is no token (such as GET)")
            }
        }
    }
}

impl std::error::Error for RouteError {}

impl RouteError {
    /// Why a pattern did not go into the table; `known` tells the name of one that is there.
    pub(super) fn of(error: InsertError, pattern: &str, known: impl Fn(&str) -> String) -> Self {
        let wrong = match error {
            InsertError::Conflict { with } => return Self::Conflict(pattern.into(), known(&with)),
            InsertError::InvalidParamSegment => {
                "a segment has two parameters (put a slash between them)"
            }
            InsertError::InvalidCatchAll => {
                "something stands before or behind {*..} in the last segment (leave it out)"
            }
            _ => "a parameter has no name or a brace no match (write {id} or {*rest}, or {{ for {)",
        };
        Self::Pattern(pattern.to_owned(), wrong)
    }
}

/// Refuses patterns that would fit no path that a request can have.
pub(super) fn check(pattern: &str) -> Result<(), RouteError> {
    let wrong = |reason| Err(RouteError::Pattern(pattern.to_owned(), reason));
    let Some(rest) = pattern.strip_prefix('/') else {
        return wrong("it does not begin with a slash (write /items)");
    };
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    if rest == "/" || !inner.is_empty() && inner.split('/').any(str::is_empty) {
        return wrong("it has an empty segment, which no path has (drop a slash)");
    }
    if inner.split('/').any(|segment| matches!(segment, "." | "..")) {
        return wrong("it has a dot segment, which no path has (name the path itself)");
    }
    if pattern.contains('\0') {
        return wrong("it has a NUL, which no path has (drop it)");
    }
    let mut names: Vec<&str> = inner.split('/').filter_map(parameter).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return wrong("two parameters have one name (rename one)");
    }
    Ok(())
}

/// The name of the parameter of a segment that is nothing else.
fn parameter(segment: &str) -> Option<&str> {
    let inner = segment.strip_prefix('{')?.strip_suffix('}')?;
    let name = inner.strip_prefix('*').unwrap_or(inner);
    (!name.contains(['{', '}'])).then_some(name)
}

/// The pattern as a rule for bodies has it.
pub(super) fn pieces(pattern: &str) -> Vec<Piece> {
    let segments = pattern.split('/').filter(|segment| !segment.is_empty());
    let mut pieces: Vec<Piece> = segments.map(piece).collect();
    if pieces.last() != Some(&Piece::Rest) {
        pieces.push(Piece::End);
    }
    pieces
}

fn piece(segment: &str) -> Piece {
    let unescaped = segment.replace("{{", "").replace("}}", "");
    if unescaped.contains("{*") {
        Piece::Rest
    } else if unescaped.contains('{') {
        Piece::Any
    } else {
        Piece::Literal(segment.replace("{{", "{").replace("}}", "}").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_fit_no_path_are_refused() {
        for good in ["/", "/a", "/a/", "/a/{b}/{c}", "/{*rest}", "/a b/{c}.json", "/{{a}}", "/..a"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let bad = ["", "a", "//", "/a//b", "//a", "/a//", "/a/./b", "/..", "/\0", "/{a}/{a}"];
        for bad in bad {
            assert!(matches!(check(bad), Err(RouteError::Pattern(..))), "{bad}");
        }
    }

    #[test]
    fn patterns_become_rules_for_bodies() {
        let literal = |text: &str| Piece::Literal(text.into());
        assert_eq!(pieces("/"), [Piece::End]);
        assert_eq!(pieces("/a/{b}/"), [literal("a"), Piece::Any, Piece::End]);
        assert_eq!(pieces("/a/{b}.json"), [literal("a"), Piece::Any, Piece::End]);
        assert_eq!(pieces("/a/{*rest}"), [literal("a"), Piece::Rest]);
        assert_eq!(pieces("/a/b{*rest}"), [literal("a"), Piece::Rest]);
        assert_eq!(pieces("/a/{{*b}}"), [literal("a"), literal("{*b}"), Piece::End]);
        assert_eq!(pieces("/{{a}}"), [literal("{a}"), Piece::End]);
    }
}
