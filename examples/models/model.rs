//! The six models, and how each is started alone.

use crate::duty::Duty;
use crate::options::Args;
use crate::{
    event_loop, parent, pool_per_connection, pool_per_request, process_per_connection, sequential,
    thread_per_connection,
};
use lab::chart::Colour;
use socket2::{Domain, Socket, Type};
use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

/// The connections that wait in the kernel until a server accepts them: room for all clients.
const BACKLOG: i32 = 1024;

/// A way to serve many clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Model {
    /// One thread, one client after another
    Sequential,
    /// A process for each connection
    Process,
    /// A thread for each connection
    Thread,
    /// W threads that each stay with a connection: the textbook pool
    PoolConnection,
    /// W threads that get requests: this project's library
    PoolRequest,
    /// One thread that waits for nobody
    EventLoop,
}

impl Model {
    pub const ALL: [Self; 6] = [
        Self::Sequential,
        Self::Process,
        Self::Thread,
        Self::PoolConnection,
        Self::PoolRequest,
        Self::EventLoop,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Process => "process a connection",
            Self::Thread => "thread a connection",
            Self::PoolConnection => "pool a connection",
            Self::PoolRequest => "pool a request",
            Self::EventLoop => "event loop",
        }
    }

    /// Its name on the command line.
    pub fn option(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Process => "process",
            Self::Thread => "thread",
            Self::PoolConnection => "pool-connection",
            Self::PoolRequest => "pool-request",
            Self::EventLoop => "event-loop",
        }
    }

    pub fn colour(self) -> Colour {
        match self {
            Self::Sequential => Colour::Grey,
            Self::Process => Colour::Red,
            Self::Thread => Colour::Orange,
            Self::PoolConnection => Colour::Purple,
            Self::PoolRequest => Colour::Blue,
            Self::EventLoop => Colour::Green,
        }
    }

    /// The most requests that it works on at a time; `None` if the number of clients decides.
    pub fn at_a_time(self, workers: usize) -> Option<usize> {
        match self {
            Self::Sequential => Some(1),
            Self::PoolConnection | Self::PoolRequest => Some(workers),
            Self::Process | Self::Thread | Self::EventLoop => None,
        }
    }

    /// Whether clients without a request can stop it.
    pub fn waits_for_clients(self) -> bool {
        matches!(self, Self::Sequential | Self::PoolConnection)
    }

    /// Serves until the process is killed.
    pub fn serve(self, args: &Args) -> Result<(), Box<dyn Error>> {
        if args.for_parent {
            parent::follow();
        }
        let duty = Duty::files(&args.root, args.delay).map_err(|error| {
            format!("cannot serve {}: {error} (name a folder)", args.root.display())
        })?;
        if self == Self::PoolRequest {
            let server = pool_per_request::start(args.port, args.workers, duty)?;
            announce(server.addresses()[0])?;
            server.join();
            return Ok(());
        }
        let listener = listen(args.port)
            .map_err(|error| format!("cannot listen on port {}: {error}", args.port))?;
        announce(listener.local_addr()?)?;
        let duty = Arc::new(duty);
        match self {
            Self::Sequential => sequential::serve(&listener, &duty)?,
            Self::Process => process_per_connection::serve(listener, &duty)?,
            Self::Thread => thread_per_connection::serve(&listener, &duty)?,
            Self::PoolConnection => pool_per_connection::serve(&listener, args.workers, &duty)?,
            Self::EventLoop => event_loop::serve(&listener, &duty)?,
            Self::PoolRequest => {}
        }
        Ok(())
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{address}/")?;
    out.flush()
}
