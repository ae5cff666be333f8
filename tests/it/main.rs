//! The whole server over real sockets: one binary, a module for each theme, and one module that
//! starts servers.

mod support;

mod cli;
mod connections;
mod crowd;
mod fds;
mod hostile;
mod idempotency;
mod journal;
mod model;
mod resume;
mod rooms;
mod shutdown;
mod slow;
mod storms;

mod embed;
mod errors;
mod fuzz;
mod guard;
mod history;
mod limits;
mod members;
mod names;
mod origins;
mod page;
mod password;
mod roster;
mod sending;
mod sessions;
mod wire;
