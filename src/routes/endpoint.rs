//! Endpoints of routes: closures and functions of several forms.

use crate::handler::{IntoResponse, Response};
use crate::http::request::Request;

/// A closure or function that answers the requests of a route. `S` is the state of each worker.
///
/// There are two forms, and with the feature `http` a third, `|request: http::Request<Bytes>| ..`:
///
/// - `|request: &Request<'_>| ..` for who needs no state,
/// - `|request: &Request<'_>, state: &mut S| ..` for who does.
///
/// Each returns a type that implements [`IntoResponse`]. Write the types of the arguments, as shown
/// here. The compiler infers `Form`, which distinguishes the forms.
#[diagnostic::on_unimplemented(
    message = "this is not an endpoint for routes with the worker state `{S}`",
    label = "write |request: &Request<'_>| .. or |request: &Request<'_>, state: &mut {S}| ..",
    note = "its return type must implement `IntoResponse`; so must the error of a `Result`: use \
            `cws::Error`",
    note = "it must be Send, Sync and 'static"
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

/// An endpoint of any form, as a boxed closure.
pub(super) type Answer<S> = Box<dyn Fn(&Request<'_>, &mut S) -> Response + Send + Sync>;

/// Boxes an endpoint of any form.
pub(super) fn erase<S: 'static, Form>(endpoint: impl Endpoint<S, Form>) -> Answer<S> {
    Box::new(move |request, state| endpoint.call(request, state))
}
