//! The handler that finds the route of a request.

use super::endpoint::Answer;
use super::mounted::{AnyHandler, merge_fields};
use super::pattern::{self, RouteError};
use super::{Route, Routes};
use crate::handler::{Accepts, Error, Handler, Immediate, Piece, Response};
use crate::http::is_token_byte;
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::{DecodedPath, Form};
use bytes::Bytes;
use std::any::Any;
use std::cell::OnceCell;
use std::fmt;

/// The parameter for the path below a mount. Handlers do not see it. No other pattern can contain
/// this name, because a NUL is not allowed.
const REST: &str = "\0";

/// The handler that [`Routes::build`] makes.
///
/// It needs the feature `routes`.
pub struct RouteTable<S = ()> {
    make: Box<dyn Fn(usize) -> S + Send + Sync>,
    /// For each pattern, its index in `places`.
    patterns: matchit::Router<usize>,
    places: Vec<Place<S>>,
    mounts: Vec<Mount>,
    /// The mount under `/`.
    root: Option<usize>,
    fallback: Option<Answer<S>>,
    /// The methods of all routes, in the format of `Allow`.
    allow: String,
}

/// The endpoints, or the mounted handler, for one pattern.
enum Place<S> {
    Routes { routes: Vec<Route<S>>, allow: String },
    Mount(usize),
}

struct Mount {
    prefix: String,
    /// The segments of the prefix.
    depth: usize,
    handler: Box<dyn AnyHandler>,
}

/// The state of one worker for a [`RouteTable`]: its own, and those of the mounted handlers.
pub struct WorkerStates<S> {
    own: S,
    mounted: Vec<Box<dyn Any>>,
}

impl<S> fmt::Debug for WorkerStates<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerStates").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for RouteTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.places.iter().filter_map(|place| match place {
            Place::Routes { routes, allow } => Some(format!("{} ({allow})", routes[0].pattern)),
            Place::Mount(_) => None,
        });
        let mounts = self.mounts.iter().map(|mount| format!("{} and beneath", mount.prefix));
        f.debug_list().entries(routes.chain(mounts)).finish()
    }
}

impl<S: 'static> RouteTable<S> {
    pub(super) fn new(routes: Routes<S>) -> Result<Self, RouteError> {
        let Routes { make, routes, mounts, fallback } = routes;
        let mut table = Self {
            make,
            patterns: matchit::Router::new(),
            places: Vec::new(),
            mounts: Vec::new(),
            root: None,
            fallback,
            allow: String::new(),
        };
        for route in routes {
            table.add_route(route)?;
        }
        for (prefix, handler) in mounts {
            table.add_mount(prefix, handler)?;
        }
        if let (Some(root), Some(_)) = (table.root, &table.fallback) {
            let prefix = table.mounts[root].prefix.clone();
            return Err(RouteError::Conflict("a fallback".to_owned(), prefix));
        }
        let mut methods: Vec<&str> = table.routes().map(|route| &route.method[..]).collect();
        methods.sort_unstable();
        methods.dedup();
        table.allow = allow(&methods);
        Ok(table)
    }

    fn routes(&self) -> impl Iterator<Item = &Route<S>> {
        self.places.iter().flat_map(|place| match place {
            Place::Routes { routes, .. } => &routes[..],
            Place::Mount(_) => &[],
        })
    }

    fn add_route(&mut self, route: Route<S>) -> Result<(), RouteError> {
        pattern::check(&route.pattern)?;
        if route.method.is_empty() || !route.method.bytes().all(is_token_byte) {
            return Err(RouteError::Method(route.method));
        }
        let same = self.places.iter_mut().find_map(|place| match place {
            Place::Routes { routes, allow } => {
                (routes[0].pattern == route.pattern).then_some((routes, allow))
            }
            Place::Mount(_) => None,
        });
        let Some((routes, allowed)) = same else {
            self.insert(&route.pattern, &route.pattern)?;
            let allow = allow(&[&route.method]);
            self.places.push(Place::Routes { routes: vec![route], allow });
            return Ok(());
        };
        if routes.iter().any(|other| other.method == route.method) {
            let name = format!("{} {}", route.method, route.pattern);
            return Err(RouteError::Conflict(name.clone(), name));
        }
        routes.push(route);
        *allowed = allow(&routes.iter().map(|route| &route.method[..]).collect::<Vec<_>>());
        Ok(())
    }

    fn add_mount(
        &mut self,
        prefix: String,
        handler: Box<dyn AnyHandler>,
    ) -> Result<(), RouteError> {
        pattern::check(&prefix)?;
        let number = self.mounts.len();
        let top = prefix.strip_suffix('/').unwrap_or(&prefix).to_owned();
        if pattern::pieces(&top).contains(&Piece::Rest) {
            let wrong = "a prefix includes the paths below it (remove {*..})";
            return Err(RouteError::Pattern(prefix, wrong));
        }
        let depth = top.split('/').skip(1).count();
        if top.is_empty() {
            if let Some(other) = self.root {
                return Err(RouteError::Conflict(prefix, self.mounts[other].prefix.clone()));
            }
            self.root = Some(number);
        } else {
            for pattern in [top.clone(), format!("{top}/"), format!("{top}/{{*{REST}}}")] {
                // A route at just this path comes first.
                if self.routes().any(|route| route.pattern == pattern) {
                    continue;
                }
                self.insert(&pattern, &prefix)?;
                self.places.push(Place::Mount(number));
            }
        }
        self.mounts.push(Mount { prefix, depth, handler });
        Ok(())
    }

    /// Inserts a pattern for the next place. `name` is the pattern's name in errors.
    fn insert(&mut self, pattern: &str, name: &str) -> Result<(), RouteError> {
        // In errors, the patterns of a mount have the name of its prefix.
        let known = |with: &str| {
            let top = with.strip_suffix(&format!("/{{*{REST}}}"));
            let top = top.unwrap_or(with).trim_end_matches('/');
            let is_it = |mount: &&Mount| mount.prefix.trim_end_matches('/') == top;
            let mount = self.mounts.iter().find(is_it);
            mount.map_or_else(|| with.to_owned(), |mount| mount.prefix.clone())
        };
        let place = self.places.len();
        let inserted = self.patterns.insert(pattern, place);
        inserted.map_err(|error| RouteError::of(error, name, known))
    }

    /// Calls `serve` with the place for a request, and the request as that place sees it. None is
    /// for one that matches nothing, and for one to the server as a whole (RFC 9110, section
    /// 9.3.7), unless a handler is mounted under `/`.
    fn with_place<R>(
        &self,
        request: &Request<'_>,
        serve: impl FnOnce(Option<&Place<S>>, &Request<'_>) -> R,
    ) -> R {
        let path = &request.target.path;
        let (mut few, long) = ([0; FEW_BYTES], OnceCell::new());
        let short = short_text(path, &mut few);
        let text = short.unwrap_or_else(|| long.get_or_init(|| text_of(path)));
        let found = match request.target.form {
            Form::Asterisk => None,
            _ => self.patterns.at(text).ok(),
        };
        // It may match only because bytes that are not UTF-8 were replaced.
        let found = found.filter(|found| {
            let segments = match &self.places[*found.value] {
                Place::Mount(number) => self.mounts[*number].depth,
                Place::Routes { .. } => usize::MAX,
            };
            short.is_some() || is_text(path, segments)
        });
        let Some(found) = found else {
            return serve(self.root.map(Place::Mount).as_ref(), request);
        };
        let own = found.params.iter().filter(|(name, _)| *name != REST);
        let params: Vec<(&str, &str)> = request.params().iter().copied().chain(own).collect();
        let place = &self.places[*found.value];
        let depth = match place {
            Place::Mount(number) => self.mounts[*number].depth,
            Place::Routes { .. } => 0,
        };
        match depth == 0 && params.len() == request.params().len() {
            // It sees the request as it is. A copy would cost more than to find the place.
            true => serve(Some(place), request),
            false => serve(Some(place), &request.routed(depth, &params)),
        }
    }
}

/// The value of `Allow` for a place with endpoints for these methods.
fn allow(methods: &[&str]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for &method in methods {
        all.push(method);
        if method == "GET" && !methods.contains(&"HEAD") {
            all.push("HEAD");
        }
    }
    if !methods.contains(&"OPTIONS") {
        all.push("OPTIONS");
    }
    all.join(", ")
}

/// Answers a request for a place with these routes.
fn answer<S>(routes: &[Route<S>], allow: &str, request: &Request<'_>, state: &mut S) -> Response {
    match route_for(routes, request) {
        Some(route) if request.body().len() as u64 > route.most && route.most > 0 => {
            let most = route.most;
            let explanation = format!("This resource takes at most {most} bytes.");
            Response::error(Status::CONTENT_TOO_LARGE, &explanation)
        }
        Some(route) if route.most == 0 && !request.body().is_empty() => {
            (route.answer)(&request.without_body(), state)
        }
        Some(route) => (route.answer)(request, state),
        None if request.method == Method::Options => options(allow),
        None => {
            let explanation = format!("This resource answers to {allow}.");
            Response::error(Status::METHOD_NOT_ALLOWED, &explanation)
                .with_known_field("Allow", allow)
        }
    }
}

/// The route for a request's method.
fn route_for<'r, S>(routes: &'r [Route<S>], request: &Request<'_>) -> Option<&'r Route<S>> {
    let of = |name: &str| routes.iter().find(|route| route.method == name);
    of(request.method_name()).or_else(|| of("GET").filter(|_| request.method == Method::Head))
}

fn options(allow: &str) -> Response {
    Response::new(Status::NO_CONTENT).with_known_field("Allow", allow)
}

/// The bytes of most paths.
const FEW_BYTES: usize = 256;

/// The path in the format of patterns, in memory that costs nothing. `None` if it does not fit, or
/// is not UTF-8.
fn short_text<'a>(path: &DecodedPath, few: &'a mut [u8; FEW_BYTES]) -> Option<&'a str> {
    let bytes = path.as_bytes();
    let end = 1 + bytes.len();
    few[0] = b'/';
    few.get_mut(1..end)?.copy_from_slice(bytes);
    if path.is_directory() && !bytes.is_empty() {
        *few.get_mut(end)? = b'/';
        return std::str::from_utf8(&few[..=end]).ok();
    }
    std::str::from_utf8(&few[..end]).ok()
}

/// The path in the format of patterns. Bytes that are not UTF-8 are replaced.
fn text_of(path: &DecodedPath) -> String {
    let text = String::from_utf8_lossy(path.as_bytes());
    let slash = if path.is_directory() && !text.is_empty() { "/" } else { "" };
    format!("/{text}{slash}")
}

/// True if the first `segments` segments are UTF-8.
fn is_text(path: &DecodedPath, segments: usize) -> bool {
    path.segments().take(segments).all(|segment| std::str::from_utf8(segment).is_ok())
}

impl<S: 'static> Immediate for RouteTable<S> {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        self.with_place(request, |place, request| match place? {
            Place::Mount(number) => self.mounts[*number].handler.immediate()?.respond(request),
            Place::Routes { routes, .. } => {
                let at_once = route_for(routes, request)?.at_once.as_ref()?;
                match request.body().is_empty() {
                    true => Some(at_once(request)),
                    false => Some(at_once(&request.without_body())),
                }
            }
        })
    }
}

impl<S: 'static> Handler for RouteTable<S> {
    type State = WorkerStates<S>;

    fn state(&self, worker: usize) -> WorkerStates<S> {
        let mounted = self.mounts.iter().map(|mount| mount.handler.state(worker)).collect();
        WorkerStates { own: (self.make)(worker), mounted }
    }

    fn handle(
        &self,
        request: &Request<'_>,
        states: &mut WorkerStates<S>,
    ) -> Result<Response, Error> {
        self.with_place(request, |place, request| match (place, &self.fallback) {
            (Some(Place::Mount(number)), _) => {
                let state = &mut *states.mounted[*number];
                self.mounts[*number].handler.handle(request, state)
            }
            (Some(Place::Routes { routes, allow }), _) => {
                Ok(answer(routes, allow, request, &mut states.own))
            }
            (None, _) if request.target.form == Form::Asterisk => Ok(options(&self.allow)),
            (None, Some(answer)) => Ok(answer(request, &mut states.own)),
            (None, None) => Err(Error::new(Status::NOT_FOUND, "There is nothing at this path.")),
        })
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        let is_any = self.routes().any(|route| route.at_once.is_some())
            || self.mounts.iter().any(|mount| mount.handler.immediate().is_some());
        is_any.then_some(self)
    }

    fn accepts(&self) -> Accepts {
        let mut accepts = Accepts::nothing();
        for Mount { prefix, handler, .. } in &self.mounts {
            let mut under = pattern::pieces(prefix);
            // The mounted handler's own rules continue where the prefix ends.
            under.pop_if(|piece| *piece == Piece::End);
            accepts = accepts.with_mounted(&under, &handler.accepts());
        }
        for route in self.routes() {
            accepts = accepts.with_pattern(pattern::pieces(&route.pattern), route.most);
            if Method::parse(route.method.as_bytes()) == Method::Other {
                accepts = accepts.with_unknown_methods();
            }
        }
        accepts
    }

    fn give_way(&self) {
        self.mounts.iter().for_each(|mount| mount.handler.give_way());
    }

    fn tend(&self) {
        self.mounts.iter().for_each(|mount| mount.handler.tend());
    }

    fn common_fields(&self) -> Bytes {
        let all: Vec<Bytes> =
            self.mounts.iter().map(|mount| mount.handler.common_fields()).collect();
        merge_fields(all.iter().map(|fields| &fields[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_the_same_as_a_long_one() {
        for length in (0..20).chain(FEW_BYTES - 5..FEW_BYTES + 3) {
            for end in ["", "/", "%ff", "\u{e4}"] {
                let raw = format!("/{}{end}", "a".repeat(length));
                let path = DecodedPath::decode(raw.as_bytes()).expect("a path");
                let (text, mut few) = (text_of(&path), [0xff; FEW_BYTES]);
                let expected = (text.len() <= FEW_BYTES && end != "%ff").then_some(&text[..]);
                assert_eq!(short_text(&path, &mut few), expected, "{raw}");
            }
        }
    }
}
