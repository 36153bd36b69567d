//! Path patterns: validation and errors.

use crate::handler::Piece;
use matchit::InsertError;
use std::fmt;

/// Why [`Routes::build`](super::Routes::build) failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The pattern is malformed. Contains the pattern and the reason.
    Pattern(String, &'static str),
    /// Both patterns match the same paths, and neither is more specific.
    Conflict(String, String),
    /// The method is not a token (RFC 9110, section 9.1).
    Method(String),
}

impl fmt::Display for RouteError {
    /// One line: the error, and in parentheses what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern, wrong) => write!(f, "cannot route {pattern:?}: {wrong}"),
            Self::Conflict(one, other) => {
                write!(
                    f,
                    "cannot route {one} beside {other}: both match the same paths (remove one)"
                )
            }
            Self::Method(name) => {
                write!(
                    f,
                    "cannot route the method {name:?}: it is not a token (write GET, for example)"
                )
            }
        }
    }
}

impl std::error::Error for RouteError {}

impl RouteError {
    /// The error for a pattern that could not be inserted; `known` returns the name of a pattern
    /// that is in the table.
    pub(super) fn of(error: InsertError, pattern: &str, known: impl Fn(&str) -> String) -> Self {
        let wrong = match error {
            InsertError::Conflict { with } => return Self::Conflict(pattern.into(), known(&with)),
            InsertError::InvalidParamSegment => {
                "a segment has two parameters (put a slash between them)"
            }
            InsertError::InvalidCatchAll => {
                "the segment of {*..} contains something else (remove it)"
            }
            _ => {
                "a parameter has no name, or a brace has no counterpart (write {id}, {*rest}, or \
                 {{ for {)"
            }
        };
        Self::Pattern(pattern.to_owned(), wrong)
    }
}

/// Refuses patterns that could never match a path.
pub(super) fn check(pattern: &str) -> Result<(), RouteError> {
    let wrong = |reason| Err(RouteError::Pattern(pattern.to_owned(), reason));
    let Some(rest) = pattern.strip_prefix('/') else {
        return wrong("it does not start with a slash (write /items, for example)");
    };
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    if rest == "/" || !inner.is_empty() && inner.split('/').any(str::is_empty) {
        return wrong("it has an empty segment and never matches (remove a slash)");
    }
    if inner.split('/').any(|segment| matches!(segment, "." | "..")) {
        return wrong("it has a dot segment and never matches (write the resolved path)");
    }
    if pattern.contains('\0') {
        return wrong("it has a NUL and never matches (remove it)");
    }
    let mut names: Vec<&str> = inner.split('/').filter_map(parameter).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return wrong("two parameters have the same name (rename one)");
    }
    Ok(())
}

/// The name of the parameter, if the segment consists of one parameter only.
fn parameter(segment: &str) -> Option<&str> {
    let inner = segment.strip_prefix('{')?.strip_suffix('}')?;
    let name = inner.strip_prefix('*').unwrap_or(inner);
    (!name.contains(['{', '}'])).then_some(name)
}

/// The pattern in the form that the rules for bodies use.
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
