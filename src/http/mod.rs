//! Requests and answers.
//!
//! The route of a request is found first, because the [`guard`] needs it. The guard then decides whether
//! the request may come in, and one `match` in [`routes`] sends it to what answers it: an event
//! [`stream`], [`messages`] sent and read, a [`hook`], the [`rooms`], [`moderation`] and [`bans`], the
//! [`page`], the [`metrics`]. All of them share one [`site`]. This folder knows neither sockets nor files.

pub(crate) mod routes;

pub(crate) mod bans;
mod hook;
mod me;
pub(crate) mod messages;
mod metrics;
pub(crate) mod moderation;
mod page;
mod rooms;
mod stream;

pub(crate) mod site;

pub(crate) mod visitor;

pub(crate) mod address;
pub(crate) mod guard;
pub(crate) mod limits;
pub(crate) mod session;

mod answer;
pub(crate) mod body;
mod inflate;
mod request;
