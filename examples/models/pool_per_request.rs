//! A pool whose workers get requests, not connections: this project's library.
//!
//! At most W requests at a time: W/D requests per second. One thread waits for all clients. A
//! client
//! that sends nothing costs a slot in its table, and neither a worker nor a place in the queue.

use crate::duty::Duty;
use cws::{AccessLog, Config, Method, Request, Response, Server, StartError, Status};
use std::net::SocketAddr;
use std::thread;

/// Starts it on the loopback interface.
pub fn start(port: u16, workers: usize, duty: Duty) -> Result<Server, StartError> {
    let config = Config::default()
        .listen(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        .workers(workers)
        .access_log(AccessLog::Off);
    let respond = move |request: &Request<'_>| {
        if !matches!(request.method, Method::Get | Method::Head) {
            return Response::error(Status::NOT_IMPLEMENTED, "only GET and HEAD");
        }
        let found = str::from_utf8(request.target.path.as_bytes()).ok();
        match found.and_then(|path| duty.find(path)) {
            None => Response::error(Status::NOT_FOUND, "there is no such file"),
            Some((delay, content)) => {
                thread::sleep(delay);
                Response::ok("text/plain", content)
            }
        }
    };
    Server::start(config, respond)
}
