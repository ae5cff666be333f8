//! A stderr that nobody reads: it holds nobody up, and what it missed is told.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::common::{Client, EventStream, Process, Request, say, under, within};

/// Requests of which each is a log line: more than a pipe holds, and the lines that wait for it.
const REQUESTS: usize = 5_000;

/// Starts the binary so that it logs each request, and gives where it listens. Nobody reads its stderr.
async fn talkative(arguments: &[&str]) -> (Child, SocketAddr) {
    let arguments = [&["--log=debug", "--listen=127.0.0.1:0"], arguments].concat();
    let mut server = under(&[], &arguments, &[]).spawn().expect("it starts");
    let stdout = server.stdout.take().expect("stdout is a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let first = within("the first line", lines.next_line()).await;
    let first = first.expect("stdout can be read").expect("a line");
    let address = first.rsplit('/').next().expect("an address");
    (server, address.parse().expect("an address"))
}

async fn fill(address: SocketAddr) {
    let mut client = Client::connect(address).await;
    for _ in 0..REQUESTS {
        client.ask(&Request::get("/healthz")).await.expect(200, "");
    }
}

fn signal(server: &Child, name: &str) {
    let pid = server.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill")
        .args([name, &pid])
        .status();
    assert!(sent.expect("kill is there").success());
}

#[tokio::test]
async fn a_stderr_that_nobody_reads_holds_nobody_up_and_what_was_lost_is_told() {
    let (mut server, address) = talkative(&[]).await;
    fill(address).await;
    let mut stderr = BufReader::new(server.stderr.take().expect("stderr is a pipe")).lines();
    let (mut told, mut lost) = (0, 0);
    while lost == 0 {
        let line = within("a line", stderr.next_line()).await;
        let line = line.expect("UTF-8").expect("there is more");
        told += usize::from(line.ends_with("chatroom debug: GET healthz 200"));
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        if let [
            "chatroom",
            "error:",
            count,
            "log",
            "lines",
            "were",
            "lost:",
            ..,
        ] = words[..]
        {
            lost = count.parse().expect("a number");
        }
    }
    assert_eq!(told + lost, REQUESTS);
    // What follows is logged again, to the last line.
    signal(&server, "-TERM");
    let mut rest = String::new();
    let reading = stderr.get_mut().read_to_string(&mut rest);
    within("the end of stderr", reading).await.expect("UTF-8");
    assert!(rest.ends_with("chatroom info: shut down\n"), "{rest}");
    let status = within("the end", server.wait()).await;
    assert_eq!(status.expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn a_server_whose_stderr_is_full_ends_when_it_is_told_to() {
    for (signals, code) in [(1, 0), (2, 1)] {
        let (mut server, address) = talkative(&["--drain=60"]).await;
        fill(address).await;
        let mut slow = Client::connect(address).await;
        if signals == 2 {
            let post = Request::post_text("/chat?name=a", "half").header("Content-Length", "8");
            slow.send(&post.to_bytes()).await;
            // Its head was read when a later connection gets an answer.
            fill(address).await;
        }
        signal(&server, "-TERM");
        if signals == 2 {
            // It accepts nobody: the first signal has arrived.
            let closed = async { while TcpStream::connect(address).await.is_ok() {} };
            within("the end begins", closed).await;
            signal(&server, "-TERM");
        }
        let status = within("the end", server.wait()).await;
        assert_eq!(
            status.expect("it ends").code(),
            Some(code),
            "{signals} signals"
        );
    }
}

/// Without `/proc` nobody can tell whether nohup has switched the signal off, and then it must not count.
#[tokio::test]
async fn a_server_that_nohup_started_outlives_its_terminal_also_without_proc() {
    for (hide, nohup) in [(true, true), (false, true), (false, false)] {
        let hide = if hide {
            "mount -t tmpfs none /proc && "
        } else {
            ""
        };
        let script = format!(
            "{hide}exec {} \"$0\" \"$@\"",
            if nohup { "nohup" } else { "" }
        );
        let namespace = ["unshare", "--user", "--map-root-user", "--mount"];
        let wrapper = [&namespace[..], &["sh", "-c", &script]].concat();
        let mut server = Process::start_under(&wrapper, &["--message-rate=0"]).await;
        let address = server.address();
        let mut stream = EventStream::open(address, "/chat").await;
        server.signal("HUP").await;
        if nohup {
            // Long enough for a signal that counts to end the stream.
            for _ in 0..200 {
                say(address, "lobby", "a", "still here").await;
                assert_eq!(stream.message().await.text(), "still here");
            }
            server.signal("TERM").await;
        }
        stream.until("server-closing").await;
        assert_eq!(server.exited().await.code(), Some(0), "{script}");
    }
}
