//! Every bound and every wait that is not a setting: its name, its value and the reason for it; and
//! the defaults of those that are.

use std::time::Duration;

/// Connections the kernel may complete before they are accepted. `std` fixes this at 128, and a
/// burst beyond it costs each client a dropped SYN and a second of waiting; the kernel cuts it to
/// its own `somaxconn`.
pub const BACKLOG: i32 = 4096;

/// Connections accepted in a row before those already open get their turn.
pub const ACCEPT_BATCH: usize = 64;

/// Jobs that may wait for a worker.
pub const QUEUE: usize = 1024;

/// Jobs beyond that which have been admitted before, and come back after a wait.
pub const QUEUE_RETURNS: usize = 4096;

/// Largest accepted `--queue`: the channel's slots are allocated at start.
pub const QUEUE_MOST: usize = 1 << 20;

/// Largest accepted `--workers`: beyond it threads cost more than they carry. Each keeps some
/// 100 KiB of measurements, all of which a look at the figures adds up.
pub const WORKERS_MOST: usize = 4096;

/// Connections that may be open, for a program that does not say: it is below the usual limit of
/// descriptors, 1024. The `server` command takes the limit itself.
pub const CONNECTIONS: usize = 1000;

/// Largest number of connections that the default allows, whatever the descriptor limit.
pub const CONNECTIONS_MOST: usize = 1 << 20;

/// Bytes of memory that clients can make the server hold, where the machine has enough: a quarter
/// of a machine of 1 GiB. The kernel's buffers for sockets come on top.
pub const MEMORY: u64 = 256 * 1024 * 1024;

/// Least bytes of memory that the server makes do with.
pub const MEMORY_LEAST: u64 = 4 * 1024 * 1024;

/// Share of the machine's memory that is taken by default: one of so many parts.
pub const MEMORY_PARTS: u64 = 4;

/// Share of the memory that is kept free for those who come next: one of so many parts. What is
/// held beyond it costs those who have brought least their places.
pub const MEMORY_SPARE: u64 = 16;

/// Bytes of memory that each connection has: its state, the start of its next request, and its
/// slot in the tables.
pub const CONNECTION_BYTES: u64 = 2048;

/// Descriptors kept back from the connections: listeners, poller, log, standard streams.
pub const DESCRIPTOR_RESERVE: usize = 64;

/// Descriptors that one connection may hold: its socket, and the file that it is being sent.
pub const DESCRIPTORS_EACH: usize = 2;

/// Bytes of a request head, from the request line to the empty line (nginx: 8 KiB by 4).
pub const HEAD_BYTES: usize = 16 * 1024;

/// Bytes of a request target; RFC 9110, section 4.1, asks for at least 8000.
pub const TARGET_BYTES: usize = 8 * 1024;

/// Largest bound of a head that can be asked for: each connection may hold as much.
pub const HEAD_BYTES_MOST: usize = 1 << 20;

/// Bytes of a method; the longest one registered, `UPDATEREDIRECTREF`, has 17.
pub const METHOD_BYTES: usize = 32;

/// Header fields of one request. Browsers send some 20.
pub const HEADER_FIELDS: usize = 100;

/// Longest request body that is read and dropped, to keep the connection usable, where the handler
/// takes none. A longer one gets a 413, and the connection closes.
pub const BODY_BYTES: u64 = 1024 * 1024;

/// Bytes of a chunk-size line with its extensions.
pub const CHUNK_LINE_BYTES: usize = 256;

/// Bytes of a chunked body's trailer section.
pub const TRAILER_BYTES: usize = 8 * 1024;

/// Wait for a whole request head, counted from its first byte; bytes do not restart it.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Window in which a request body must come at [`MIN_RATE`] on the average, or end.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait for the next request on a connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest wait in the queue: a request that has waited longer is refused when its turn comes, as
/// its client has probably gone or asked again.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Window in which a client must take its response at [`MIN_RATE`] on the average.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes a second below which a client is too slow to be served: a modem had four times as many.
pub const MIN_RATE: u64 = 1024;

/// A request that waited for longer than this is not begun before a look at whether its client
/// has reset the connection; for a shorter one the look would cost more than it saves.
pub const GONE_CHECK_AFTER: Duration = Duration::from_millis(1);

/// Wait for queued and running requests when the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait, after a final response, for the client to end its side (RFC 9112, section 9.6).
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes read and dropped while lingering: what a client may have had under way.
pub const LINGER_BYTES: usize = 1024 * 1024;

/// Longest wait that can be asked for: a clock must be able to count to its end.
pub const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Pause between two looks at the deadlines of parked connections.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Pause between two looks at what is left, once the server has been told to stop.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// Time that a request which has begun to arrive is given to be whole, once the server is told to
/// stop.
pub const DRAIN_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for which listeners stay, once the server is told to stop, where the kernel keeps back
/// connections that have not spoken yet: closing would reset them, and their requests may be under
/// way. Where it keeps none back, [`DRAIN_INTERVAL`] is enough for handshakes that are half way.
pub const DRAIN_DEFERRED: Duration = Duration::from_millis(250);

/// Readiness events taken from the poller at once.
pub const EVENT_BATCH: usize = 1024;

/// Times the acceptor offers the processor to the workers while jobs wait. Readiness gathers
/// meanwhile, and workers that find the next job at hand need not sleep and be woken.
pub const YIELDS: usize = 16;

/// Bytes read from a connection at once; the buffer belongs to the thread, not the connection.
pub const READ_BYTES: usize = 16 * 1024;

/// Bytes of buffer that a parked connection may keep, so that the next head needs no allocation.
pub const KEPT_BYTES: usize = 512;

/// Files up to this size are read and sent with the head in one system call.
pub const SMALL_FILE: u64 = 16 * 1024;

/// Bytes of a file that has another size than it tells, as those of `/proc` and `/sys` have, up to
/// which it is read to its end: those that are read by people are shorter.
pub const UNSIZED_FILE: u64 = 1024 * 1024;

/// Readings of a small file that changes meanwhile, before it is sent as large ones are.
pub const STEADY_READS: usize = 4;

/// Age at which what is held of a file is compared with the file again.
pub const CACHE_FRESH: Duration = Duration::from_secs(1);

/// Time after a change within which another one might not show in a file's times: the coarsest
/// file systems count them in steps of two seconds. It is also the time for which a file must have
/// been still before a tag or a date is given for its state.
pub const CACHE_SETTLE: Duration = Duration::from_secs(2);

/// Bytes of files that are held: enough for the whole of most sites, and little of a machine.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Files that are held open, for a program that does not say.
pub const CACHE_DESCRIPTORS: usize = 64;

/// Largest number of files that are held open by default, whatever the descriptor limit.
pub const CACHE_DESCRIPTORS_MOST: usize = 1024;

/// Names that are held because nothing has them: pages ask for the same ones again and again.
pub const CACHE_MISSING: usize = 1024;

/// Bytes of a longest such name; the names take 256 KiB at the most.
pub const CACHE_MISSING_BYTES: usize = 256;

/// Bytes that what is known of a file takes beside its content and its names.
pub const CACHE_OVERHEAD: u64 = 1024;

/// Bytes of a typical file and what is known of it, by which the cache's tables are sized.
pub const CACHE_TYPICAL: u64 = 4 * 1024;

/// Bytes of a larger file sent by one system call: the grain at which senders take turns.
pub const SEND_PIECE: usize = 256 * 1024;

/// Distance between two looks at whether a file is in memory: what the kernel reads ahead at a time
/// by default. Each look costs a system call, of which large files notice many.
pub const PROBE_STRIDE: usize = 128 * 1024;

/// Threads that wait for disks in the place of others: while one does, the next ones can.
pub const FETCHERS: usize = 4;

/// Pause between two looks at what is held and nobody asks for.
pub const TEND_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes that the kernel takes of a response ahead of what it can send: enough for a fast network
/// while a sender gets its next turn (10 Gbit/s take a fifth of a millisecond for it).
pub const UNSENT_BYTES: i32 = 256 * 1024;

/// Bytes by which a file is copied where `sendfile` is not to be had.
pub const COPY_PIECE: usize = 64 * 1024;

/// Pipelined requests of one connection that a worker serves in a row.
pub const PIPELINE_TURN: usize = 16;

/// Time for which a connection must have been idle, or have lingered, before it can be closed to
/// make room or at shutdown: a client that has just connected or been served is about to send, and
/// one that has just been refused is about to read.
pub const EVICTABLE_AFTER: Duration = Duration::from_millis(500);

/// Time for which part of a request, or a connection that has brought nothing yet, keeps its place
/// when all are taken: a request that comes in two packets is whole by then.
pub const PARTIAL_GRACE: Duration = Duration::from_millis(20);

/// Share of the write timeout for which a client that takes nothing of its response keeps its place
/// when all are taken: two seconds by default, in which a lost segment is sent again.
pub const UNTAKEN_SHARE: u32 = 16;

/// Pause between two looks for who gives up a place, in which the first look's outcome is used.
pub const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Pause between two such looks in the time that the first one took.
pub const LOOK_SHARE: u32 = 16;

/// Bytes of an extensionless file that are looked at to tell text from other data.
pub const SNIFF_BYTES: usize = 512;

/// Entries of a directory that are listed; a page of more is of no use. So many take 1.2 MB with
/// names of 24 bytes, and 5.9 MB with the longest ones, once for all who read them.
pub const LISTING_ENTRIES: usize = 20_000;

/// Bytes of the budget that directories are read within, for a program that does not say. Their
/// entries may take half of it: two of the largest, and what is read anew meanwhile.
pub const LISTING_BYTES: u64 = 48 * 1024 * 1024;

/// Bytes that the entries of a directory take beside their names and what is known of each.
pub const LISTING_OVERHEAD: u64 = 1024;

/// Requests that may wait for others' directories or files to be read: more would wait in vain.
pub const LANE_WAITING: usize = 128;

/// Bytes of a listing that are made at once, by whoever sends it: some 100 rows.
pub const LISTING_PIECE: usize = 16 * 1024;

/// Longest advice in `Retry-After`, in seconds: what is measured now says little of later.
pub const RETRY_AFTER_MOST: u64 = 30;

/// Pause between two samples of what the admin page shows over time.
pub const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Samples that are kept: the page's chart shows a minute.
pub const SAMPLES: usize = 120;

/// What the page calls now: long enough for a rate, short enough to see a change.
pub const NOW: Duration = Duration::from_secs(5);

/// Stretch over which the page shows times: a p99 needs many of them.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Whole snapshots that are kept for each of these stretches, evenly spaced.
pub const MARKS: u32 = 10;

/// Connections to the admin address: a few browsers and scrapers.
pub const ADMIN_CONNECTIONS: usize = 64;

/// Write timeout of the admin address: its answers are small, and who takes nothing of them for a
/// sixteenth of it gives way to who asks for health.
pub const ADMIN_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Wait for the admin address' clients at the end: nobody's files are on their way there.
pub const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// First pause before accepting again after the system refused a descriptor or memory; it doubles
/// while the refusals go on.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Longest such pause, and the time without a refusal after which the next one is another story.
pub const ACCEPT_PAUSE_MOST: Duration = Duration::from_secs(1);

const _: () = assert!(METHOD_BYTES + TARGET_BYTES + 64 < HEAD_BYTES, "a longest line fits a head");
const _: () = assert!(KEPT_BYTES < READ_BYTES, "a parked connection keeps less than one read");
const _: () = assert!(SMALL_FILE <= SEND_PIECE as u64, "what is small is one piece");
const _: () = assert!(QUEUE <= QUEUE_MOST);
const _: () = assert!(MEMORY_LEAST / MEMORY_SPARE > READ_BYTES as u64, "a read fits what is spare");
const _: () = assert!(LOOK_PAUSE.as_millis() < PARTIAL_GRACE.as_millis());
const _: () = assert!(PARTIAL_GRACE.as_millis() < EVICTABLE_AFTER.as_millis());
const _: () = assert!(SAMPLE_INTERVAL.as_millis() * MARKS as u128 <= NOW.as_millis());
const _: () = assert!(CHUNK_LINE_BYTES <= TRAILER_BYTES);
const _: () = assert!(CACHE_BYTES > 16 * (SMALL_FILE + CACHE_OVERHEAD), "many small files fit");
const _: () = assert!(SMALL_FILE <= UNSIZED_FILE);
const _: () = assert!(SNIFF_BYTES as u64 <= SMALL_FILE, "a look never exceeds a small file");
