//! One folder, one server; and a folder that cannot be used is refused with its reason.

use super::{held, reopened, texts, with_mounts};
use crate::common::Change as _;
use crate::common::{Folder, Process, say, under, within};

#[tokio::test]
async fn a_second_server_is_kept_out_and_the_first_goes_on() {
    let folder = Folder::new();
    let data = ["--listen=127.0.0.1:0", "--data", folder.as_str()];
    let first = Process::start(&data).await;
    say(first.address(), "lobby", "a", "before").await;
    let second = Process::run(&data, &[]).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stdout.is_empty(), "it never listened");
    let said = format!("{}: another server uses this data folder", folder.as_str());
    assert!(second.stderr.contains(&said), "{}", second.stderr);
    say(first.address(), "lobby", "a", "after").await;
    first.kill().await;
    // The lock goes with its server, however that ended.
    let third = Process::start(&data).await;
    assert_eq!(texts(&held(third.address()).await), ["before", "after"]);
}

#[tokio::test]
async fn a_second_chat_of_one_process_is_kept_out() {
    let folder = Folder::new();
    let first = super::kept(folder.path()).build().expect("an empty folder");
    let second = super::kept(folder.path()).build();
    assert!(second.is_err_and(|error| error.to_string().contains("another server")));
    first.post("lobby", "a", "hello").await.expect("it goes on");
    first.close().await;
    drop(first);
    assert_eq!(reopened(folder.path(), "more").await.len(), 2);
}

/// Mounted read-only, for the mode of a folder does not keep the system's owner out.
#[tokio::test]
async fn a_folder_that_is_read_only_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("data")).expect("the folder can be written");
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let mounted = format!(
        "mount --bind {data} {data} && mount -o remount,ro,bind {data} && exec \"$0\" \"$@\""
    );
    let mut command = under(
        &with_mounts(&mounted),
        &["--listen=127.0.0.1:0", "--data", data],
        &[],
    );
    let ended = within("the refusal", command.output())
        .await
        .expect("unshare is needed");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(data) && stderr.contains("cannot write to the data folder"),
        "{stderr}"
    );
    assert!(ended.stdout.is_empty(), "it never listened");
}

/// A file where the folder should be.
#[tokio::test]
async fn a_folder_that_is_none_is_refused() {
    let folder = Folder::new();
    let path = folder.file("data", "mine");
    let ended = Process::run(&["--listen=127.0.0.1:0", "--data", &path], &[]).await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("cannot make the data folder"),
        "{}",
        ended.stderr
    );
    assert_eq!(std::fs::read(path).expect("it is still there"), b"mine");
    assert!(!folder.path().join("messages.jsonl").exists());
}
