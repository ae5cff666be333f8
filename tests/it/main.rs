//! Tests of the whole server over real sockets: one binary, with a module per theme.

#[path = "../common/mod.rs"]
mod common;

mod by_link;
mod cli;
mod connections;
mod devices;
mod evasion;
mod fds;
mod flood;
mod hostile;
mod idempotency;
mod journal;
mod model;
mod moderation;
mod people;
mod pins;
mod resume;
mod rooms;
mod shutdown;
mod slow;
mod storms;
mod streams;

mod embed;
mod errors;
mod fuzz;
mod guard;
mod history;
mod hook;
mod hosts;
mod limits;
mod logging;
mod members;
mod names;
mod origins;
mod page;
mod password;
mod roster;
mod sending;
mod sessions;
mod wire;
