//! The whole server over real sockets: one binary, a module for each theme, and one module that
//! starts servers.

mod support;

mod history;
mod sending;
mod wire;
