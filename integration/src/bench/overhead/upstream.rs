//! The upstream behind the Envoys that are measured: answers at the least cost there can be, always
//! the same, on a thread of its own. It understands no more of HTTP than where a request ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// What to ask for for an answer of 300 KB.
pub(super) const BIG_PATH: &str = "/big";
const BIG: usize = 300_000;
const SMALL: usize = 64;

/// A running upstream; it ends with the process.
pub(super) struct BenchUpstream {
    at: SocketAddr,
    answered: Arc<AtomicU64>,
}

impl BenchUpstream {
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }

    /// How many requests it has answered.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Starts the upstream on an ephemeral port.
pub(super) fn start() -> BenchUpstream {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket that doesn't block");
    let at = listener.local_addr().expect("a bound socket has an address");
    let answered = Arc::new(AtomicU64::new(0));
    let upstream = BenchUpstream { at, answered: Arc::clone(&answered) };
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(accept(listener, answered));
    });
    upstream
}

async fn accept(listener: std::net::TcpListener, answered: Arc<AtomicU64>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    let answers: Arc<[Vec<u8>; 2]> = Arc::new([SMALL, BIG].map(answer));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _best_effort = stream.set_nodelay(true);
        tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&answered)));
    }
}

fn answer(size: usize) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n");
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + size, b'x');
    answer
}

async fn serve(mut stream: TcpStream, answers: Arc<[Vec<u8>; 2]>, answered: Arc<AtomicU64>) {
    let (mut buffer, mut filled) = (vec![0; 16 * 1024], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
        filled += read;
        // Envoy has one request at a time on a connection.
        if !buffer[..filled].ends_with(b"\r\n\r\n") {
            continue;
        }
        let big = buffer.get(4..).is_some_and(|path| path.starts_with(BIG_PATH.as_bytes()));
        if stream.write_all(&answers[usize::from(big)]).await.is_err() {
            return;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        filled = 0;
    }
}
