//! What answers at a route: a closure or a function, of one of several forms.

use crate::handler::{IntoResponse, Response};
use crate::http::request::Request;

/// What answers at a route; `S` is the state that each worker has of its own.
///
/// There are two forms:
///
/// - `|request: &Request<'_>| ..` for who needs no state,
/// - `|request: &Request<'_>, state: &mut S| ..` for who does.
///
/// Either returns anything that turns into a response ([`IntoResponse`]). The types of the
/// arguments have to be written out, as here. `Form` tells the two apart; nobody has to name it.
#[diagnostic::on_unimplemented(
    message = "this cannot answer at a route whose workers have the state `{S}`",
    label = "write |request: &Request<'_>| .. or |request: &Request<'_>, state: &mut {S}| ..",
    note = "it must return what turns into a response, and be Send, Sync and 'static"
)]
pub trait Endpoint<S, Form>: Send + Sync + 'static {
    /// The response to a request.
    fn call(&self, request: &Request<'_>, state: &mut S) -> Response;
}

impl<S, F, R> Endpoint<S, fn(&Request<'_>)> for F
where
    F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    fn call(&self, request: &Request<'_>, _: &mut S) -> Response {
        self(request).into_response()
    }
}

impl<S, F, R> Endpoint<S, fn(&Request<'_>, &mut S)> for F
where
    F: Fn(&Request<'_>, &mut S) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    fn call(&self, request: &Request<'_>, state: &mut S) -> Response {
        self(request, state).into_response()
    }
}

/// An endpoint of any form.
pub(super) type Answer<S> = Box<dyn Fn(&Request<'_>, &mut S) -> Response + Send + Sync>;

/// Makes an endpoint one of any form.
pub(super) fn erase<S: 'static, Form>(endpoint: impl Endpoint<S, Form>) -> Answer<S> {
    Box::new(move |request, state| endpoint.call(request, state))
}
