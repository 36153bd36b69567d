//! Basic authentication (RFC 7617) in front of another handler.

use crate::handler::{Error, Handler, Response};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::lane::{Lane, Taken, Turn, Wait};
use crate::lock;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, RwLock};
use std::thread;

/// Credentials, good and bad, that are remembered.
const REMEMBERED: usize = 4096;

/// Requests that may wait for other passwords than theirs to be checked: more would wait in vain.
const WAITING: usize = 64;

/// Bytes of a password that bcrypt looks at. It would ignore the others, and end at a NUL.
const PASSWORD_BYTES: usize = 72;

/// Lets through to another handler those who know a password.
///
/// Passwords are kept as bcrypt hashes, which are made to be slow: a hundred milliseconds of a
/// processor. So verdicts are remembered, under keyed digests and not under the credentials; those
/// that are not known are found one at a time, by a thread of their own, while the requests wait
/// without a worker. Whoever guesses without end keeps new users waiting in line, and nobody whose
/// password is remembered.
pub struct BasicAuth<H> {
    inner: H,
    verifier: Arc<Verifier>,
    /// One verification at a time; a piece is a digest.
    lane: Lane,
    /// To the thread that verifies; made with the first request that needs it.
    checks: OnceLock<Option<Sender<Check>>>,
}

/// The users, and what was found of credentials so far.
struct Verifier {
    users: Vec<User>,
    keys: [RandomState; 2],
    remembered: RwLock<HashMap<Digest, bool>>,
}

/// Two keyed hashes of 64 bits: nobody can make credentials that share both.
type Digest = [u64; 2];

/// Credentials to be verified.
struct Check {
    credentials: Vec<u8>,
    digest: Digest,
    /// Those who wait for this are told when it is dropped.
    _turn: Turn,
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
        let Self { verifier, inner, .. } = self;
        f.debug_struct("BasicAuth").field("users", &verifier.users).field("inner", inner).finish()
    }
}

/// What is to be made of a request's credentials.
enum Verdict {
    Known,
    Unknown,
    /// It will be found.
    Pending(Wait),
    /// Too many wait for theirs.
    Busy,
}

impl<H: Handler> BasicAuth<H> {
    /// Lets `users` through to `inner`; everybody, if there are none.
    pub fn new(users: Vec<User>, inner: H) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        let verifier = Arc::new(Verifier { users, keys, remembered: RwLock::default() });
        Self { inner, verifier, lane: Lane::new(1, WAITING), checks: OnceLock::new() }
    }

    fn check(&self, request: &Request<'_>) -> Verdict {
        let Some(credentials) = request.field("Authorization").and_then(decode) else {
            return Verdict::Unknown;
        };
        let digest = self.verifier.digest(&credentials);
        if let Some(verdict) = self.verifier.recall(digest) {
            return verdict;
        }
        let turn = match self.lane.enter(digest[0]) {
            Ok(turn) => turn,
            Err(Taken::Wait(wait)) => return Verdict::Pending(wait),
            Err(Taken::Full) => return Verdict::Busy,
        };
        // It may have been found since the first look.
        if let Some(verdict) = self.verifier.recall(digest) {
            return verdict;
        }
        let checks = self.checks.get_or_init(|| start_verifying(Arc::clone(&self.verifier)));
        let check = Check { credentials, digest, _turn: turn };
        match checks.as_ref().map(|checks| checks.try_send(check)) {
            Some(Ok(())) => Verdict::Pending(self.lane.wait_for(digest[0])),
            Some(Err(_)) | None => Verdict::Busy,
        }
    }
}

/// Starts the thread that verifies, for as long as there is a sender.
fn start_verifying(verifier: Arc<Verifier>) -> Option<Sender<Check>> {
    // There is one turn at a time, and its check is taken before the turn ends.
    let (checks, received) = bounded::<Check>(1);
    let verify = move || {
        for check in &received {
            if catch_unwind(AssertUnwindSafe(|| verifier.settle(&check))).is_err() {
                log::error!("checking a password panicked; it counts as not checked");
            }
        }
    };
    match thread::Builder::new().name("passwords".to_owned()).spawn(verify) {
        Ok(_) => Some(checks),
        Err(error) => {
            log::error!("cannot start the thread that checks passwords: {error} (restart)");
            None
        }
    }
}

impl Verifier {
    fn digest(&self, credentials: &[u8]) -> Digest {
        self.keys.each_ref().map(|key| key.hash_one(credentials))
    }

    fn recall(&self, digest: Digest) -> Option<Verdict> {
        let remembered = lock::read(&self.remembered);
        let is_good = *remembered.get(&digest)?;
        Some(if is_good { Verdict::Known } else { Verdict::Unknown })
    }

    /// Finds the verdict on credentials, and remembers it.
    fn settle(&self, check: &Check) {
        let is_good = self.verify(&check.credentials);
        let mut remembered = lock::write(&self.remembered);
        if remembered.len() >= REMEMBERED {
            // Wrong ones are many and go first.
            remembered.retain(|_, is_good| *is_good);
        }
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(check.digest, is_good);
    }

    /// Compares with the hash of the user; with another's where there is none, which takes the same
    /// time as long as both have the same cost.
    fn verify(&self, credentials: &[u8]) -> bool {
        let mut parts = credentials.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(password)) = (parts.next(), parts.next()) else { return false };
        if password.len() > PASSWORD_BYTES || password.contains(&0) {
            return false;
        }
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
    type State = H::State;

    fn state(&self, worker: usize) -> H::State {
        self.inner.state(worker)
    }

    fn handle(&self, request: &Request<'_>, state: &mut H::State) -> Result<Response, Error> {
        // OPTIONS tells nothing of any file, and browsers ask it without credentials.
        if self.verifier.users.is_empty() || request.method == Method::Options {
            return self.inner.handle(request, state);
        }
        let response = match self.check(request) {
            Verdict::Known => return self.inner.handle(request, state),
            Verdict::Pending(wait) => return Ok(Response::deferred(wait)),
            Verdict::Unknown => {
                Response::error(Status::UNAUTHORIZED, "A name and a password are needed.")
                    .with_known_field(
                        "WWW-Authenticate",
                        "Basic realm=\"files\", charset=\"UTF-8\"",
                    )
            }
            Verdict::Busy => {
                Response::busy("Other passwords are being checked. Try again shortly.")
            }
        };
        Ok(response.with_prepared(&self.inner.common_fields()))
    }

    fn give_way(&self) {
        self.inner.give_way();
    }

    fn tend(&self) {
        self.inner.tend();
    }

    fn common_fields(&self) -> Bytes {
        self.inner.common_fields()
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
