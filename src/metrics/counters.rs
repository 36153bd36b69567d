//! What is counted, and the words for it.

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident $label:literal)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that logs and metrics use.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

counted! {
    /// Why a connection ended. Every accepted connection ends for exactly one reason.
    CloseReason {
        /// The response that asked for the end was written.
        Completed "completed"
        /// The client ended its side between requests.
        PeerClosed "peer_closed"
        /// The client ended its side, or the connection broke, within an exchange.
        PeerGone "peer_gone"
        /// A request was refused by a fault or ended by its handler's panic, and that was written;
        /// or its client had far too many connections.
        Refused "refused"
        /// No request came in time.
        IdleTimeout "idle_timeout"
        /// The client took its response too slowly.
        WriteTimeout "write_timeout"
        /// There was no memory to hold its response for a client that does not read.
        NoMemory "no_memory"
        /// A file ended before its announced length, or could not be read.
        BodyFailed "body_failed"
        /// It was the longest idle one when a new client needed its place or its descriptor.
        Evicted "evicted"
        /// It had brought part of a request, or had taken nothing of its response for a while, when
        /// a new client needed its place or its descriptor.
        Displaced "displaced"
        /// It was idle when the server stopped, and a last read found nothing.
        Drained "drained"
        /// It was busy when the drain deadline came.
        Cut "cut"
        /// The system refused to watch it.
        Unwatchable "unwatchable"
        /// A panic of the server's own that it brought out.
        Panicked "panicked"
    }
}

counted! {
    /// What else is counted.
    Counter {
        /// Connections accepted.
        Accepted "accepted"
        /// Requests taken by a worker and handled.
        Handled "handled"
        /// Requests refused by a fault: malformed, too late, too many. Every response is to a
        /// request that was handled or refused.
        Refused "refused"
        /// Of those refused: the queue was full.
        QueueFull "queue_full"
        /// Of those refused: they had waited too long.
        Expired "expired"
        /// Of those refused: their address had too many connections.
        TooManyConnections "too_many_connections"
        /// Of those refused: there was no memory for the request or its response.
        NoMemory "no_memory"
        /// Of those refused: some of the request had not come in time.
        TooSlow "too_slow"
        /// Of those refused: what came was no request that this server takes.
        Malformed "malformed"
        /// Turns of a worker in which no handler answered: the request was malformed, or it waits
        /// for what another does and comes again.
        Unhandled "unhandled"
        /// Requests that still waited at the drain deadline, and were dropped without an answer.
        Abandoned "abandoned"
        /// Requests dropped because their client had gone.
        Gone "gone"
        /// Handlers that panicked.
        Panics "panics"
        /// Workers that died and were replaced.
        WorkersReplaced "workers_replaced"
        /// Bytes read from clients.
        BytesReceived "bytes_received"
        /// Bytes that the kernel took for clients, heads included.
        BytesSent "bytes_sent"
    }
}

counted! {
    /// Where a connection is in its life.
    ConnectionPhase {
        /// Between requests.
        Idle "idle"
        /// Some bytes of a head have come.
        ReadingHead "reading_head"
        /// A whole head waits for a worker.
        Queued "queued"
        /// A worker has it.
        InService "in_service"
        /// A response waits for its client to read.
        Flushing "flushing"
        /// Some of a request's body has come.
        ReadingBody "reading_body"
        /// The last response is written; the client has yet to end its side.
        Lingering "lingering"
    }
}
