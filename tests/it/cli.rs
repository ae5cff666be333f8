//! The program as its operator meets it: options, log lines, signals and exit codes.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use tokio::process::Command;

use crate::common::{EventStream, Folder, Process, get, under, within};

/// Runs a command to its end: its exit code, stdout and stderr.
async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = within("the program's end", command.output())
        .await
        .expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn values_that_are_not_utf_8_end_the_program_with_one_line() {
    let broken = || OsString::from_vec(b"\xffile".to_vec());
    let mut argument = under(&[], &["--data"], &[]);
    argument.arg(broken());
    let mut variable = under(&[], &[], &[]);
    variable.env("CHATROOM_PASSWORD_FILE", broken());
    for (command, named) in [(argument, "--data"), (variable, "CHATROOM_PASSWORD_FILE")] {
        let (code, stdout, stderr) = run(command).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(
            stderr.starts_with(&format!("chatroom: {named} ")) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn a_port_alone_listens_on_loopback() {
    for listen in ["--listen=0", "--listen=:0", "--listen=localhost:0"] {
        let server = Process::start(&[listen]).await;
        assert!(server.address().ip().is_loopback());
        get(server.address(), "/healthz").await.expect(200, "");
    }
}

/// What a server that cannot use its data folder says first, with a file as its stderr.
async fn logged(journald: bool) -> String {
    let folder = Folder::new();
    let path = folder.file("stderr", "");
    let file = std::fs::File::create(&path).expect("the folder can be written");
    let stat = file.metadata().expect("the file is there");
    let inode = stat.ino() + u64::from(!journald);
    let stream = format!("{}:{inode}", stat.dev());
    let mut command = under(
        &[],
        &["--listen=0", "--data", &path],
        &[("JOURNAL_STREAM", &stream)],
    );
    command.stdout(Stdio::null()).stderr(file);
    let status = within("the program's end", command.status()).await;
    assert_eq!(status.expect("the program starts").code(), Some(1));
    let said = std::fs::read_to_string(&path).expect("UTF-8");
    said.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn log_lines_are_stamped_unless_journald_does_it() {
    assert!(logged(true).await.starts_with("chatroom info: version "));
    let line = logged(false).await;
    let (time, rest) = line.split_once(' ').expect("a time and a line");
    assert!(rest.starts_with("chatroom info: version "), "{line}");
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let shape: String = time.chars().map(shape).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

/// A mistyped folder looks like a chat in which nothing was ever said.
#[tokio::test]
async fn a_data_folder_that_was_not_there_is_called_new() {
    let folder = Folder::new();
    let data = format!("{}/dta", folder.as_str());
    for (is_new, said) in [(true, "info: new journal in"), (false, "info: journal in")] {
        let mut server = Process::start(&["--data", &data]).await;
        let said = format!("chatroom {said} {data}");
        assert_eq!(server.said(&said).await.contains("new"), is_new);
        server.signal("TERM").await;
        within("the exit", server.exited()).await;
    }
}

#[tokio::test]
async fn listening_beyond_this_machine_without_a_password_brings_a_warning() {
    let server = Process::start(&["--listen=0.0.0.0:0"]).await;
    server
        .said("chatroom warning: everyone who can reach 0.0.0.0:0")
        .await;
}

#[tokio::test]
async fn a_hangup_shuts_down_in_good_order() {
    let mut server = Process::start(&[]).await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    stream.telling().await;
    server.signal("HUP").await;
    stream.until("server-closing").await;
    assert_eq!(server.exited().await.code(), Some(0));
}

#[tokio::test]
async fn a_server_started_by_nohup_outlives_its_terminal() {
    let server = Process::start_under(&["nohup"], &[]).await;
    server.signal("HUP").await;
    get(server.address(), "/healthz").await.expect(200, "");
}

/// Somebody who runs nothing else, so that the limit on processes counts the server's threads alone.
const NOBODY: &str = "54321";

#[tokio::test]
async fn a_server_without_threads_says_so_and_exits() {
    // Where that user can read it; the limit does not hold for root.
    let binary = std::env::temp_dir().join(format!("chatroom-threads-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_chatroom"), &binary).expect("the binary can be copied");
    std::fs::set_permissions(&binary, Permissions::from_mode(0o755)).expect("it is ours");
    for threads in ["1", "2"] {
        let root = std::fs::metadata("/proc/self").expect("Linux").uid() == 0;
        let mut command = Command::new(if root { "setpriv" } else { "env" });
        if root {
            let ids = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
            command.args(ids);
        }
        command
            .args(["prlimit", &format!("--nproc={threads}")])
            .arg(&binary)
            .args(["--listen=0", "--log=error"])
            .env("TOKIO_WORKER_THREADS", "2")
            .kill_on_drop(true);
        let (code, stdout, stderr) = run(command).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(
            stderr.starts_with("chatroom: cannot start: ") && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
    std::fs::remove_file(binary).expect("it is ours");
}
