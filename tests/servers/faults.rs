//! Two servers with one Redis, and what goes wrong between them. Under four posters, everybody sees
//! every message that was acknowledged, once and in one order, or is told of a gap.

#[allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]
#[path = "../common/mod.rs"]
mod common;

mod ordeal;
mod relay;

mod bounds;
mod failover;
mod names;
mod positions;
mod proxies;
mod reaching;
mod redis_dies;
mod redis_stalls;
mod walk;
