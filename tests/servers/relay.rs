//! A TCP relay between the servers and Redis that can be cut, frozen, or led elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Line {
    Leads(SocketAddr),
    /// What Redis says takes so long.
    Late(SocketAddr, Duration),
    /// Connections are open, and nothing comes through: as behind a firewall that forgot them.
    Silent,
}

pub(crate) struct Relay {
    address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let line = Arc::new(watch::Sender::new(Line::Leads(target)));
        let lines = line.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, lines.subscribe()));
            }
        });
        Relay {
            address,
            line,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    #[cfg(feature = "redis-tls")]
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the line: connections are cut, or go silent.
    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut client: TcpStream, mut line: watch::Receiver<Line>) {
    let now = *line.borrow_and_update();
    let (target, delay) = match now {
        Line::Leads(target) => (target, Duration::ZERO),
        Line::Late(target, delay) => (target, delay),
        Line::Silent => {
            // As long as the client cares to wait.
            let _ = client.readable().await;
            return std::future::pending().await;
        }
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        () = carry(&mut client, &mut server, delay) => {}
        _ = line.changed() => {
            if *line.borrow() == Line::Silent {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Carries what both sides say, until one of them ends.
async fn carry(client: &mut TcpStream, server: &mut TcpStream, delay: Duration) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (queue, mut waiting) = mpsc::unbounded_channel();
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        () = async {
            let mut piece = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from_server.read(&mut piece).await {
                let _ = queue.send((Instant::now() + delay, piece[..length].to_vec()));
            }
        } => {}
        () = async {
            while let Some((due, piece)) = waiting.recv().await {
                sleep_until(due).await;
                if to_client.write_all(&piece).await.is_err() {
                    return;
                }
            }
        } => {}
    }
}
