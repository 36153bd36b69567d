//! Basic authentication (RFC 7617) in front of another handler.

use crate::handler::{Handler, Response};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Credentials, good and bad, that are remembered.
const REMEMBERED: usize = 4096;

/// Longest wait for the verdict on the same credentials.
const SAME_TIMEOUT: Duration = Duration::from_secs(2);

/// Lets through to another handler those who know a password.
///
/// Passwords are kept as bcrypt hashes, which are made to be slow: a hundred milliseconds of a
/// worker. So verdicts are remembered, under keyed digests and not under the credentials; and of
/// those that are not known, one pair at a time is looked at, so that guessing takes one worker at
/// the most. Meanwhile other unknown ones are told to come back (503): who guesses without end
/// keeps new users out, and nobody who is in.
pub struct BasicAuth<H> {
    users: Vec<User>,
    inner: H,
    keys: [RandomState; 2],
    remembered: RwLock<HashMap<[u64; 2], bool>>,
    verifying: Mutex<Option<[u64; 2]>>,
    verified: Condvar,
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

impl User {
    /// True where checking some takes longer than checking others.
    pub fn costs_differ(users: &[Self]) -> bool {
        let cost =
            |user: &Self| user.hash.parse::<bcrypt::HashParts>().ok().map(|hash| hash.get_cost());
        users.windows(2).any(|pair| cost(&pair[0]) != cost(&pair[1]))
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

/// The turn of one pair of credentials; the next one's begins when it is dropped.
struct Turn<'a> {
    verifying: &'a Mutex<Option<[u64; 2]>>,
    verified: &'a Condvar,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(self.verifying) = None;
        self.verified.notify_all();
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
            verifying: Mutex::new(None),
            verified: Condvar::new(),
        }
    }

    fn check(&self, request: &Request<'_>) -> Verdict {
        let Some(credentials) = request.field("Authorization").and_then(decode) else {
            return Verdict::Unknown;
        };
        // Two keyed hashes of 64 bits: nobody can make credentials that share both.
        let digest = self.keys.each_ref().map(|key| key.hash_one(&credentials));
        let deadline = Instant::now() + SAME_TIMEOUT;
        let mut verifying = lock(&self.verifying);
        loop {
            if let Some(verdict) = self.recall(digest) {
                return verdict;
            }
            match *verifying {
                None => break,
                // A browser asks for many things at once, with the same password.
                Some(other) if other == digest && Instant::now() < deadline => {
                    let waited = self.verified.wait_timeout(verifying, SAME_TIMEOUT);
                    verifying = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(_) => return Verdict::Busy,
            }
        }
        *verifying = Some(digest);
        drop(verifying);
        let _turn = Turn { verifying: &self.verifying, verified: &self.verified };
        let is_good = self.verify(&credentials);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            // Wrong ones are many and go first.
            remembered.retain(|_, is_good| *is_good);
        }
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest, is_good);
        if is_good { Verdict::Known } else { Verdict::Unknown }
    }

    fn recall(&self, digest: [u64; 2]) -> Option<Verdict> {
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let is_good = *remembered.get(&digest)?;
        Some(if is_good { Verdict::Known } else { Verdict::Unknown })
    }

    /// Compares with the hash of the user; with another's where there is none, which takes the same
    /// time as long as both have the same cost.
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

/// What is locked here is whole at every moment, so a panic elsewhere cannot have spoiled it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        // OPTIONS tells nothing of any file, and browsers ask it without credentials.
        if self.users.is_empty() || request.method == Method::Options {
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

    fn give_way(&self) {
        self.inner.give_way();
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
