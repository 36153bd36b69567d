//! A short soak test: clients of all kinds, each order of service, each choice of what gives way
//! when the queue is full, and counters that add up. The long one is an example.
#![allow(clippy::unwrap_used)]

#[path = "../examples/soak/clients.rs"]
mod clients;

#[test]
fn the_counters_add_up_after_clients_of_all_kinds() {
    let seed = 7;
    clients::soak(3000, seed, |_| {}).unwrap();
}
