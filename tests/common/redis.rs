//! A Redis server of a test's own, and a pair of servers that share it.

use super::Change as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chatroom::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::chat::{encode, figures, tell_pair};
use super::http::get;
pub(crate) use super::process::free_port;
use super::{Folder, Program, Running, Server, eventually, within};

/// What the metrics of two servers that have the same agree on.
const COMMON: [&str; 2] = ["chatroom_history_bytes", "chatroom_messages_accepted_total"];

/// How long a connection waits for two servers to have the same: they tell each other once a second.
const AGREEMENT: Duration = Duration::from_secs(4);
/// Connections that wait for it. A test with more is about a crowd.
const FEW: usize = 30;

/// A running Redis. Dropping it kills it.
pub(crate) struct Redis {
    program: Program,
    folder: Folder,
    port: u16,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts a Redis without persistence.
    pub(crate) async fn start() -> Redis {
        Redis::with(&["--save", "", "--appendonly", "no"]).await
    }

    /// Starts a Redis with more arguments.
    pub(crate) async fn with(arguments: &[&str]) -> Redis {
        let folder = Folder::new();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let port = free_port();
        let program = launch(&folder, port, &arguments).await;
        Redis {
            program,
            folder,
            port,
            arguments,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command, and returns what redis-cli prints.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        redis_cli(self.port, words).await
    }

    /// Whether it is the master of its replicas, and no replica.
    pub(crate) async fn is_master(&self) -> bool {
        self.command(&["ROLE"]).await.starts_with("master")
    }

    /// Kills it as a crash would.
    pub(crate) async fn kill(&mut self) {
        self.program.0.start_kill().expect("it runs");
        within("Redis's end", self.program.0.wait())
            .await
            .expect("a child can be waited for");
    }

    /// Starts it again on the same port, with the files that are there.
    pub(crate) async fn restart(&mut self) {
        self.program = launch(&self.folder, self.port, &self.arguments).await;
    }
}

/// Runs a command at a port, and returns what redis-cli prints.
pub(crate) async fn redis_cli(port: u16, words: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string()]).args(words);
    command.kill_on_drop(true);
    let output = within("redis-cli", command.output()).await;
    let output = output.expect("redis-cli is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn launch(folder: &Folder, port: u16, arguments: &[String]) -> Program {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--dir", folder.as_str()])
        .args(["--bind", "127.0.0.1", "--enable-debug-command", "yes"])
        .args(arguments);
    let program = Program::quiet(&mut command);
    eventually("Redis's answer", async || ping(port).await.is_ok()).await;
    program
}

/// Redis answers, perhaps with the question for a password, and has loaded its files.
async fn ping(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    [b"+PONG", b"-NOAU"]
        .contains(&&answer)
        .then_some(())
        .ok_or(std::io::ErrorKind::WouldBlock.into())
}

/// What a pair has in front of it and behind it.
pub(crate) struct Balancer {
    task: JoinHandle<()>,
    _redis: Redis,
}

/// Starts two servers of one chat, behind a listener that gives every second connection to each.
pub(crate) async fn pair(listener: TcpListener, builder: Options) -> Server {
    let redis = Redis::start().await;
    let address = listener.local_addr().expect("a listener has an address");
    let (mut chats, mut running, mut servers) = (vec![], vec![], vec![]);
    for _ in 0..2 {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = chatroom::bind(any).expect("a free port");
        servers.push(listener.local_addr().expect("a listener has an address"));
        let builder = builder.clone().redis(&redis.url()).expect("a URL");
        let chat = builder.build().expect("the chat can be built");
        chats.push(chat.clone());
        running.push(Running::start(listener, chat));
    }
    tell_pair(address, &servers);
    Server {
        address,
        chat: chats.remove(0),
        running,
        _behind: Some(Balancer {
            task: tokio::spawn(balance(listener, servers)),
            _redis: redis,
        }),
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets each connection in when the servers have the same, as a client finds them that comes a
/// moment later; the contract says how long that takes, and other tests measure it.
async fn balance(listener: TcpListener, servers: Vec<SocketAddr>) {
    for count in 0.. {
        let Ok((mut client, _)) = listener.accept().await else {
            return;
        };
        let servers = servers.clone();
        tokio::spawn(async move {
            if count < FEW {
                agreement(&servers).await;
            }
            let server = servers[count % servers.len()];
            if let Ok(mut server) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
                // A client that resets its connection is gone for the server too.
                let _ = server.set_zero_linger();
            }
        });
    }
}

async fn agreement(servers: &[SocketAddr]) {
    let agreed = timeout(AGREEMENT, async {
        while what_it_has(servers[0]).await != what_it_has(servers[1]).await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    // Where a crowd comes and goes they never have the same; then what comes of it counts.
    let _ = agreed.await;
}

/// All that a newcomer could find at a server.
async fn what_it_has(server: SocketAddr) -> Vec<String> {
    let rooms = get(server, "/rooms").await;
    let mut all = vec![rooms.text().to_owned()];
    if rooms.status != 200 {
        return all;
    }
    for room in rooms.json()["rooms"].as_array().into_iter().flatten() {
        let name = encode(room["room"].as_str().expect("a name"));
        let members = get(server, &format!("/chat/{name}/members")).await;
        all.push(members.text().to_owned());
    }
    all.push(format!("{:?}", figures(server, &COMMON).await));
    all
}
