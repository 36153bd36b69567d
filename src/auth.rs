//! Basic authentication (RFC 7617) in front of another handler.

use crate::handler::{Handler, Response};
use crate::http::request::Request;
use crate::http::status::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError, RwLock, TryLockError};

/// Credentials that were found good and are remembered.
const REMEMBERED: usize = 1024;

/// Lets through to another handler those who know a password.
///
/// Passwords are kept as bcrypt hashes, which are made to be slow: a hundred milliseconds of a
/// worker. So credentials that were good once are remembered, as keyed digests and not as
/// themselves; and of those that are not known, one pair at a time is looked at, so that guessing
/// takes one worker at the most. Meanwhile others are told to come back (503).
pub struct BasicAuth<H> {
    users: Vec<User>,
    inner: H,
    keys: [RandomState; 2],
    remembered: RwLock<HashSet<[u64; 2]>>,
    verifying: Mutex<()>,
}

/// A name, and the bcrypt hash of its password.
#[derive(Clone)]
pub struct User {
    name: String,
    hash: String,
}

impl User {
    /// Reads `NAME:HASH`, as `htpasswd -nB NAME` prints it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let make = "make it with: htpasswd -nB NAME";
        let (name, hash) = text.split_once(':').ok_or_else(|| format!("no colon; {make}"))?;
        if name.is_empty() {
            return Err(format!("no name; {make}"));
        }
        match hash.parse::<bcrypt::HashParts>() {
            Ok(_) => Ok(Self { name: name.to_owned(), hash: hash.to_owned() }),
            Err(_) => Err(format!("what follows {name}: is no bcrypt hash; {make}")),
        }
    }
}

impl fmt::Debug for User {
    /// The hash is left out: it is a secret worth guessing at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<H: fmt::Debug> fmt::Debug for BasicAuth<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, inner, .. } = self;
        f.debug_struct("BasicAuth").field("users", users).field("inner", inner).finish()
    }
}

/// What is to be made of a request's credentials.
enum Verdict {
    Known,
    Unknown,
    /// Another pair is being looked at.
    Busy,
}

impl<H: Handler> BasicAuth<H> {
    /// Lets `users` through to `inner`; everybody, if there are none.
    pub fn new(users: Vec<User>, inner: H) -> Self {
        Self {
            users,
            inner,
            keys: [RandomState::new(), RandomState::new()],
            remembered: RwLock::default(),
            verifying: Mutex::new(()),
        }
    }

    fn check(&self, request: &Request<'_>) -> Verdict {
        let Some(credentials) = request.field("Authorization").and_then(decode) else {
            return Verdict::Unknown;
        };
        // Two keyed hashes of 64 bits: nobody can make credentials that share both.
        let digest = self.keys.each_ref().map(|key| key.hash_one(&credentials));
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        if remembered.contains(&digest) {
            return Verdict::Known;
        }
        drop(remembered);
        let _one_at_a_time = match self.verifying.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Verdict::Busy,
        };
        if !self.verify(&credentials) {
            return Verdict::Unknown;
        }
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest);
        Verdict::Known
    }

    /// Compares with the hash of the user; with another's, in the same time, where there is none.
    fn verify(&self, credentials: &[u8]) -> bool {
        let mut parts = credentials.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(password)) = (parts.next(), parts.next()) else { return false };
        let user = self.users.iter().find(|user| user.name.as_bytes() == name);
        let Some(compared) = user.or(self.users.first()) else { return false };
        let matches = bcrypt::verify(password, &compared.hash).unwrap_or_else(|error| {
            log::error!("cannot check the password of {}: {error}", compared.name);
            false
        });
        matches && user.is_some()
    }
}

/// The name in an `Authorization` field, whether or not its password is right.
pub(crate) fn user_name(field: &[u8]) -> Option<Vec<u8>> {
    let mut credentials = decode(field)?;
    let end = credentials.iter().position(|&byte| byte == b':')?;
    credentials.truncate(end);
    Some(credentials)
}

/// The `name:password` of a `Basic` field.
fn decode(field: &[u8]) -> Option<Vec<u8>> {
    let (scheme, token) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    STANDARD.decode(token.trim_ascii()).ok()
}

impl<H: Handler> Handler for BasicAuth<H> {
    fn handle(&self, request: &Request<'_>) -> Response {
        if self.users.is_empty() {
            return self.inner.handle(request);
        }
        match self.check(request) {
            Verdict::Known => self.inner.handle(request),
            Verdict::Unknown => {
                Response::error(Status::UNAUTHORIZED, "A name and a password are needed.")
                    .with_field("WWW-Authenticate", "Basic realm=\"files\", charset=\"UTF-8\"")
            }
            Verdict::Busy => {
                let explanation = "Another password is being checked. Try again shortly.";
                Response::error(Status::SERVICE_UNAVAILABLE, explanation)
                    .with_field("Retry-After", "1")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_with_their_hashes_alone() {
        let hash = bcrypt::hash("secret", 4).expect("a hash");
        let user = User::parse(&format!("ann:{hash}")).expect("a user");
        assert_eq!(user.name, "ann");
        assert!(!format!("{user:?}").contains(&hash), "the hash is not shown");
        for text in ["ann", "ann:secret", ":hash", "ann:", "ann:$1$md5$hash"] {
            let error = User::parse(text).expect_err(text);
            assert!(error.contains("htpasswd"), "{error}");
        }
    }

    #[test]
    fn fields_are_decoded() {
        assert_eq!(decode(b"Basic YTpi"), Some(b"a:b".to_vec()));
        assert_eq!(decode(b"bAsIc YTpi"), Some(b"a:b".to_vec()));
        for field in [&b"Basic"[..], b"Bearer YTpi", b"Basic !", b"", b"Basic YTp"] {
            assert_eq!(decode(field), None);
        }
    }
}
