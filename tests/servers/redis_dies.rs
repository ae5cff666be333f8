//! Redis is killed, and comes back with all, some or none of what it had.

use std::time::Duration;

use crate::common::redis::Redis;
use crate::ordeal::{Ordeal, Outcome, server};

const ALWAYS: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
];
const EVERYSEC: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
];
/// Only what a test itself saves is on the disk.
const SNAPSHOTS: [&str; 4] = ["--save", "", "--appendonly", "no"];

/// Kills Redis under load, changes its files, and starts it again.
async fn killed(
    fault: &str,
    arguments: &[&str],
    meanwhile: impl AsyncFn(&Redis),
    change: impl Fn(&Redis),
) -> Outcome {
    let mut redis = Redis::with(arguments).await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
    ordeal.go_on(Duration::from_secs(1)).await;
    meanwhile(&redis).await;
    ordeal.go_on(Duration::from_secs(1)).await;
    redis.kill().await;
    change(&redis);
    ordeal.go_on(Duration::from_secs(1)).await;
    redis.restart().await;
    ordeal.go_on(Duration::from_secs(2)).await;
    let outcome = ordeal.end().await;
    outcome.row(fault);
    assert!(outcome.acknowledged > 50, "{outcome:?}");
    outcome
}

fn something_was_lost_and_everybody_told(outcome: &Outcome) {
    assert!(outcome.lost > 0, "{outcome:?}");
    assert_eq!(outcome.told, outcome.followers, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_write_on_disk_nothing_is_lost() {
    let fault = "Redis killed, `appendfsync always`";
    let outcome = killed(fault, &ALWAYS, async |_| {}, |_| {}).await;
    assert_eq!((outcome.lost, outcome.told), (0, 0), "{outcome:?}");
}

/// The system still writes what a killed Redis has handed over. Redis cannot tell that from a power
/// cut, so a gap is told all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_alone_loses_nothing_and_is_told_where_a_power_cut_could_lose() {
    let fault = "Redis killed, `appendfsync everysec`";
    let outcome = killed(fault, &EVERYSEC, async |_| {}, |_| {}).await;
    assert_eq!(outcome.lost, 0, "{outcome:?}");
    assert_eq!(outcome.told, outcome.followers, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_power_cut_takes_from_the_file_is_told() {
    let fault = "the power fails, `appendfsync everysec`: a third of the file is gone";
    let outcome = killed(
        fault,
        &EVERYSEC,
        async |_| {},
        |redis| {
            let folder = redis.folder().join("appendonlydir");
            let file = std::fs::read_dir(folder)
                .expect("it is written")
                .find_map(|file| {
                    let path = file.expect("it can be read").path();
                    path.to_str()
                        .is_some_and(|path| path.ends_with(".incr.aof"))
                        .then_some(path)
                });
            let file = file.expect("a log of increments");
            let length = std::fs::metadata(&file).expect("it is there").len();
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(file)
                .expect("it is writable");
            file.set_len(length * 2 / 3).expect("it can be cut");
        },
    )
    .await;
    something_was_lost_and_everybody_told(&outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_snapshot_lacks_is_told() {
    let fault = "Redis killed, back with a snapshot from a second before";
    let save = async |redis: &Redis| drop(redis.command(&["SAVE"]).await);
    something_was_lost_and_everybody_told(&killed(fault, &SNAPSHOTS, save, |_| {}).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_everything_is_gone_is_told() {
    let fault = "Redis killed, no persistence";
    let outcome = killed(fault, &SNAPSHOTS, async |_| {}, |_| {}).await;
    something_was_lost_and_everybody_told(&outcome);
}
