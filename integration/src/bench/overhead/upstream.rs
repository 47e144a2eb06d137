//! The upstream behind the Envoys that are measured: answers at the least cost there can be, always
//! the same, on a thread of its own. It understands no more of HTTP/1.1 than where a request ends and
//! which answer its path asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::workload::{BARE_PATH, BIG_PATH, GRPC_PATH, MODEL_PATH, STREAM_PATH};

const BIG: usize = 300_000;
const MODEL: usize = 1_000;
const SMALL: usize = 64;
/// How many events a stream has, its end marker included.
const EVENTS: usize = 100;
/// Between two events of a stream, so that Envoy sees each one alone.
const PACE: Duration = Duration::from_millis(1);

/// A running upstream; it ends with the process.
pub(super) struct BenchUpstream {
    at: SocketAddr,
    answered: Arc<AtomicU64>,
}

impl BenchUpstream {
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }

    /// How many answers it has sent, or of streams, how many events.
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
    let answers = Arc::new(UpstreamAnswers::new());
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _best_effort = stream.set_nodelay(true);
        tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&answered)));
    }
}

/// The answers, each made once: what is written at once, by the path that asks for it.
struct UpstreamAnswers(Vec<(&'static str, Vec<Vec<u8>>)>);

impl UpstreamAnswers {
    fn new() -> Self {
        let json = "application/json";
        Self(vec![
            (BIG_PATH, vec![sized("text/plain", BIG)]),
            (BARE_PATH, vec![sized("text/plain", 0)]),
            (MODEL_PATH, vec![sized(json, MODEL)]),
            (STREAM_PATH, stream()),
            (GRPC_PATH, vec![grpc()]),
            ("/", vec![sized("text/plain", SMALL)]),
        ])
    }

    fn to(&self, request: &[u8]) -> &[Vec<u8>] {
        let path = request.splitn(3, |byte| *byte == b' ').nth(1).unwrap_or(b"/");
        let answer = self.0.iter().find(|(begins, _)| path.starts_with(begins.as_bytes()));
        answer.map_or(&[], |(_, parts)| parts)
    }
}

fn sized(content: &str, size: usize) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content}\r\ncontent-length: {size}\r\n\r\n");
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + size, b'x');
    answer
}

/// A stream of events as a model server sends them, an event a part.
fn stream() -> Vec<Vec<u8>> {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let event = |number: usize| {
        let reason = if number + 2 == EVENTS { "\"stop\"" } else { "null" };
        chunk(&format!(
            "data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"token {number} \"}},\
             \"finish_reason\":{reason}}}]}}\n\n"
        ))
    };
    let mut parts: Vec<String> = (0..EVENTS - 1).map(event).collect();
    parts.push(chunk("data: [DONE]\n\n") + "0\r\n\r\n");
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    parts[0].insert_str(0, head);
    parts.into_iter().map(String::into_bytes).collect()
}

/// A gRPC message with its status in trailers, as Envoy's HTTP/1.1 client takes them.
fn grpc() -> Vec<u8> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut answer = head.as_bytes().to_vec();
    answer.extend(b"a\r\n\0\0\0\0\x05\x0a\x03abc\r\n0\r\ngrpc-status: 0\r\n\r\n");
    answer
}

async fn serve(mut stream: TcpStream, answers: Arc<UpstreamAnswers>, answered: Arc<AtomicU64>) {
    let (mut buffer, mut filled) = (vec![0; 16 * 1024], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
        filled += read;
        // Envoy has one request at a time on a connection.
        if !is_whole(&buffer[..filled]) {
            continue;
        }
        let parts = answers.to(&buffer[..filled]);
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                sleep(PACE).await;
            }
            if stream.write_all(part).await.is_err() {
                return;
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        filled = 0;
    }
}

/// Whether all of a request has come. Envoy writes header names in lower case.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = request.split_at(head + 4);
    let head = String::from_utf8_lossy(head);
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}
