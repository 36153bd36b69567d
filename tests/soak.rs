//! A short soak: clients of all kinds, and books that balance. The long one is an example.
#![allow(clippy::unwrap_used)]

#[path = "../examples/soak/clients.rs"]
mod clients;

#[test]
fn the_books_balance_after_clients_of_all_kinds() {
    let seed = 7;
    clients::soak(3000, seed, |_| {}).unwrap();
}
