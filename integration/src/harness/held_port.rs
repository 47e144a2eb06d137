//! Ports that stay ours while nobody listens on them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Any port of the loopback interface that is free.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A port that nobody else is given while it isn't listened on: a socket that is bound and never listens
/// keeps it. Connections are refused meanwhile. Servers that set SO_REUSEADDR, as nearly all do, can have it.
#[derive(Debug)]
pub(crate) struct HeldPort {
    at: SocketAddr,
    _holder: TcpSocket,
}

impl HeldPort {
    /// Holds this port, or any if it is 0.
    ///
    /// # Panics
    /// When somebody listens there.
    pub(crate) fn new(at: SocketAddr) -> Self {
        let holder = bound(at);
        Self { at: holder.local_addr().expect("a bound socket has an address"), _holder: holder }
    }

    /// Its address, with the number that it got.
    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Listens on it until the listener is dropped.
    ///
    /// # Panics
    /// When somebody listens there already.
    pub(crate) fn listen(&self, backlog: u32) -> TcpListener {
        let listening = bound(self.at).listen(backlog);
        listening.unwrap_or_else(|error| panic!("can't listen on {}: {error}", self.at))
    }
}

fn bound(at: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR");
    socket.bind(at).unwrap_or_else(|error| panic!("can't have {at}: {error}"));
    socket
}

/// A TCP port for a server of a test, which nobody else is given as long as this process lives.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> SocketAddr {
    let port = HeldPort::new(ANY_PORT);
    let at = port.at();
    // The server may be a process that ends after the test's own data does.
    std::mem::forget(port);
    at
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn it_can_be_listened_on_again_and_again_and_refuses_meanwhile() {
        let port = HeldPort::new(ANY_PORT);
        for _ in 0..3 {
            assert!(TcpStream::connect(port.at()).await.is_err(), "nobody listens");
            let listener = port.listen(8);
            let _client = TcpStream::connect(port.at()).await.unwrap();
            let (_server, _) = listener.accept().await.unwrap();
        }
    }

    /// If any could be given, two of these would be on average.
    #[tokio::test]
    async fn nobody_else_is_given_it() {
        let held: Vec<HeldPort> = (0..100).map(|_| HeldPort::new(ANY_PORT)).collect();
        let ports: HashSet<SocketAddr> = held.iter().map(HeldPort::at).collect();
        assert_eq!(ports.len(), held.len());
        let others: Vec<TcpSocket> = (0..500).map(|_| bound(ANY_PORT)).collect();
        assert!(others.iter().all(|other| !ports.contains(&other.local_addr().unwrap())));
    }
}
