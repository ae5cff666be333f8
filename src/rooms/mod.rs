//! The rooms: who is in them, what was said, and the frames that say it.
//!
//! This folder knows neither HTTP requests nor sockets nor files. Read it in this order: the
//! positions of events ([`id`]); what is said ([`message`]) and how it is encoded ([`frame`]); what a
//! room consists of ([`history`], [`members`], [`queue`], [`room`]) and what is known of a [`client`];
//! the registry of all rooms under one lock ([`hub`]); and what is done under that lock: publishing
//! and reading ([`entries`]), a [`summary`] of each room, whose a name is ([`owners`]), and one client's
//! stream ([`stream`]) with the past that it begins with ([`past`]).
//!
//! Every queue and table here is bounded: see [`limits`].

pub(crate) mod id;

pub(crate) mod frame;
pub(crate) mod message;

mod client;
pub(crate) mod history;
pub(crate) mod limits;
pub(crate) mod members;
mod queue;
mod room;

pub(crate) mod hub;

#[cfg(feature = "redis")]
pub(crate) mod elsewhere;
pub(crate) mod entries;
pub(crate) mod owners;
pub(crate) mod summary;

mod past;
pub(crate) mod stream;
