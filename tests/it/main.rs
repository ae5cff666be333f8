//! The whole server over real sockets: one binary, a module for each theme, and one module that
//! starts servers.

mod support;

mod crowd;
mod resume;

mod embed;
mod errors;
mod fuzz;
mod guard;
mod history;
mod limits;
mod members;
mod page;
mod password;
mod roster;
mod sending;
mod sessions;
mod wire;
