//! Sends requests at fixed times, independent of earlier ones: the latency at a given rate.

use super::driver::Driven;
use super::idle::read_response;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

/// Sends `rate` requests per second over this many connections in turn. A latency counts from the
/// intended start of its request.
pub fn drive(
    address: SocketAddr,
    path: &str,
    connections: usize,
    rate: f64,
    length: Duration,
) -> io::Result<Driven> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let streams: Vec<TcpStream> =
        (0..connections).map(|_| TcpStream::connect(address)).collect::<io::Result<_>>()?;
    let start = Instant::now() + Duration::from_millis(10);
    let apart = Duration::from_secs_f64(connections as f64 / rate);
    let taken: Vec<io::Result<Vec<Duration>>> = thread::scope(|scope| {
        let clients: Vec<_> = streams
            .into_iter()
            .enumerate()
            .map(|(number, stream)| {
                let first = start + apart.mul_f64(number as f64 / connections as f64);
                let request = request.as_bytes();
                scope.spawn(move || client(stream, request, first, apart, start + length))
            })
            .collect();
        let panicked = || io::Error::other("a client panicked");
        clients.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    let mut latencies = Vec::new();
    for of_client in taken {
        latencies.extend(of_client?);
    }
    latencies.sort_unstable();
    let at = |share: f64| {
        let rank = (share * latencies.len() as f64).ceil() as usize;
        latencies.get(rank.max(1) - 1).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    Ok(Driven {
        requests: latencies.len() as u64,
        seconds: start.elapsed().as_secs_f64(),
        p50: at(0.50),
        p99: at(0.99),
        errors: 0,
    })
}

fn client(
    mut stream: TcpStream,
    request: &[u8],
    first: Instant,
    apart: Duration,
    end: Instant,
) -> io::Result<Vec<Duration>> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // Request precise timers, so that sleeps end on time.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let (mut latencies, mut bytes) = (Vec::new(), Vec::new());
    let mut intended = first;
    while intended < end {
        thread::sleep(intended.saturating_duration_since(Instant::now()));
        stream.write_all(request)?;
        read_response(&mut stream, &mut bytes)?;
        latencies.push(intended.elapsed());
        intended += apart;
    }
    Ok(latencies)
}
