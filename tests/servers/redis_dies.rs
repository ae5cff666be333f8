//! Redis is killed, and comes back with all, some or none of what it had.

use std::time::Duration;

use crate::common::redis::Redis;
use crate::ordeal::{Ordeal, Outcome, server};
use crate::relay::{Line, Relay};

/// Kills Redis under load, changes its files, and starts it again.
async fn killed(
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
    assert!(outcome.acknowledged > 50, "{outcome:?}");
    outcome
}

fn something_was_lost_and_everybody_told(outcome: &Outcome) {
    assert!(outcome.lost > 0, "{outcome:?}");
    assert_eq!(outcome.told, outcome.followers, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_write_on_disk_nothing_is_lost() {
    let always = [
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ];
    let outcome = killed(&always, async |_| {}, |_| {}).await;
    assert_eq!((outcome.lost, outcome.told), (0, 0), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_power_cut_takes_from_the_file_is_told() {
    let everysec = [
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
    ];
    let outcome = killed(
        &everysec,
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
    let snapshot = ["--save", "", "--appendonly", "no"];
    let save = async |redis: &Redis| drop(redis.command(&["SAVE"]).await);
    something_was_lost_and_everybody_told(&killed(&snapshot, save, |_| {}).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_everything_is_gone_is_told() {
    let nothing = ["--save", "", "--appendonly", "no"];
    something_was_lost_and_everybody_told(&killed(&nothing, async |_| {}, |_| {}).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over() {
    let mut first = Redis::start().await;
    let second = Redis::start().await;
    let port = first.address().port().to_string();
    second.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    let relay = Relay::to(first.address()).await;
    let (a, b) = (server(&relay.url()).await, server(&relay.url()).await);
    let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
    ordeal.go_on(Duration::from_secs(2)).await;
    first.kill().await;
    second.command(&["REPLICAOF", "NO", "ONE"]).await;
    relay.set(Line::Leads(second.address()));
    ordeal.go_on(Duration::from_secs(2)).await;
    let outcome = ordeal.end().await;
    // Nobody can know what the first had acknowledged and the second never got.
    assert_eq!(outcome.told, outcome.followers, "{outcome:?}");
    assert!(outcome.acknowledged > 50, "{outcome:?}");
}
