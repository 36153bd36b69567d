//! All limits and timeouts: the name, value and reason of each one that cannot be configured, and
//! the defaults of those that can.

use std::time::Duration;

/// The most connections that the kernel completes before they are accepted. `std` fixes this at
/// 128, and each client of a larger burst loses a SYN and waits a second. The kernel limits it to
/// its own `somaxconn`.
pub const BACKLOG: i32 = 4096;

/// How often, and how long apart, a server tries to lock the directory of a UNIX socket while
/// another one listens there.
pub const FOLDER_LOCK_TRIES: usize = 200;
/// The same at the end of a server, which has requests to finish meanwhile.
pub const FOLDER_LOCK_LAST_TRIES: usize = 4;
/// See [`FOLDER_LOCK_TRIES`].
pub const FOLDER_LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The most connections accepted in a row. Then the open connections get their turn.
pub const ACCEPT_BATCH: usize = 64;

/// The limit of requests that wait for a worker, unless one is set or follows.
pub const QUEUE: usize = 1024;

/// Additional slots in the queue for requests that were admitted before and return after a wait.
pub const QUEUE_RETURNS: usize = 4096;

/// The largest `--queue`. The channel's slots are allocated at the start.
pub const QUEUE_MOST: usize = 1 << 20;

/// How long the channel alone may take to hand a job over. While it is quicker nobody waits, and
/// the order of arrival is as good as any. When it is slower, those in it go back to the waiting
/// room, where the discipline orders them. The time is long against a hand-over (some 50
/// microseconds with a wakeup), and short against what a client notices.
pub const CHANNEL_WAIT: Duration = Duration::from_millis(1);

/// The same where the order of arrival is the discipline's as well: in the room they can be refused
/// as soon as they have waited too long.
pub const CHANNEL_WAIT_FIFO: Duration = Duration::from_millis(25);

/// The jobs that the channel holds while others wait in the room: the next one. A worker that ends
/// a service finds it there, and moves the next one in.
pub const CHANNEL_READY: usize = 1;

/// The time for which an estimate of the mean service time is used.
pub const ESTIMATE_PAUSE: Duration = Duration::from_millis(1);

/// The shortest time between two searches of the waiting room for requests that have waited too
/// long.
pub const EXPIRY_PAUSE: Duration = Duration::from_millis(5);

/// The clients in debt that the fair queue remembers in addition to twice those that wait or are
/// served.
pub const DEBTORS: usize = 1024;

/// The most that one service adds to a client's debt.
pub const DEBT_MOST: Duration = Duration::from_secs(60);

/// What a client is charged for a refused request, if others wait as well: about what the acceptor
/// takes to read it and to answer 503 on a connection that stays open. It is little beside a
/// service, and a client that sends as many requests as the acceptor can read is charged for all of
/// the acceptor's time.
pub const REFUSAL_COST: Duration = Duration::from_micros(20);

/// The clients that are told apart by what they had lately: refused requests, service time.
pub const RECENT_CLIENTS: usize = 64;

/// What clients had lately is forgotten after one to two of these periods.
pub const RECENT: Duration = Duration::from_secs(30);

/// The most clients on the admin page.
pub const BUSIEST_CLIENTS: usize = 10;

/// Bytes per second at which a waiting request ages in the order of sizes: one of 16 MiB is
/// overtaken by empty ones for a second.
pub const AGEING_RATE: u64 = 16 * 1024 * 1024;

/// The largest `--workers`. More threads would cost more than they gain. Each one keeps about 100
/// KiB of measurements, and every snapshot adds them up.
pub const WORKERS_MOST: usize = 4096;

/// The default limit of open connections for a program that sets none. It is below the usual limit
/// of descriptors, 1024. The `server` command derives its default from the descriptor limit
/// instead.
pub const CONNECTIONS: usize = 1000;

/// The largest default limit of connections, even if the descriptor limit is higher.
pub const CONNECTIONS_MOST: usize = 1 << 20;

/// The default memory limit for clients, in bytes, if the machine has at least 1 GiB. The kernel's
/// socket buffers are not included.
pub const MEMORY: u64 = 256 * 1024 * 1024;

/// The smallest memory limit that the server accepts, in bytes.
pub const MEMORY_LEAST: u64 = 4 * 1024 * 1024;

/// The default memory limit is the machine's memory divided by this.
pub const MEMORY_PARTS: u64 = 4;

/// The memory limit divided by this is kept free for the next requests. When less is free, the
/// connections that have sent the least are closed.
pub const MEMORY_SPARE: u64 = 16;

/// Bytes of memory that each connection has: its state, the start of its next request, and its
/// slot in the tables.
pub const CONNECTION_BYTES: u64 = 2048;

/// Descriptors that connections do not get: listeners, poller, log and standard streams need them.
pub const DESCRIPTOR_RESERVE: usize = 64;

/// The most descriptors that one connection holds: its socket, and the file that is sent to it.
pub const DESCRIPTORS_EACH: usize = 2;

/// Bytes of a request head, from the request line to the empty line (nginx: 8 KiB by 4).
pub const HEAD_BYTES: usize = 16 * 1024;

/// The most bytes of a request target. RFC 9110, section 4.1, recommends at least 8000.
pub const TARGET_BYTES: usize = 8 * 1024;

/// The largest limit of a request head that can be configured. Every connection may hold this much.
pub const HEAD_BYTES_MOST: usize = 1 << 20;

/// The most bytes of a method. The longest registered one, `UPDATEREDIRECTREF`, has 17.
pub const METHOD_BYTES: usize = 32;

/// The most header fields of a request. Browsers send about 20.
pub const HEADER_FIELDS: usize = 100;

/// The most bytes of a PROXY header of version 1 (PROXY protocol specification, section 2.1).
pub const PROXY_V1_BYTES: usize = 107;

/// The most bytes of a PROXY header of version 2, with its extensions. Those of HAProxy with the
/// name of a client's certificate take some hundred.
pub const PROXY_V2_BYTES: usize = 4096;

/// The most addresses of `Forwarded` or `X-Forwarded-For` that are looked at. No chain of trusted
/// proxies is as long.
pub const FORWARDED_HOPS: usize = 32;

/// The longest value of such a field that a connection remembers, to recognise it in the next
/// request.
pub const FORWARDED_KEPT: usize = 128;

/// The longest request identifier that is taken over from a proxy, in bytes.
pub const REQUEST_ID_BYTES: usize = 128;

/// The shortest time between two log lines about connections that are refused for the PROXY
/// protocol. The next line has the number of those in between.
pub const PROXY_LOG_PAUSE: Duration = Duration::from_secs(10);

/// The longest request body that is read and dropped if the handler accepts none, so that the
/// connection can be kept. A longer one gets a 413, and the connection is closed.
pub const BODY_BYTES: u64 = 1024 * 1024;

/// Bytes of a chunk-size line with its extensions.
pub const CHUNK_LINE_BYTES: usize = 256;

/// Bytes of a chunked body's trailer section.
pub const TRAILER_BYTES: usize = 8 * 1024;

/// The longest time for a whole request head, from its first byte. Further bytes do not restart it.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The time window in which a request body must arrive at [`MIN_RATE`] on average, or end.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for the next request on a connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest wait in the queue, unless one is set or follows. A request that has waited longer is
/// refused, because its client has probably left or retried.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time window in which a client must read its response at [`MIN_RATE`] on average.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The minimum transfer rate in bytes per second. A modem was four times as fast.
pub const MIN_RATE: u64 = 1024;

/// If a request has waited longer than this, the worker first checks whether its client has reset
/// the connection. For a shorter wait the check would cost more than it saves.
pub const GONE_CHECK_AFTER: Duration = Duration::from_millis(1);

/// The longest wait for queued and running requests after a stop was requested.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for the client to close its side after the last response (RFC 9112, section
/// 9.6).
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The most bytes that are read and dropped while lingering: what the client may have sent already.
pub const LINGER_BYTES: usize = 1024 * 1024;

/// The longest timeout that can be configured. A sum of the clock and a longer one could overflow.
pub const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The interval between checks of the parked connections' deadlines.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// The interval between checks of the remaining connections after a stop was requested.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// The time that a partly received request has to become whole after a stop was requested.
pub const DRAIN_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for which listeners stay open after a stop was requested, if the kernel defers
/// connections whose clients have sent nothing yet. Closing the listener would reset these
/// connections, and their requests may be on their way. Without deferral, [`DRAIN_INTERVAL`] is
/// enough to complete handshakes that have begun.
pub const DRAIN_DEFERRED: Duration = Duration::from_millis(250);

/// The most readiness events taken from the poller at once.
pub const EVENT_BATCH: usize = 1024;

/// How long the acceptor answers requests itself in each round, before it leaves the others to
/// workers: this, shared among the workers that can run at once. Where there are many, reading is
/// what nobody else can do. With two, 64 clients wait .6 of the time that they wait if it answers
/// four requests a round, and a request costs .97 of the processor time. Twice as long brings
/// nothing more.
pub const ANSWER_TIME: Duration = Duration::from_micros(200);

/// How long a service counts for whether workers are quick. Without one for so long, they get
/// requests that need no worker again, which shows how quick they are.
pub const RECENT_SERVICE: Duration = Duration::from_secs(1);

/// How many times the acceptor yields the processor to the workers while jobs wait. In this time
/// more events arrive, and workers that find the next job at once need not sleep and be woken.
pub const YIELDS: usize = 16;

/// The acceptor stops yielding after this time. Where other threads keep the processors busy, one
/// yield lasts for a time slice, and clients wait for the acceptor meanwhile.
pub const YIELD_MOST: Duration = Duration::from_micros(100);

/// The most bytes read from a connection at once. The buffer belongs to the thread, not to the
/// connection.
pub const READ_BYTES: usize = 16 * 1024;

/// The most bytes of buffer that a parked connection keeps, so that the next head needs no
/// allocation.
pub const KEPT_BYTES: usize = 512;

/// Files up to this size are read and sent with the head in one system call.
pub const SMALL_FILE: u64 = 16 * 1024;

/// The most bytes that are read of a file whose size is not what its metadata says, such as those
/// in `/proc` and `/sys`. Files of this kind that people read are shorter.
pub const UNSIZED_FILE: u64 = 1024 * 1024;

/// How many times a small file that keeps changing is read before it is sent like a large file.
pub const STEADY_READS: usize = 4;

/// The age at which a cache entry is compared with its file again.
pub const CACHE_FRESH: Duration = Duration::from_secs(1);

/// The time after a change within which a file's times may not show another change: the coarsest
/// file systems count in steps of two seconds. A file must also be unchanged for this long before
/// it gets an entity tag or a date.
pub const CACHE_SETTLE: Duration = Duration::from_secs(2);

/// The default cache size in bytes: enough for most sites, and a small part of a machine's memory.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// The default limit of cached open files for a program that sets none.
pub const CACHE_DESCRIPTORS: usize = 64;

/// The largest default limit of cached open files, even if the descriptor limit is higher.
pub const CACHE_DESCRIPTORS_MOST: usize = 1024;

/// The number of names without a file that are remembered, because pages request the same ones
/// again and again.
pub const CACHE_MISSING: usize = 1024;

/// The longest such name in bytes. All of them together take at most 256 KiB.
pub const CACHE_MISSING_BYTES: usize = 256;

/// The bytes that a cache entry takes in addition to the file's content and names.
pub const CACHE_OVERHEAD: u64 = 1024;

/// The size of a typical cache entry in bytes. It determines the size of the cache's tables.
pub const CACHE_TYPICAL: u64 = 4 * 1024;

/// The number of threads that wait for disks. While one waits, the others continue.
pub const FETCHERS: usize = 4;

/// The interval at which the handler is asked to release what it has not used lately.
pub const TEND_INTERVAL: Duration = Duration::from_secs(1);

/// Pipelined requests of one connection that a worker serves in a row.
pub const PIPELINE_TURN: usize = 16;

/// How long a connection must have been idle or lingering before it may be closed to make room or
/// at shutdown. A client that has just connected or been served will probably send a request soon,
/// and one that has just been refused still has to read the response.
pub const EVICTABLE_AFTER: Duration = Duration::from_millis(500);

/// How long a connection with a partial request, or without any byte yet, keeps its place when all
/// places are taken. A request in two packets is whole by then.
pub const PARTIAL_GRACE: Duration = Duration::from_millis(20);

/// The write timeout divided by this is how long a client that reads nothing of its response keeps
/// its place when all places are taken. By default this is two seconds, in which a lost segment is
/// retransmitted.
pub const UNTAKEN_SHARE: u32 = 16;

/// The shortest time between two searches for connections to close. In between, the result of the
/// last search is used.
pub const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The time between two such searches is at least this many times the duration of the last one.
pub const LOOK_SHARE: u32 = 16;

/// The number of bytes that are examined in a file without an extension, to distinguish text from
/// other data.
pub const SNIFF_BYTES: usize = 512;

/// The most entries in a listing; a longer page is of no use. This many take 1.2 MB with names of
/// 24 bytes, and 5.9 MB with the longest names, shared by all readers.
pub const LISTING_ENTRIES: usize = 20_000;

/// The default memory budget for listings, in bytes, for a program that sets none. The entries may
/// take half of it: enough for two of the largest listings, and for one that is being read again.
pub const LISTING_BYTES: u64 = 48 * 1024 * 1024;

/// The bytes that a listing takes in addition to its entries and their names.
pub const LISTING_OVERHEAD: u64 = 1024;

/// The most requests that wait for a directory or a file to be read. More would wait in vain.
pub const LANE_WAITING: usize = 128;

/// The bytes of a listing that are made at a time: about 100 rows.
pub const LISTING_PIECE: usize = 16 * 1024;

/// The largest `Retry-After`, in seconds. The current load says little about later.
pub const RETRY_AFTER_MOST: u64 = 30;

/// The interval between two samples for the chart on the admin page.
pub const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// The number of samples that are kept: the chart shows one minute.
pub const SAMPLES: usize = 120;

/// The interval that the page calls "now": long enough for a rate, short enough to show a change.
pub const NOW: Duration = Duration::from_secs(5);

/// The interval for which the page shows times: a 99th percentile needs many of them.
pub const MINUTE: Duration = Duration::from_secs(60);

/// The number of complete snapshots that are kept for each of these intervals, evenly spaced.
pub const MARKS: u32 = 10;

/// The limit of connections to the admin address: a few browsers and scrapers.
pub const ADMIN_CONNECTIONS: usize = 64;

/// The most connections of balancers to the agent that are kept until their other end closes them.
pub const AGENT_CONNECTIONS: usize = 16;

/// How long the agent keeps a connection after it has told everything.
pub const AGENT_LINGER: Duration = Duration::from_secs(1);

/// The most connections that the agent accepts in an [`AGENT_TICK`]; others wait in the kernel. So
/// whoever connects all the time costs a few percent of a processor, and delays no balancer.
pub const AGENT_ACCEPTS: usize = 200;

/// How often the agent looks at the workers.
pub const AGENT_TICK: Duration = Duration::from_millis(200);

/// The shortest time between two changes of what the agent tells.
pub const AGENT_STEP: Duration = Duration::from_secs(1);

/// How long the agent calls the server ready after its start, which cancels the `drain` of the
/// process before it. After that, an administrator's own `drain` in the balancer stays.
pub const AGENT_READY: Duration = Duration::from_secs(60);

/// Requests that a balancer may have at the server in addition to those in service and those that
/// may wait: they are being refused. More wait in the balancer's queue, which knows no age. Enough
/// for 250 a second while others have the processor for a second.
pub const AGENT_REFUSALS: usize = 256;

/// The write timeout of the admin address. Its responses are small. A client that reads nothing for
/// a sixteenth of this time may lose its place to a health check.
pub const ADMIN_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest wait for the admin server's clients at the end. They are not downloading files.
pub const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// The first pause in accepting after the system refuses a descriptor or memory. It doubles with
/// each further refusal.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The longest such pause. After twice this time without a refusal, the next one is logged again
/// and starts with the first pause.
pub const ACCEPT_PAUSE_MOST: Duration = Duration::from_secs(1);

const _: () = assert!(
    METHOD_BYTES + TARGET_BYTES + 64 < HEAD_BYTES,
    "the longest request line fits into a head"
);
const _: () = assert!(PROXY_V2_BYTES <= READ_BYTES, "one read has a whole PROXY header");
const _: () = assert!(KEPT_BYTES < READ_BYTES, "a parked connection keeps less than one read");
const _: () = assert!(QUEUE <= QUEUE_MOST);
const _: () =
    assert!(MEMORY_LEAST / MEMORY_SPARE > READ_BYTES as u64, "one read fits into the spare memory");
const _: () = assert!(LOOK_PAUSE.as_millis() < PARTIAL_GRACE.as_millis());
const _: () = assert!(PARTIAL_GRACE.as_millis() < EVICTABLE_AFTER.as_millis());
const _: () = assert!(SAMPLE_INTERVAL.as_millis() * MARKS as u128 <= NOW.as_millis());
const _: () = assert!(CHUNK_LINE_BYTES <= TRAILER_BYTES);
const _: () = assert!(CACHE_BYTES > 16 * (SMALL_FILE + CACHE_OVERHEAD), "many small files fit");
const _: () = assert!(SMALL_FILE <= UNSIZED_FILE);
const _: () = assert!(SNIFF_BYTES as u64 <= SMALL_FILE, "a look never exceeds a small file");
