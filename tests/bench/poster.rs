//! Posts messages over keep-alive connections, one request at a time on each.

use crate::Fallible;
use crate::listener::{dial, write_all};
use crate::server::Target;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Source address index of the posting connections, apart from all listeners' addresses.
const POSTER_INDEX: usize = usize::MAX;

/// A few connections that take turns.
pub(crate) struct Poster {
    target: Arc<Target>,
    run: u32,
    connections: Vec<Connection>,
}

#[derive(Default)]
struct Connection {
    /// Opened for the first message: a server cuts who says nothing while a large audience gathers.
    stream: Option<TcpStream>,
    /// What came of the answer so far; none where no answer is awaited.
    answer: Option<Vec<u8>>,
}

impl Poster {
    pub(crate) fn new(target: &Arc<Target>, run: u32, connections: usize) -> Self {
        Self {
            target: Arc::clone(target),
            run,
            connections: std::iter::repeat_with(Connection::default)
                .take(connections)
                .collect(),
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.connections
            .iter()
            .any(|connection| connection.answer.is_none())
    }

    /// Posts `text` over a connection that is free; the caller has asked `is_free`.
    pub(crate) async fn post(&mut self, path: &str, text: &str) -> Fallible<()> {
        let body = serde_json::json!({ "name": "bench", "text": text }).to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.target.authority,
            body.len()
        );
        let mut connections = self.connections.iter_mut();
        let free = connections.find(|connection| connection.answer.is_none());
        let connection = free.ok_or("all posting connections wait for an answer")?;
        let stream = match &connection.stream {
            Some(stream) => stream,
            None => {
                let stream = dial(&self.target, self.run, POSTER_INDEX, None).await?;
                connection.stream.insert(stream)
            }
        };
        write_all(stream, request.as_bytes()).await?;
        connection.answer = Some(Vec::new());
        Ok(())
    }

    /// Takes what has come of the answers, and gives the bodies of those that are whole.
    pub(crate) fn answers(&mut self) -> Fallible<Vec<String>> {
        let mut bodies = Vec::new();
        for connection in &mut self.connections {
            let (Some(stream), Some(answer)) = (&connection.stream, &mut connection.answer) else {
                continue;
            };
            let mut chunk = [0; 8192];
            match stream.try_read(&mut chunk) {
                Ok(0) => return Err("the server closed a posting connection".into()),
                Ok(length) => answer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some(body) = whole_body(answer)? {
                bodies.push(body);
                connection.answer = None;
            }
        }
        Ok(bodies)
    }
}

/// The body of an answer once all of it is there; an error for any status but 2xx.
fn whole_body(answer: &[u8]) -> Fallible<Option<String>> {
    let answer = String::from_utf8_lossy(answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    if !head.starts_with("HTTP/1.1 2") {
        return Err(format!("a message was refused: {answer}").into());
    }
    let mut lengths = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let length: Option<usize> = lengths.next_back();
    let whole = length.is_none_or(|length| body.len() >= length);
    Ok(whole.then(|| body.to_owned()))
}
