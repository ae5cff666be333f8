use std::future::poll_fn;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::server::connections::Connections;

/// A socket as the server has it, and the client at its other end.
async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).await.expect("it listens");
    let (stream, peer) = listener.accept().await.expect("the client is there");
    let chat = Chat::open(Default::default()).expect("the defaults are good");
    let connections = Arc::new(Connections::new(chat, protocol()));
    let place = connections.place().await;
    let registration = connections.register(peer, place);
    let socket = Socket {
        io: TokioIo::new(stream),
        registration: registration.expect("it is the first"),
        blocked: None,
    };
    (socket, client)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future)
        .await
        .expect("it comes to an end")
}

#[tokio::test]
async fn a_long_write_takes_the_beginning_of_its_pieces() {
    let (mut socket, mut client) = pair().await;
    let (first, second) = ([1; 1_000], vec![2; 2 * WRITE_BYTES]);
    let pieces = [IoSlice::new(&first), IoSlice::new(&second)];
    let write = poll_fn(|cx| Pin::new(&mut socket).poll_write_vectored(cx, &pieces));
    let written = within(write).await.expect("there is room");
    assert!((first.len()..=WRITE_BYTES).contains(&written), "{written}");
    let mut read = vec![0; written];
    within(client.read_exact(&mut read))
        .await
        .expect("it is sent");
    let (ones, twos) = read.split_at(first.len());
    assert!(ones == first && twos.iter().all(|byte| *byte == 2));
}

#[test]
fn the_kernels_timeout_is_not_ours() {
    const ETIMEDOUT: i32 = 110;
    let kernel = io::Error::from_raw_os_error(ETIMEDOUT);
    assert_eq!(kernel.kind(), io::ErrorKind::TimedOut);
    assert!(!is_write_timeout(&kernel));
    assert!(is_write_timeout(&io::Error::from(io::ErrorKind::TimedOut)));
}
