//! A TCP relay between the servers and Redis that can be cut, frozen, or led elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Line {
    Leads(SocketAddr),
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
    let Line::Leads(target) = now else {
        // Until the line is good again, and then as long as the client cares to wait.
        let _ = client.readable().await;
        std::future::pending::<()>().await;
        return;
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = line.changed() => {
            if *line.borrow() == Line::Silent {
                std::future::pending::<()>().await;
            }
        }
    }
}
