//! Ports for servers that take none of their own choosing, and one that refuses connections.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};
use tokio::net::TcpSocket;

/// Below the ports that the system gives to whoever asks for any: nobody else is given one of these between the choice and
/// the server's start.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Returns a port of 127.0.0.1 that nobody listens on, for a server that is told its port. No two calls return the same one, and
/// test processes that run beside each other begin at different places.
pub(crate) fn port_to_give() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id().wrapping_mul(101) % u32::from(COUNT)).unwrap();
    loop {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A port that is taken, and that nobody listens on: no other test's server gets it while this lives.
pub(crate) struct ClosedPort(TcpSocket);

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}
