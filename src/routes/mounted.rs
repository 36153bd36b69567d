//! Handlers of any type in one table, each with its own state in each worker.

use crate::handler::{Accepts, Error, Handler, Immediate, Response};
use crate::http::request::Request;
use bytes::Bytes;
use std::any::Any;

/// A handler of any type, and the state of one worker for it.
pub(super) trait AnyHandler: Send + Sync {
    fn state(&self, worker: usize) -> Box<dyn Any>;
    fn handle(&self, request: &Request<'_>, state: &mut dyn Any) -> Result<Response, Error>;
    fn immediate(&self) -> Option<&dyn Immediate>;
    fn accepts(&self) -> Accepts;
    fn give_way(&self);
    fn tend(&self);
    fn common_fields(&self) -> Bytes;
}

impl<H: Handler> AnyHandler for H {
    fn state(&self, worker: usize) -> Box<dyn Any> {
        Box::new(Handler::state(self, worker))
    }

    fn handle(&self, request: &Request<'_>, state: &mut dyn Any) -> Result<Response, Error> {
        // A table makes the states of its handlers in the order of the handlers.
        let state = state.downcast_mut().expect("the state that this handler has made");
        Handler::handle(self, request, state)
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Handler::immediate(self)
    }

    fn accepts(&self) -> Accepts {
        Handler::accepts(self)
    }

    fn give_way(&self) {
        Handler::give_way(self);
    }

    fn tend(&self) {
        Handler::tend(self);
    }

    fn common_fields(&self) -> Bytes {
        Handler::common_fields(self)
    }
}

/// Merges the fields that several handlers want in the server's own responses. If two handlers set
/// the same field, the first one's values are used.
pub(super) fn merge_fields<'a>(all: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut merged: Vec<u8> = Vec::new();
    for fields in all {
        let before = merged.clone();
        let is_new = |line: &&[u8]| !lines(&before).any(|other| name(other) == name(line));
        for line in lines(fields).filter(is_new) {
            merged.extend_from_slice(line);
        }
    }
    merged.into()
}

fn lines(fields: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields.split_inclusive(|&byte| byte == b'\n')
}

fn name(line: &[u8]) -> Vec<u8> {
    line.split(|&byte| byte == b':').next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_field_that_two_handlers_name_the_first_counts() {
        let all: [&[u8]; 3] = [
            b"X-A: 1\r\nLink: a\r\nLink: b\r\n",
            b"",
            b"x-a: 2\r\nX-B: 3\r\nlink: c\r\nX-B: 4\r\n",
        ];
        let merged = merge_fields(all.into_iter());
        assert_eq!(&merged[..], b"X-A: 1\r\nLink: a\r\nLink: b\r\nX-B: 3\r\nX-B: 4\r\n");
    }
}
