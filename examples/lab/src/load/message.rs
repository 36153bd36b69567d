//! The requests of a client: their bytes, and how often each of several is sent.

use super::Connections;
use cws::internals::http::is_token_byte;
use std::fmt;
use std::sync::Arc;

/// A request as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// The bytes from the request line to the end of the body.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the response has no body, whatever its fields say (RFC 9112, section 6.3).
    pub fn is_head(&self) -> bool {
        self.bytes.starts_with(b"HEAD ")
    }

    /// Whether sending it twice has the same effect as sending it once (RFC 9110, section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        let methods = ["GET ", "HEAD ", "OPTIONS ", "TRACE ", "PUT ", "DELETE "];
        methods.iter().any(|method| self.bytes.starts_with(method.as_bytes()))
    }
}

impl From<Vec<u8>> for Message {
    /// A whole request in HTTP/1.1.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

/// The parts of a request.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The method; see [`is_method`].
    pub method: &'a str,
    /// The path and the query.
    pub path: &'a str,
    /// The value of `Host`, unless `fields` has one.
    pub host: &'a str,
    /// Further fields.
    pub fields: &'a [Field],
    /// The body. Without one, a POST, PUT or PATCH announces an empty one (RFC 9110, section 8.6).
    pub body: Option<&'a [u8]>,
    /// Whether the connection is kept.
    pub connections: Connections,
}

impl Parts<'_> {
    /// The request in HTTP/1.1.
    pub fn message(&self) -> Message {
        let Self { method, path, host, fields, body, connections } = *self;
        let has = |name: &str| fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !has("host") {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        if connections == Connections::NewEach && !has("connection") {
            head.push_str("Connection: close\r\n");
        }
        for Field { name, value } in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let expects_body = matches!(method, "POST" | "PUT" | "PATCH");
        if let Some(length) = body.map(<[u8]>::len).or(expects_body.then_some(0)) {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        Message { bytes }
    }
}

/// Whether this is the name of a method that a load can use. CONNECT asks for a tunnel, which has
/// no end.
pub fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte) && text != "CONNECT"
}

/// A header field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    value: String,
}

/// Why a text is not a usable field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldError {
    /// There is no colon behind the name.
    NoColon,
    /// The name contains a byte that a name must not have.
    Name,
    /// The value contains a line end or another control character.
    Value,
    /// The load generator sets this field itself.
    Own,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoColon => "write NAME: VALUE",
            Self::Name => "its name is not a field name (RFC 9110); write NAME: VALUE",
            Self::Value => "its value contains a line end or a control character",
            Self::Own => "the body's length follows from --body; leave this field out",
        })
    }
}

impl std::error::Error for FieldError {}

impl std::str::FromStr for Field {
    type Err = FieldError;

    /// Parses `NAME: VALUE`.
    fn from_str(text: &str) -> Result<Self, FieldError> {
        let (name, value) = text.split_once(':').ok_or(FieldError::NoColon)?;
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(FieldError::Name);
        }
        let value = value.trim_matches([' ', '\t']);
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(FieldError::Value);
        }
        let own = ["content-length", "transfer-encoding"];
        if own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(FieldError::Own);
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Several messages with weights, of which each request gets one at random.
#[derive(Debug, Clone)]
pub struct Mix {
    messages: Vec<Arc<Message>>,
    /// The sums of the weights up to and including each message.
    sums: Vec<f64>,
    seed: u64,
}

impl Mix {
    /// Always the same message.
    pub fn one(message: Message) -> Self {
        Self { messages: vec![Arc::new(message)], sums: vec![1.0], seed: 0 }
    }

    /// Messages with positive weights: each is sent in proportion to its own. `None` if there are
    /// none, or if a weight is not positive and finite.
    pub fn weighted(messages: impl IntoIterator<Item = (Message, f64)>, seed: u64) -> Option<Self> {
        let (mut all, mut sums, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (message, weight) in messages {
            sum += weight;
            if !(weight > 0.0 && f64::is_finite(sum)) {
                return None;
            }
            all.push(Arc::new(message));
            sums.push(sum);
        }
        (!all.is_empty()).then_some(Self { messages: all, sums, seed })
    }

    /// The random numbers of its draws.
    pub(super) fn draws(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// A message and its number.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> (Arc<Message>, usize) {
        let last = self.messages.len() - 1;
        let number = match (last, self.sums.last()) {
            (0, _) | (_, None) => 0,
            (_, Some(sum)) => {
                let at = random.f64() * sum;
                self.sums.partition_point(|sum| *sum <= at).min(last)
            }
        };
        (Arc::clone(&self.messages[number]), number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(method: &str, fields: &[&str], body: Option<&[u8]>) -> String {
        let fields: Vec<Field> = fields.iter().map(|text| text.parse().expect("a field")).collect();
        let connections = Connections::Kept(1);
        let parts = Parts { method, path: "/x?y", host: "h:1", fields: &fields, body, connections };
        String::from_utf8(parts.message().bytes).expect("text")
    }

    #[test]
    fn a_message_has_the_parts_and_the_length_of_its_body() {
        assert_eq!(message("GET", &[], None), "GET /x?y HTTP/1.1\r\nHost: h:1\r\n\r\n");
        assert_eq!(
            message("POST", &["A: b", "host:other"], Some(b"12\r\n")),
            "POST /x?y HTTP/1.1\r\nA: b\r\nhost: other\r\nContent-Length: 4\r\n\r\n12\r\n"
        );
        assert!(message("PUT", &[], None).contains("Content-Length: 0\r\n"));
        assert!(!message("DELETE", &[], None).contains("Content-Length"));
        let close = Parts {
            method: "GET",
            path: "/",
            host: "h",
            fields: &["connection: x".parse().expect("a field")],
            body: None,
            connections: Connections::NewEach,
        };
        let bytes = close.message().bytes;
        assert_eq!(bytes, b"GET / HTTP/1.1\r\nHost: h\r\nconnection: x\r\n\r\n");
    }

    #[test]
    fn the_method_decides_what_may_be_sent_twice() {
        let of = |method: &str| Message::from(format!("{method} / HTTP/1.1\r\n\r\n").into_bytes());
        assert!(of("HEAD").is_head() && !of("HEADER").is_head() && !of("GET").is_head());
        for (method, is_idempotent) in
            [("GET", true), ("PUT", true), ("DELETE", true), ("POST", false), ("PATCH", false)]
        {
            assert_eq!(of(method).is_idempotent(), is_idempotent, "{method}");
        }
        assert!(is_method("GET") && is_method("M-SEARCH"));
        assert!(!is_method("") && !is_method("GE T") && !is_method("CONNECT"));
    }

    #[test]
    fn fields_that_would_break_the_request_are_refused() {
        let of = |text: &str| text.parse::<Field>().map_err(|error| error as u8);
        assert_eq!(of("A:\t b "), Ok(Field { name: "A".into(), value: "b".into() }));
        assert_eq!(of("A:"), Ok(Field { name: "A".into(), value: String::new() }));
        let rows = [
            ("A", FieldError::NoColon),
            (": b", FieldError::Name),
            ("A b: c", FieldError::Name),
            ("A: b\r\nC: d", FieldError::Value),
            ("A: b\0", FieldError::Value),
            ("content-LENGTH: 1", FieldError::Own),
            ("Transfer-Encoding: chunked", FieldError::Own),
        ];
        for (text, error) in rows {
            assert_eq!(of(text), Err(error as u8), "{text}");
        }
    }

    #[test]
    fn weights_are_shares_of_the_draws() {
        let of = |weights: &[f64]| {
            let messages = weights.iter().map(|&weight| (Message::from(Vec::new()), weight));
            Mix::weighted(messages, 7)
        };
        for bad in [&[][..], &[1.0, 0.0], &[-1.0], &[f64::NAN], &[f64::MAX, f64::MAX]] {
            assert!(of(bad).is_none(), "{bad:?}");
        }
        let weights = [5.0, 0.5, 2.0, 2.5];
        let mix = of(&weights).expect("a mix");
        let mut random = mix.draws();
        let mut counts = [0.0; 4];
        let draws = 100_000;
        (0..draws).for_each(|_| counts[mix.draw(&mut random).1] += 1.0);
        // Pearson's statistic; 16.27 is the 99.9th percentile for three degrees of freedom.
        let expected = weights.map(|weight| weight / 10.0 * f64::from(draws));
        let pairs = counts.iter().zip(expected);
        let statistic: f64 =
            pairs.map(|(count, expected)| (count - expected).powi(2) / expected).sum();
        assert!(statistic < 16.27, "{counts:?}");
    }
}
