//! Ports on 127.0.0.1 for servers that take any.

use std::{net::TcpListener, ops::Range};

/// Below the range from which the kernel takes ports for outgoing connections: a client that knocks while the server is
/// down could otherwise be given the server's own port, and would then be talking to itself.
const PORTS: Range<u16> = 20_000..30_000;
/// How many ports to try where any will do.
pub(super) const PORT_ATTEMPTS: u32 = 20;

/// Whether nobody listens on a port of 127.0.0.1 at the moment.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A port that nobody listens on at the moment, as far as a few tries find one.
pub(super) fn free_port() -> u16 {
    let any = || rand::random_range(PORTS);
    (0..PORT_ATTEMPTS)
        .map(|_| any())
        .find(|&port| is_free(port))
        .unwrap_or_else(any)
}
