//! Tests of one server, run against two that share a Redis: half of the connections go to each.

#[allow(dead_code, unused_imports, reason = "shared by all test programs")]
#[path = "../common/mod.rs"]
mod common;

#[path = "../it/idempotency.rs"]
mod idempotency;
#[path = "../it/members.rs"]
mod members;
#[path = "../it/moderation/mod.rs"]
mod moderation;
#[path = "../it/names.rs"]
mod names;
#[path = "../it/resume.rs"]
mod resume;
#[path = "../it/roster.rs"]
mod roster;
#[path = "../it/wire.rs"]
mod wire;
