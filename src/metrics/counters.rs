//! What is counted, and its labels. Metrics, JSON, the live page and logs use these labels.

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident $label:literal)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The label in metrics, JSON and logs.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

counted! {
    /// Why a connection ended. Every accepted connection ends for exactly one reason.
    CloseReason {
        /// The response that ends the connection was written.
        Completed "completed"
        /// The client closed the connection between requests.
        PeerClosed "peer_closed"
        /// The client closed the connection, or it broke, during an exchange.
        PeerGone "peer_gone"
        /// The response to a refused request that ends its connection, or to one whose handler
        /// panicked, was written; or the client had more than twice the connections that it may
        /// have.
        Refused "refused"
        /// Its peer is not a trusted proxy, where connections begin with a PROXY header.
        UntrustedPeer "untrusted_peer"
        /// It did not begin with a valid PROXY header, or the header was late.
        ProxyHeader "proxy_header"
        /// No request came in time.
        IdleTimeout "idle_timeout"
        /// The client read its response too slowly.
        WriteTimeout "write_timeout"
        /// No memory was left to hold the response for a client that does not read.
        NoMemory "no_memory"
        /// The content ended before its announced length, or could not be read.
        BodyFailed "body_failed"
        /// It was idle for longest when a new client needed its place or its descriptor.
        Evicted "evicted"
        /// It had sent part of a request, or had read none of its response for a while, when a new
        /// client needed its place or its descriptor.
        Displaced "displaced"
        /// It was idle when the server stopped, and a last read found no request.
        Drained "drained"
        /// It was busy at the drain timeout.
        Cut "cut"
        /// The system could not poll it.
        Unwatchable "unwatchable"
        /// The server itself panicked while it worked on it.
        Panicked "panicked"
    }
}

counted! {
    /// Requests, bytes and other events that are counted.
    Counter {
        /// Connections accepted.
        Accepted "accepted"
        /// Requests that asked for a worker, counted when they ask, once each: those that were
        /// queued, those that were refused because the queue was full, and pipelined ones that a
        /// worker continued with. Not those that are answered without a worker, and not those whose
        /// client has too many connections.
        Offered "offered"
        /// Requests that a handler answered on a worker, panics included.
        Handled "handled"
        /// Requests that a handler answered at once, without a worker, panics included. They never
        /// wait in the queue, so no figure of the queue or of the workers includes them.
        Immediate "immediate"
        /// Requests that the server refused itself, for one of the six reasons below. Every
        /// response answers a request that a handler answered or the server refused, or one for the
        /// health path.
        Refused "refused"
        /// Refused: the queue was full. They were the newest ones, or gave way for newer ones.
        QueueFull "queue_full"
        /// Refused: they had waited in the queue for longer than the age in force, whether it was
        /// noticed while they waited or when their turn came.
        Expired "expired"
        /// Refused: their address had too many connections.
        TooManyConnections "too_many_connections"
        /// Refused: there was no memory for the request or its response.
        NoMemory "no_memory"
        /// Refused: part of the request did not arrive in time.
        TooSlow "too_slow"
        /// Refused: what arrived is not a request that this server accepts.
        Malformed "malformed"
        /// Requests for the health path, which no handler answers.
        Health "health"
        /// Turns of a worker in which no handler answered: the request was malformed or for the
        /// health path, or it waits for another request's work and comes again.
        Unhandled "unhandled"
        /// Requests still queued at the drain timeout, dropped without a response.
        Abandoned "abandoned"
        /// Requests dropped because their client had closed its connection.
        Gone "gone"
        /// Handlers that panicked.
        Panics "panics"
        /// Workers that died and were replaced.
        WorkersReplaced "workers_replaced"
        /// Bytes read from clients.
        BytesReceived "bytes_received"
        /// Bytes written to clients, heads included.
        BytesSent "bytes_sent"
    }
}

impl Counter {
    /// The reasons for which requests are refused: together they are all of [`Counter::Refused`].
    pub const REASONS: [Self; 6] = [
        Self::QueueFull,
        Self::Expired,
        Self::TooManyConnections,
        Self::NoMemory,
        Self::TooSlow,
        Self::Malformed,
    ];
}

counted! {
    /// What a connection is doing.
    ConnectionPhase {
        /// It is open, and no request is in progress.
        Idle "idle"
        /// Part of a request head has arrived.
        ReadingHead "reading_head"
        /// A complete head waits for a worker.
        Queued "queued"
        /// A worker has it.
        InService "in_service"
        /// A response waits for its client to read it.
        Flushing "flushing"
        /// Part of a request body has arrived.
        ReadingBody "reading_body"
        /// The last response is written, and the client has not closed the connection yet.
        Lingering "lingering"
    }
}
