//! The whole server over real sockets: one binary, a module for each theme, and one module that
//! starts servers.

mod support;

mod crowd;
mod resume;

mod history;
mod members;
mod sending;
mod sessions;
mod wire;
