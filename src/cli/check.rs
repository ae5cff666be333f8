//! `--check`, for containers that hold no other program which could ask.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the server that listens at an address for its health.
///
/// # Errors
/// It does not answer, or is not healthy.
pub fn check(mut address: SocketAddr) -> io::Result<()> {
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
    let mut stream = TcpStream::connect_timeout(&address, STEP_TIMEOUT).map_err(failed)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .map_err(failed)?;
    let mut status = [0; "HTTP/1.0 200".len()];
    stream.read_exact(&mut status).map_err(failed)?;
    if status.ends_with(b" 200") {
        Ok(())
    } else {
        Err(io::Error::other(format!("{address} is not healthy")))
    }
}
