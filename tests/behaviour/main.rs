//! What the library and the commands do, over real sockets.
//!
//! It is one program, since most of these tests wait most of the time: they wait side by side
//! (`.cargo/config.toml` says how many), and one program links in the time of one. A test that
//! changes what belongs to the whole process, such as its logger, is a program of its own.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod admin;
mod admission;
mod api_example;
mod archive;
mod auth;
mod behind_proxies;
mod bodies;
mod cache;
mod client;
mod confinement;
mod database_example;
mod deploy_files;
mod echo;
mod error_pages;
mod exercise;
mod faults;
mod first_minute;
mod fleet;
mod health;
mod immediate;
mod immediate_files;
mod kept_refusals;
mod kubernetes;
mod large_files;
mod library;
mod listing;
mod listing_page;
mod listing_readme;
mod live_page;
mod live_page_states;
mod load;
mod load_program;
mod memory;
mod memory_limit;
mod monitoring;
mod overload;
mod packages;
mod patience;
mod places;
mod playground;
mod proxy;
mod queue;
mod rate_limits;
mod readme;
mod real_clients;
mod refusals;
mod reload;
mod restart;
mod routes;
mod sandbox;
mod semantics;
mod server_cli;
mod service_manager;
mod settings;
mod serving;
mod shutdown;
mod slow_clients;
mod slow_disk;
mod stalls;
mod stopping;
mod streams;
mod transfers;
mod unix_sockets;
mod users;
mod versus;
mod wire;
