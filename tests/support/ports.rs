//! Ports that no other test gets in between. The wire and process tests share it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

/// How far the search for free ports has come: a port is given to one test only.
static SEARCHED: AtomicU16 = AtomicU16::new(0);

/// Free ports, for servers that do not say which one they have got. The system gives them to no connection, and to no listener
/// by itself; each test process begins somewhere else.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let first = 10_000 + u16::try_from(std::process::id() % 15_000).unwrap();
    let port = || first + SEARCHED.fetch_add(1, Ordering::Relaxed);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut free = std::iter::repeat_with(port).filter(is_free);
    [(); N].map(|()| free.next().unwrap())
}

/// An address that refuses connections as long as the socket lives: it is bound, so that no other test gets the port, and never
/// listens.
pub(crate) fn refusing_address() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}
