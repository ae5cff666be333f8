//! What every test stands on: a server (in this process, or the real binary), a client that sees
//! the bytes of HTTP as they are, and a reader of event streams. No other module starts a server.
//!
//! Every wait has a limit, so that a server that hangs fails a test and does not stop it.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatroom::{Builder, Chat, LogLevel};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what must come. Generous, for the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing within {PATIENCE:?}"),
    }
}

/// Asks again and again until the answer is yes. For what announces itself by no event.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    within(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A server in this process, on a port of its own. Dropping it ends it.
pub(crate) struct Server {
    address: SocketAddr,
    chat: Chat,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// A server without limits on messages and streams, which most tests are not about.
    pub(crate) async fn start() -> Server {
        Server::with(|chat| chat).await
    }

    /// A server like [`Server::start`]'s, but for what the closure changes.
    pub(crate) async fn with(change: impl FnOnce(Builder) -> Builder) -> Server {
        Server::on("127.0.0.1:0", change).await
    }

    /// A server that listens on an address of the test's choice.
    pub(crate) async fn on(address: &str, change: impl FnOnce(Builder) -> Builder) -> Server {
        let address = address.parse().expect("an address");
        let listener = chatroom::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let chat = change(unlimited()).build().expect("the chat can be built");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(chatroom::serve(listener, chat.clone(), async {
            drop(stopped.await);
        }));
        Server {
            address,
            chat,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Tells the server to shut down in good order, and does not wait.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Shuts the server down in good order, and waits until it is done.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        within("the server's end", &mut self.task)
            .await
            .expect("the server does not panic");
    }
}

/// A chat without limits on messages and streams, quiet on stderr.
pub(crate) fn unlimited() -> Builder {
    Chat::builder()
        .message_rate(0.0)
        .max_streams_per_ip(0)
        .log(LogLevel::Error)
}

/// The real binary. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    stderr: Arc<Mutex<String>>,
}

/// How a run of the binary ended that did not come to listen.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts the binary on a free port of loopback, unless the arguments say where.
    pub(crate) async fn start(arguments: &[&str]) -> Process {
        Process::start_with(arguments, &[]).await
    }

    /// Starts the binary with more in its environment.
    pub(crate) async fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut command = command(arguments, environment);
        if !arguments.iter().any(|one| one.starts_with("--listen")) {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Process::launch(command).await
    }

    /// Starts a prepared command (a wrapper such as `sh -c "ulimit …; exec …"`) that ends up being
    /// the server.
    pub(crate) async fn launch(mut command: Command) -> Process {
        let mut child = command.spawn().expect("the binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let collected = stderr.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                collected
                    .lock()
                    .expect("nobody panics with the lock")
                    .extend([line.as_str(), "\n"]);
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let first = within("the first line on stdout", lines.next_line())
            .await
            .expect("stdout can be read")
            .unwrap_or_else(|| panic!("the server does not listen: {}", read(&stderr)));
        let address = first
            .strip_prefix("chatroom listening on http://")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("not the promised first line: {first}"));
        // Read on, so that the server never writes to a closed pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Process {
            child,
            address,
            stderr,
        }
    }

    /// Runs the binary to its end, for options that it refuses and those that only print.
    pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let output = within("the binary's end", command(arguments, environment).output())
            .await
            .expect("the binary starts");
        Ended {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the process was not waited for yet")
    }

    /// What the server has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Sends a signal by its name: `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    pub(crate) async fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .await
            .expect("the program kill is there");
        assert!(sent.success(), "kill -{name} failed");
    }

    /// Waits for the end.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        within("the server's exit", self.child.wait())
            .await
            .expect("a child can be waited for")
    }

    /// Ends the server as a power cut would, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.signal("KILL").await;
        self.exited().await;
    }

    /// Ends the server in good order, and says how it exited.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.exited().await
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process is alive");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.expect("Linux tells the resident memory") * 1024
    }

    /// How many file descriptors are open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the process is alive")
            .count()
    }
}

fn read(text: &Mutex<String>) -> String {
    text.lock().expect("nobody panics with the lock").clone()
}

/// The binary, ready to start, deaf to the options in the environment of the test.
pub(crate) fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatroom"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHATROOM_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A folder of its own for one test, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "it-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("the target folder can be written");
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path as an argument.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().expect("the target folder's path is UTF-8")
    }

    /// Writes a file in the folder, and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("the folder can be written");
        path.to_str().expect("the path is UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is removed with the target folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A request as bytes, made of parts that a test chooses.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Request {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            host: Some("localhost".to_owned()),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// A message as plain text.
    pub(crate) fn post_text(target: &str, text: impl AsRef<[u8]>) -> Request {
        Request::new("POST", target)
            .header("Content-Type", "text/plain")
            .body(text)
    }

    /// A message as JSON.
    pub(crate) fn post_json(target: &str, json: &Value) -> Request {
        Request::new("POST", target)
            .header("Content-Type", "application/json")
            .body(json.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The cookie of a session, as a browser sends it back.
    pub(crate) fn session(self, session: &str) -> Request {
        self.header("Cookie", format!("chatroom-session={session}"))
    }

    pub(crate) fn host(mut self, host: &str) -> Request {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn without_host(mut self) -> Request {
        self.host = None;
        self
    }

    /// A body with its length announced, unless a header says otherwise.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if let Some(host) = &self.host {
            bytes.extend(format!("Host: {host}\r\n").bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let framed = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if let Some(body) = self.body.as_ref().filter(|_| !framed) {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the headers as they came.
    pub(crate) head: String,
    /// Names in small letters, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    fn parse(head: &[u8]) -> Response {
        let head = String::from_utf8(head.to_vec()).expect("a head is ASCII");
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|line| line.get(2..5)?.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {head}"));
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Response {
            status,
            head,
            headers,
            body: Vec::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.head, self.text()))
    }

    /// The code of a refusal; empty where the answer is none.
    pub(crate) fn code(&self) -> String {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|json| Some(json.get("error")?.as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// The session that the answer brings.
    pub(crate) fn session(&self) -> Option<String> {
        let cookie = self
            .header("set-cookie")?
            .strip_prefix("chatroom-session=")?;
        cookie.split(';').next().map(str::to_owned)
    }

    /// Checks status and code at once, so that a failure shows the whole answer.
    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Response {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{}\n{}",
            self.head,
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

/// A connection, which may carry several requests.
pub(crate) struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let socket = within("connecting", TcpStream::connect(address))
            .await
            .expect("the server accepts");
        socket.set_nodelay(true).expect("a socket can be told so");
        Client {
            socket,
            unread: Vec::new(),
        }
    }

    /// A connection whose kernel holds few bytes that it has not read: for clients that stall.
    pub(crate) async fn connect_narrow(address: SocketAddr, receive_bytes: u32) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(receive_bytes)
            .expect("the kernel takes the wish");
        let socket = within("connecting", socket.connect(address))
            .await
            .expect("the server accepts");
        Client {
            socket,
            unread: Vec::new(),
        }
    }

    /// The socket itself, for what no other method does.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("sending", self.socket.write_all(bytes))
            .await
            .expect("the server takes what is sent");
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        self.send(&request.to_bytes()).await;
        self.response(request.method()).await
    }

    /// Reads one whole answer to a request of that method.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        let mut response = self
            .head()
            .await
            .unwrap_or_else(|| panic!("the connection ended before an answer"));
        if method == "HEAD" || response.status == 204 || response.status == 304 {
            return response;
        }
        let length = response
            .header("content-length")
            .map(|length| length.parse().expect("a length is a number"));
        response.body = match length {
            Some(length) => self.take(length).await,
            None if response.header("transfer-encoding") == Some("chunked") => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk().await {
                    body.extend(chunk);
                }
                body
            }
            None => self.rest().await,
        };
        response
    }

    /// Reads status line and headers; `None` where the connection ended before any byte.
    pub(crate) async fn head(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                assert!(
                    self.unread.is_empty(),
                    "the answer broke off: {}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        Some(Response::parse(&head[..end]))
    }

    /// Reads one chunk of a chunked body; `None` at the body's end, or where it breaks off.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                break end;
            }
            if !self.fill().await {
                return None;
            }
        };
        let size = std::str::from_utf8(&self.unread[..line]).expect("a chunk's size is ASCII");
        let size = usize::from_str_radix(size, 16).expect("a chunk's size is hexadecimal");
        let whole = line + 2 + size + 2;
        while self.unread.len() < whole {
            if !self.fill().await {
                return None;
            }
        }
        let chunk = self.unread[line + 2..line + 2 + size].to_vec();
        self.unread.drain(..whole);
        (size > 0).then_some(chunk)
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill().await, "the body broke off");
        }
        self.unread.drain(..length).collect()
    }

    /// Reads what has come; false at the end of the connection, however it came.
    async fn fill(&mut self) -> bool {
        let read = within("an answer", self.socket.read_buf(&mut self.unread)).await;
        read.is_ok_and(|count| count > 0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Asks on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: Request) -> Response {
    Client::connect(address).await.ask(&request).await
}

pub(crate) async fn get(address: SocketAddr, target: &str) -> Response {
    ask(address, Request::get(target)).await
}

/// Posts a text, and expects it to be taken. The answer's JSON is the message.
#[track_caller]
pub(crate) fn say(
    address: SocketAddr,
    room: &str,
    name: &str,
    text: &str,
) -> impl Future<Output = Value> {
    let request = Request::post_text(&format!("/chat/{room}?name={}", encode(name)), text);
    async move { ask(address, request).await.expect(201, "").json() }
}

/// Percent-encodes all but the plainest characters.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// One event, as it came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) retry: Option<u64>,
    /// All its bytes, with the blank line.
    pub(crate) raw: String,
}

impl Event {
    fn parse(raw: &str) -> Event {
        let mut event = Event {
            raw: raw.to_owned(),
            ..Event::default()
        };
        assert!(!raw.contains('\r'), "a CR would end a line: {raw:?}");
        for line in raw.trim_end_matches('\n').split('\n') {
            let (field, value) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("not a field: {line:?}"));
            match field {
                "id" => assert_eq!(event.id.replace(value.to_owned()), None, "{raw:?}"),
                "retry" => event.retry = Some(value.parse().expect("retry is a number")),
                "event" => event.event.push_str(value),
                "data" => event.data.push_str(value),
                _ => panic!("an unknown field: {line:?}"),
            }
        }
        event
    }

    /// The data, which is always an object.
    pub(crate) fn json(&self) -> Value {
        let json: Value = serde_json::from_str(&self.data).expect("data is JSON");
        assert!(json.is_object(), "{json}");
        json
    }

    /// The text of a message.
    pub(crate) fn text(&self) -> String {
        self.json()["text"]
            .as_str()
            .expect("a message has a text")
            .to_owned()
    }

    pub(crate) fn is(&self, event: &str) -> bool {
        self.event == event
    }
}

/// The reader of a stream. Dropping it closes the connection.
pub(crate) struct EventStream {
    client: Client,
    /// The answer's status and headers.
    pub(crate) head: Response,
    undecoded: Vec<u8>,
    events: VecDeque<Event>,
    ended_cleanly: bool,
}

impl EventStream {
    /// Opens a stream, which must succeed.
    pub(crate) async fn open(address: SocketAddr, target: &str) -> EventStream {
        EventStream::request(address, Request::get(target)).await
    }

    /// Opens a stream by a request of the test's own, which must succeed.
    pub(crate) async fn request(address: SocketAddr, request: Request) -> EventStream {
        match EventStream::attempt(address, request).await {
            Ok(stream) => stream,
            Err(refused) => panic!("no stream: {}\n{}", refused.head, refused.text()),
        }
    }

    /// Opens a stream, or gives the refusal.
    pub(crate) async fn attempt(
        address: SocketAddr,
        request: Request,
    ) -> Result<EventStream, Response> {
        EventStream::over(Client::connect(address).await, request).await
    }

    /// Opens a stream over a connection that is there.
    pub(crate) async fn over(
        mut client: Client,
        request: Request,
    ) -> Result<EventStream, Response> {
        client.send(&request.to_bytes()).await;
        let mut head = client.head().await.expect("an answer comes");
        if head.status != 200 {
            let length = head
                .header("content-length")
                .map_or(0, |length| length.parse().expect("a length is a number"));
            head.body = client.take(length).await;
            return Err(head);
        }
        Ok(EventStream {
            client,
            head,
            undecoded: Vec::new(),
            events: VecDeque::new(),
            ended_cleanly: false,
        })
    }

    /// The session that the stream brought.
    pub(crate) fn session(&self) -> String {
        self.head.session().expect("the stream brings a session")
    }

    /// The connection under the stream.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The next event of any kind; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            match self.client.chunk().await {
                Some(chunk) => self.decode(&chunk),
                None => {
                    self.ended_cleanly = self.client.unread.is_empty() && self.undecoded.is_empty();
                    return None;
                }
            }
        }
    }

    fn decode(&mut self, chunk: &[u8]) {
        self.undecoded.extend(chunk);
        while let Some(end) = find(&self.undecoded, b"\n\n") {
            let raw: Vec<u8> = self.undecoded.drain(..end + 2).collect();
            let raw = std::str::from_utf8(&raw).expect("a stream is UTF-8");
            self.events.push_back(Event::parse(raw));
        }
    }

    /// Whether the stream has ended between two events.
    pub(crate) fn ended_cleanly(&self) -> bool {
        self.ended_cleanly
    }

    /// The next event, which must come.
    pub(crate) async fn event(&mut self) -> Event {
        self.next().await.expect("the stream goes on with an event")
    }

    /// Reads on up to and with the next event of that name.
    pub(crate) async fn until(&mut self, event: &str) -> Event {
        loop {
            let next = self.event().await;
            if next.is(event) {
                return next;
            }
        }
    }

    /// The next message, whatever comes before it.
    pub(crate) async fn message(&mut self) -> Event {
        self.until("new-message").await
    }

    /// The texts of the next so many messages.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        while texts.len() < count {
            texts.push(self.message().await.text());
        }
        texts
    }
}
