//! Basic authentication (RFC 7617) in front of another handler.

use crate::handler::{Error, Handler, Immediate, Response, forward_to_inner};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::lane::{Lane, NoPermit, Permit, Wait};
use crate::lock;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Sender, bounded};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, RwLock};
use std::thread;

/// Verified credentials, good and bad, that are remembered.
const REMEMBERED: usize = 4096;

/// Requests that may wait for a check of a password. More would time out before their turn.
const WAITING: usize = 64;

/// The bytes of a password that bcrypt compares. It would ignore the rest, and stop at a NUL.
const PASSWORD_BYTES: usize = 72;

/// A handler that demands a name and a password, and passes authorized requests to another handler.
///
/// It needs the feature `auth`.
///
/// Passwords are stored as bcrypt hashes. A check of one takes about 100 ms of processor time, by
/// design. So results are remembered, under keyed digests of the credentials. Unknown credentials
/// are checked one at a time by a thread of its own, while their requests wait without a worker. An
/// attacker who guesses passwords delays users whose password is not remembered yet, and no others.
#[must_use]
pub struct BasicAuth<H> {
    inner: H,
    verifier: Arc<Verifier>,
    /// One check at a time; the key is a digest.
    lane: Lane,
    /// The channel to the thread that checks passwords. The first request that needs the thread
    /// starts it.
    checks: OnceLock<Option<Sender<Check>>>,
}

/// The users, and the results of checks.
struct Verifier {
    users: Vec<User>,
    keys: [RandomState; 2],
    remembered: RwLock<HashMap<Digest, bool>>,
}

/// Two keyed 64-bit hashes: nobody can construct credentials that collide in both.
type Digest = [u64; 2];

/// Credentials to check.
struct Check {
    credentials: Vec<u8>,
    digest: Digest,
    /// Dropping it wakes the requests that wait for this result.
    _permit: Permit,
}

/// A user name and the bcrypt hash of the password.
///
/// It needs the feature `auth`.
#[derive(Clone)]
pub struct User {
    name: String,
    hash: String,
}

impl User {
    /// Parses `NAME:HASH`, as `htpasswd -nB NAME` prints it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let make = "make it with: htpasswd -nB NAME";
        let (name, hash) =
            text.split_once(':').ok_or_else(|| format!("there is no colon; {make}"))?;
        if name.is_empty() {
            return Err(format!("there is no name before the colon; {make}"));
        }
        match hash.parse::<bcrypt::HashParts>() {
            Ok(_) => Ok(Self { name: name.to_owned(), hash: hash.to_owned() }),
            Err(_) => Err(format!("the text after {name}: is not a bcrypt hash; {make}")),
        }
    }
}

impl User {
    /// True if the hashes have different costs. Then the time of a check tells whether a name
    /// exists.
    pub fn costs_differ(users: &[Self]) -> bool {
        let cost =
            |user: &Self| user.hash.parse::<bcrypt::HashParts>().ok().map(|hash| hash.get_cost());
        users.windows(2).any(|pair| cost(&pair[0]) != cost(&pair[1]))
    }
}

impl fmt::Debug for User {
    /// Leaves out the hash, which is a secret.
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

/// The state of a request's credentials.
enum Credentials {
    Good,
    Bad,
    /// They are being checked, or wait for a check.
    Pending(Wait),
    /// Too many requests wait for a check.
    Busy,
}

impl<H: Handler> BasicAuth<H> {
    /// Lets `users` through to `inner`. If there are no users, lets everybody through.
    pub fn new(users: Vec<User>, inner: H) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        let verifier = Arc::new(Verifier { users, keys, remembered: RwLock::default() });
        Self { inner, verifier, lane: Lane::new(1, WAITING), checks: OnceLock::new() }
    }

    /// True if this request needs no credentials. OPTIONS reveals nothing about files, and browsers
    /// send it without any.
    fn is_open(&self, request: &Request<'_>) -> bool {
        self.verifier.users.is_empty() || request.method == Method::Options
    }

    /// True if the credentials have been checked before, and are good.
    fn is_remembered(&self, request: &Request<'_>) -> bool {
        let credentials = request.field("Authorization").and_then(decode);
        credentials.is_some_and(|credentials| {
            let known = self.verifier.recall(self.verifier.digest(&credentials));
            matches!(known, Some(Credentials::Good))
        })
    }

    fn check(&self, request: &Request<'_>) -> Credentials {
        let Some(credentials) = request.field("Authorization").and_then(decode) else {
            return Credentials::Bad;
        };
        let digest = self.verifier.digest(&credentials);
        if let Some(known) = self.verifier.recall(digest) {
            return known;
        }
        let permit = match self.lane.enter(digest[0]) {
            Ok(permit) => permit,
            Err(NoPermit::Wait(wait)) => return Credentials::Pending(wait),
            Err(NoPermit::Full) => return Credentials::Busy,
        };
        // The check may have ended since the first look.
        if let Some(known) = self.verifier.recall(digest) {
            return known;
        }
        let checks = self.checks.get_or_init(|| start_verifying(Arc::clone(&self.verifier)));
        let check = Check { credentials, digest, _permit: permit };
        match checks.as_ref().map(|checks| checks.try_send(check)) {
            Some(Ok(())) => Credentials::Pending(self.lane.wait_for(digest[0])),
            Some(Err(_)) | None => Credentials::Busy,
        }
    }
}

/// Starts the thread that checks passwords. It ends when the sender is dropped.
fn start_verifying(verifier: Arc<Verifier>) -> Option<Sender<Check>> {
    // One slot is enough: there is one permit, and its check is received before the permit is
    // dropped.
    let (checks, received) = bounded::<Check>(1);
    let verify = move || {
        for check in &received {
            if catch_unwind(AssertUnwindSafe(|| verifier.check(&check))).is_err() {
                log::error!("checking a password panicked; its requests will ask again");
            }
        }
    };
    match thread::Builder::new().name("passwords".to_owned()).spawn(verify) {
        Ok(_) => Some(checks),
        Err(error) => {
            log::error!(
                "cannot start the thread that checks passwords: {error} (restart the server: until \
                 then no new user can log in)"
            );
            None
        }
    }
}

impl Verifier {
    fn digest(&self, credentials: &[u8]) -> Digest {
        self.keys.each_ref().map(|key| key.hash_one(credentials))
    }

    fn recall(&self, digest: Digest) -> Option<Credentials> {
        let remembered = lock::read(&self.remembered);
        let is_good = *remembered.get(&digest)?;
        Some(if is_good { Credentials::Good } else { Credentials::Bad })
    }

    /// Checks credentials and remembers the result.
    fn check(&self, check: &Check) {
        let is_good = self.verify(&check.credentials);
        let mut remembered = lock::write(&self.remembered);
        if remembered.len() >= REMEMBERED {
            // Forget bad credentials first: there are more of them.
            remembered.retain(|_, is_good| *is_good);
        }
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(check.digest, is_good);
    }

    /// Compares the password with the hash of its user. If there is no such user, it compares with
    /// another user's hash, which takes the same time if both have the same cost.
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

/// The name in an `Authorization` field, whether or not the password is right.
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

impl<H: Handler> Immediate for BasicAuth<H> {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        let is_admitted = self.is_open(request) || self.is_remembered(request);
        if is_admitted { self.inner.immediate()?.respond(request) } else { None }
    }
}

impl<H: Handler> Handler for BasicAuth<H> {
    forward_to_inner!();

    fn immediate(&self) -> Option<&dyn Immediate> {
        self.inner.immediate().map(|_| self as &dyn Immediate)
    }

    fn handle(&self, request: &Request<'_>, state: &mut H::State) -> Result<Response, Error> {
        if self.is_open(request) {
            return self.inner.handle(request, state);
        }
        let response =
            match self.check(request) {
                Credentials::Good => return self.inner.handle(request, state),
                Credentials::Pending(wait) => return Ok(Response::deferred(wait)),
                Credentials::Bad => Response::error(
                    Status::UNAUTHORIZED,
                    "This server requires a name and a password.",
                )
                .with_known_field("WWW-Authenticate", "Basic realm=\"files\", charset=\"UTF-8\""),
                Credentials::Busy => Response::busy(
                    "The server is busy checking other passwords. Try again shortly.",
                ),
            };
        Ok(response.with_prepared(&self.inner.common_fields()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_needs_a_name_and_a_bcrypt_hash() {
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
    fn basic_credentials_are_decoded_and_other_fields_ignored() {
        assert_eq!(decode(b"Basic YTpi"), Some(b"a:b".to_vec()));
        assert_eq!(decode(b"bAsIc YTpi"), Some(b"a:b".to_vec()));
        for field in [&b"Basic"[..], b"Bearer YTpi", b"Basic !", b"", b"Basic YTp"] {
            assert_eq!(decode(field), None);
        }
    }
}
