//! Requests and answers.
//!
//! A request meets the [`guard`] first, then one `match` in [`routes`] sends it to what answers it:
//! the event [`stream`], [`messages`] sent and asked for, the [`page`], the [`metrics`]. What is
//! refused is refused as [`error`] says. This folder knows neither sockets nor files.

pub(crate) mod routes;
pub(crate) mod service;

pub(crate) mod address;
pub(crate) mod guard;
pub(crate) mod limits;
pub(crate) mod password;
pub(crate) mod session;

pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod stream;

pub(crate) mod body;
pub(crate) mod error;
pub(crate) mod gate;
pub(crate) mod query;
