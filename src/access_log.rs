//! The access log: the record of an exchange, and its log line.
//!
//! Lines go through `log`, to the target [`TARGET`], at level info. Bytes from clients are escaped,
//! so that they can neither end a line nor leave a quoted part.

use crate::config::AccessLog;
use crate::http::request::UNIX_PEER;
use crate::http::status::Status;
use std::cell::RefCell;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// The `log` target of the lines.
pub const TARGET: &str = "access";

/// The facts about an exchange that are kept until its response is sent.
#[derive(Debug)]
pub struct Record {
    /// The request line as received.
    pub request_line: Vec<u8>,
    /// The user name in `Authorization`.
    pub user: Option<Vec<u8>>,
    /// `Referer`.
    pub referer: Option<Vec<u8>>,
    /// `User-Agent`.
    pub user_agent: Option<Vec<u8>>,
    /// The response's status.
    pub status: Status,
    /// The date at which a worker took the request, or the server refused it.
    pub time: SystemTime,
    /// When the request was queued, or refused without being queued.
    pub since: Instant,
    /// Time from queued to taken by a worker.
    pub queue_wait: Duration,
    /// Time from taken by a worker to answered by the handler.
    pub handle: Duration,
    /// When writing the response began.
    pub responded: Instant,
    /// The worker's number; none if the acceptor refused the request.
    pub worker: Option<usize>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct From<'a> {
    /// The other end of the connection.
    #[cfg_attr(not(feature = "json-log"), allow(dead_code, reason = "JSON alone has it"))]
    pub peer: SocketAddr,
    /// The client; the port is 0 if it is not known.
    pub client: SocketAddr,
    /// The request's identifier; empty if it has none.
    pub request_id: &'a str,
}

impl Record {
    /// A record of a request with this request line that was queued at `since`.
    pub fn new(request_line: &[u8], since: Instant) -> Self {
        let now = Instant::now();
        Self {
            request_line: request_line.to_vec(),
            user: None,
            referer: None,
            user_agent: None,
            status: Status::OK,
            #[allow(clippy::disallowed_methods, reason = "the date in a line")]
            time: SystemTime::now(),
            since,
            queue_wait: now.saturating_duration_since(since),
            handle: Duration::ZERO,
            responded: now,
            worker: None,
        }
    }

    /// The bytes of memory that the record holds.
    pub fn held(&self) -> u64 {
        let fields = [&self.user, &self.referer, &self.user_agent];
        let fields = fields.map(|field| field.as_ref().map_or(0, Vec::capacity));
        (size_of::<Self>() + self.request_line.capacity() + fields.iter().sum::<usize>()) as u64
    }

    /// The line of an exchange that has ended, with the bytes of content sent and the error that
    /// ended it; the error is empty if there was none.
    pub fn line(&self, form: AccessLog, from: From<'_>, sent: u64, error: &str) -> String {
        match form {
            AccessLog::Off => String::new(),
            AccessLog::Brief => self.brief(from, sent, error),
            AccessLog::Common => self.common(from.client, sent),
            AccessLog::Combined => {
                let mut line = self.common(from.client, sent);
                for field in [&self.referer, &self.user_agent] {
                    line.push_str(" \"");
                    push_escaped(&mut line, field.as_deref().unwrap_or(b"-"));
                    line.push('"');
                }
                if !from.request_id.is_empty() {
                    line.extend([" \"", from.request_id, "\""]);
                }
                line
            }
            #[cfg(feature = "json-log")]
            AccessLog::Json => self.json(from, sent, error),
        }
    }

    /// The request line, escaped.
    pub fn shown(&self) -> String {
        escaped(&self.request_line)
    }

    fn brief(&self, from: From<'_>, sent: u64, error: &str) -> String {
        let millis = self.since.elapsed().as_secs_f64() * 1e3;
        let colon = if error.is_empty() { "" } else { ": " };
        let (line, status) = (self.shown(), self.status.code());
        let client = match from.client {
            UNIX_PEER => "unix:".to_owned(),
            client if client.port() == 0 => client.ip().to_string(),
            client => client.to_string(),
        };
        let space = if from.request_id.is_empty() { "" } else { " " };
        let id = from.request_id;
        format!("{client} \"{line}\" {status} {sent} {millis:.1}ms{space}{id}{colon}{error}")
    }

    fn common(&self, peer: SocketAddr, sent: u64) -> String {
        let quoted = [&self.referer, &self.user_agent];
        let quoted = quoted.map(|field| field.as_ref().map_or(0, Vec::len)).iter().sum::<usize>();
        let mut line = String::with_capacity(self.request_line.len() + quoted + 128);
        // Writing into a `String` cannot fail.
        let _ = match peer {
            UNIX_PEER => line.write_str("unix: - "),
            peer => write!(line, "{} - ", peer.ip().to_canonical()),
        };
        match self.user.as_deref() {
            // A space in a name would shift the fields behind it.
            Some(user) if !user.is_empty() => {
                let at = line.len();
                push_escaped(&mut line, user);
                let spaceless = line[at..].replace(' ', "\\x20");
                line.replace_range(at.., &spaceless);
            }
            _ => line.push('-'),
        }
        push_time(&mut line, self.time);
        line.push('"');
        push_escaped(&mut line, &self.request_line);
        line.push_str("\" ");
        line.push_str(itoa::Buffer::new().format(self.status.code()));
        line.push(' ');
        line.push_str(itoa::Buffer::new().format(sent));
        line
    }

    #[cfg(feature = "json-log")]
    fn json(&self, from: From<'_>, sent: u64, error: &str) -> String {
        let From { peer, client, request_id } = from;
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        serde_json::json!({
            "time": humantime::format_rfc3339_micros(self.time).to_string(),
            "client": shown_client(client),
            "port": (client.port() > 0).then_some(client.port()),
            "peer": match peer {
                UNIX_PEER => shown_client(peer),
                peer => SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string(),
            },
            "user": text(&self.user),
            "request_id": (!request_id.is_empty()).then_some(request_id),
            "request": String::from_utf8_lossy(&self.request_line),
            "status": self.status.code(),
            "bytes": sent,
            "referer": text(&self.referer),
            "user_agent": text(&self.user_agent),
            "queue_wait_us": micros(self.queue_wait),
            "handle_us": micros(self.handle),
            "response_write_us": micros(self.responded.elapsed()),
            "worker": self.worker,
            "error": (!error.is_empty()).then_some(error),
        })
        .to_string()
    }
}

/// The client in a line: its IP address, or `unix:` for a peer of a UNIX socket, as nginx has it.
pub fn shown_client(peer: SocketAddr) -> String {
    match peer {
        UNIX_PEER => "unix:".to_owned(),
        peer => peer.ip().to_canonical().to_string(),
    }
}

thread_local! {
    /// The second of this thread's last line, and its text.
    static TIME: RefCell<(u64, String)> = RefCell::default();
}

/// Appends ` [10/Oct/2000:13:55:36 +0000] `, the date as the log formats have it, in UTC. The text
/// is made once a second, or when the second is another one.
fn push_time(line: &mut String, time: SystemTime) {
    let second = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    TIME.with_borrow_mut(|(last, text)| {
        if *last != second || text.is_empty() {
            (*last, *text) = (second, time_text(time));
        }
        line.push_str(text);
    });
}

fn time_text(time: SystemTime) -> String {
    // `Tue, 10 Oct 2000 13:55:36 GMT`
    let text = httpdate::fmt_http_date(time);
    let part = |range| text.get(range).unwrap_or_default();
    let (day, month, year, clock) = (part(5..7), part(8..11), part(12..16), part(17..25));
    format!(" [{day}/{month}/{year}:{clock} +0000] ")
}

/// Appends bytes, escaped as Apache httpd does: a backslash before quotes and backslashes, `\xhh`
/// for what is not printable ASCII.
/// Bytes as printable text.
pub fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    push_escaped(&mut shown, bytes);
    shown
}

fn push_escaped(line: &mut String, bytes: &[u8]) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    for run in bytes.chunk_by(|a, b| is_plain(a) && is_plain(b)) {
        match run {
            b"\"" => line.push_str("\\\""),
            b"\\" => line.push_str("\\\\"),
            &[byte] if !is_plain(&byte) => {
                let _ = write!(line, "\\x{byte:02x}");
            }
            plain => line.push_str(std::str::from_utf8(plain).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::new(b"GET /a\"b\\c\n\xff HTTP/1.1", Instant::now());
        record.time = SystemTime::UNIX_EPOCH + Duration::from_secs(971_186_136);
        record.status = Status::NOT_FOUND;
        record.user_agent = Some(b"it's \"me\"\r\nX".to_vec());
        record
    }

    fn from() -> From<'static> {
        let peer = "[::ffff:192.0.2.7]:4711".parse().expect("an address");
        From { peer, client: peer, request_id: "" }
    }

    fn from_proxy() -> From<'static> {
        let peer = "10.0.0.1:4711".parse().expect("an address");
        let client = "[2001:db8::7]:0".parse().expect("an address");
        From { peer, client, request_id: "0-aB" }
    }

    #[test]
    fn lines_of_each_form() {
        let line = |form| record().line(form, from(), 5, "");
        let common = r#"192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "#.to_owned()
            + r#""GET /a\"b\\c\x0a\xff HTTP/1.1" 404 5"#;
        assert_eq!(line(AccessLog::Off), "");
        assert_eq!(line(AccessLog::Common), common);
        assert_eq!(line(AccessLog::Combined), format!(r#"{common} "-" "it's \"me\"\x0d\x0aX""#));
        assert!(line(AccessLog::Brief).starts_with("[::ffff:192.0.2.7]:4711 \"GET /a\\\"b"));
    }

    #[test]
    fn the_client_is_in_the_line_and_the_identifier_at_its_end() {
        let line = |form| record().line(form, from_proxy(), 5, "broken");
        assert!(line(AccessLog::Common).starts_with("2001:db8::7 - - ["));
        assert!(line(AccessLog::Common).ends_with(" 404 5"), "the format is fixed");
        assert!(line(AccessLog::Combined).starts_with("2001:db8::7 - - ["));
        assert!(line(AccessLog::Combined).ends_with("\\x0d\\x0aX\" \"0-aB\""));
        let brief = line(AccessLog::Brief);
        assert!(brief.starts_with("2001:db8::7 \"GET /a"), "without a port: {brief}");
        assert!(brief.ends_with("ms 0-aB: broken"), "{brief}");
    }

    #[cfg(feature = "json-log")]
    #[test]
    fn a_line_of_json() {
        let line = record().line(AccessLog::Json, from(), 5, "");
        let json: serde_json::Value = serde_json::from_str(&line).expect("an object");
        assert_eq!(json["status"], 404);
        assert_eq!(json["user_agent"], "it's \"me\"\r\nX");
        assert_eq!(json["time"], "2000-10-10T13:55:36.000000Z");
        assert_eq!(
            (&json["client"], &json["peer"]),
            (&"192.0.2.7".into(), &"192.0.2.7:4711".into())
        );
        assert_eq!((&json["port"], &json["request_id"]), (&4711.into(), &serde_json::Value::Null));
        let line = record().line(AccessLog::Json, from_proxy(), 5, "");
        let json: serde_json::Value = serde_json::from_str(&line).expect("an object");
        assert_eq!(
            (&json["client"], &json["peer"]),
            (&"2001:db8::7".into(), &"10.0.0.1:4711".into())
        );
        assert_eq!(
            (&json["port"], &json["request_id"]),
            (&serde_json::Value::Null, &"0-aB".into())
        );
    }

    #[test]
    fn a_name_with_a_space_does_not_shift_the_fields_behind_it() {
        let mut record = record();
        record.user = Some(b"a b\" [x]".to_vec());
        let line = record.line(AccessLog::Common, from(), 0, "");
        assert!(line.starts_with("192.0.2.7 - a\\x20b\\\"\\x20[x] [10/Oct/2000"), "{line}");
    }
}
