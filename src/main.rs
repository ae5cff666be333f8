//! The program: options → listener → serve → exit code.
//!
//! Exit codes: 0 after a shutdown in good order, 1 where the server cannot start or `--check` finds
//! it unwell, 2 for a bad option.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use chatroom::cli::{self, Command, Options};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long `--check` waits for each step of its question.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let result = match cli::parse(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
        Err(error) => {
            eprintln!("chatroom: {error}");
            return ExitCode::from(2);
        }
        Ok(Command::Print(text)) => io::stdout().write_all(text.as_bytes()),
        Ok(Command::Check(address)) => check(address),
        Ok(Command::Serve(options)) => run(*options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chatroom: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> io::Result<()> {
    for warning in &options.warnings {
        cli::warn(warning);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listen = options.listen;
        let listener = chatroom::bind(listen).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
        })?;
        let chat = options.chat.build()?;
        let signals = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        writeln!(
            io::stdout(),
            "chatroom listening on http://{}",
            listener.local_addr()?
        )?;
        // Accepting runs on this thread and connections on the runtime's workers, so that a crowd that
        // comes back at once is let in as fast as it comes.
        chatroom::serve(listener, chat, first(signals)).await;
        Ok(())
    })
}

/// Waits for the first signal; the second then ends the program at once.
async fn first((mut interrupt, mut terminate): (Signal, Signal)) {
    either(&mut interrupt, &mut terminate).await;
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        std::process::exit(1);
    });
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    std::future::poll_fn(|cx| {
        if interrupt.poll_recv(cx).is_ready() {
            std::task::Poll::Ready(())
        } else {
            terminate.poll_recv(cx).map(drop)
        }
    })
    .await;
}

/// Asks the server for its health, for containers without another program that could.
fn check(listen: SocketAddr) -> io::Result<()> {
    let mut address = listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    let failed = |error: io::Error| {
        io::Error::new(error.kind(), format!("no answer from {address}: {error}"))
    };
    let mut stream = TcpStream::connect_timeout(&address, CHECK_TIMEOUT).map_err(failed)?;
    stream.set_read_timeout(Some(CHECK_TIMEOUT))?;
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .map_err(failed)?;
    let mut status = [0; "HTTP/1.0 200".len()];
    stream.read_exact(&mut status).map_err(failed)?;
    if status.ends_with(b" 200") {
        Ok(())
    } else {
        Err(io::Error::other(format!("{address} is not well")))
    }
}
