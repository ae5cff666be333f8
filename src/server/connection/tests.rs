use std::future::poll_fn;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::http::departure::Departure;
use crate::server::connections::Connections;

/// A socket as the server has it, and the client at its other end.
async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).await.expect("it listens");
    let (stream, peer) = listener.accept().await.expect("the client is there");
    let chat = Chat::builder().build().expect("the defaults are good");
    let connections = Arc::new(Connections::new(chat));
    let socket = Socket {
        io: TokioIo::new(stream),
        registration: connections.register(peer).expect("it is the first"),
        blocked: None,
        input: Input::Unknown,
    };
    (socket, client)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future)
        .await
        .expect("it comes to an end")
}

/// Spends a task's budget up to a rest, and says how much that was.
fn spend(cx: &mut Context<'_>, most: usize) -> usize {
    let mut spent = 0;
    while spent < most
        && let Poll::Ready(unit) = coop::poll_proceed(cx)
    {
        unit.made_progress();
        spent += 1;
    }
    spent
}

/// With one unit of budget left, tokio finds that there is nothing to read, and then returns pending
/// without leaving a waker. A client that leaves after that has to be noticed all the same.
#[tokio::test]
async fn a_departure_is_noticed_though_the_socket_was_asked_with_the_last_of_the_budget() {
    let (mut socket, client) = pair().await;
    let (mut head, ()) = Request::new(()).into_parts();
    head.extensions
        .insert(socket.registration.departure.clone());
    Departure::ends_answer_to(&head);
    let (asked, waits) = tokio::sync::oneshot::channel();
    let mut asked = Some(asked);
    let mut budget = None;
    let mut polls = 0;
    let watching = tokio::spawn(poll_fn(move |cx| {
        polls += 1;
        match budget {
            // The task is woken at once, with a new budget.
            None => {
                budget = Some(spend(cx, usize::MAX));
                return Poll::Pending;
            }
            Some(whole) if polls == 2 => {
                spend(cx, whole - 1);
            }
            Some(_) => drop(asked.take().map(|asked| asked.send(()))),
        }
        match Pin::new(&mut socket).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
            _ => Poll::Pending,
        }
    }));
    within(waits).await.expect("it is asked again");
    drop(client);
    let noticed = within(watching).await.expect("no panic");
    assert_eq!(noticed, io::ErrorKind::UnexpectedEof);
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
