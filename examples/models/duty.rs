//! What every model does for a request, so that they differ in nothing else: the same answer after
//! the same simulated delay.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use std::fs;
use std::io;
use std::path::{Component, Path};
use std::time::Duration;

/// The limit of a request head in bytes.
pub const HEAD_BYTES: usize = 16 * 1024;

/// The content of a path, which is decoded and has no slash at its start.
type Find = dyn Fn(&str) -> Option<Bytes> + Send + Sync;

/// What a server does for each request.
pub struct Duty {
    /// The service time of the simulated back-end, for content that is found.
    delay: Duration,
    find: Box<Find>,
}

/// What to do about a request: wait for the back-end, then send this.
pub struct Answer {
    pub delay: Duration,
    pub bytes: Vec<u8>,
    /// The connection ends with it.
    pub is_last: bool,
}

impl Duty {
    pub fn new(
        delay: Duration,
        find: impl Fn(&str) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { delay, find: Box::new(find) }
    }

    /// Serves the files in a folder, and nothing outside it.
    pub fn files(folder: &Path, delay: Duration) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        let find = move |path: &str| {
            let is_plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
            // A symbolic link can lead outside, so what counts is where the path ends.
            let file = root.join(path).canonicalize().ok().filter(|_| is_plain)?;
            if !file.starts_with(&root) || !file.is_file() {
                return None;
            }
            fs::read(file).ok().map(Bytes::from)
        };
        Ok(Self::new(delay, find))
    }

    /// The content of a path, and the delay before it is there.
    pub fn find(&self, path: &str) -> Option<(Duration, Bytes)> {
        (self.find)(path).map(|content| (self.delay, content))
    }

    /// The answer to a request with this head.
    pub fn answer(&self, head: &[u8]) -> Answer {
        let Some(request) = Request::parse(head) else {
            return Answer::error("400 Bad Request", true);
        };
        if !matches!(request.method, "GET" | "HEAD") {
            // A body may follow, which no model reads.
            return Answer::error("501 Not Implemented", true);
        }
        match self.find(&request.path) {
            None => Answer::error("404 Not Found", request.is_last),
            Some((delay, content)) => {
                let mut answer = Answer::new("200 OK", &content, request.is_last);
                if request.method == "HEAD" {
                    answer.bytes.truncate(answer.bytes.len() - content.len());
                }
                Answer { delay, ..answer }
            }
        }
    }
}

impl Answer {
    fn new(status: &str, content: &[u8], is_last: bool) -> Self {
        let connection = if is_last { "close" } else { "keep-alive" };
        let length = content.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: {connection}\r\n\r\n"
        );
        let bytes = [head.as_bytes(), content].concat();
        Self { delay: Duration::ZERO, bytes, is_last }
    }

    /// An answer that needs no back-end.
    pub fn error(status: &str, is_last: bool) -> Self {
        Self::new(status, format!("{status}\n").as_bytes(), is_last)
    }
}

/// The length of the request head at the start of `bytes`, once it is whole.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

struct Request<'a> {
    method: &'a str,
    /// Decoded, without the slash at its start and without a query.
    path: String,
    is_last: bool,
}

impl<'a> Request<'a> {
    fn parse(head: &'a [u8]) -> Option<Self> {
        let (line, fields) = str::from_utf8(head).ok()?.split_once("\r\n")?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if !version.starts_with("HTTP/1.") || words.next().is_some() {
            return None;
        }
        let path = target.split('?').next()?;
        let path = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8().ok()?;
        let fields = fields.to_ascii_lowercase();
        let is_last = match version {
            "HTTP/1.0" => !fields.contains("connection: keep-alive"),
            _ => fields.contains("connection: close"),
        };
        Some(Self { method, path: path.into_owned(), is_last })
    }
}
