//! Raw answers as bytes: HTTP/1.1 with chunks or a length, and HTTP/2 frame by frame.

use std::io;

use hyper::Version;

use super::connection::UpstreamConnection;
use super::raw::{RawAnswer, RawStep};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Whom an answer goes to.
pub(super) struct RawTarget<'a> {
    pub(super) connection: &'a UpstreamConnection,
    pub(super) version: Version,
    /// The HTTP/2 stream of the request.
    pub(super) stream: u32,
}

impl RawTarget<'_> {
    /// Says the answer. It comes back only with an error: after the last step hyper mustn't answer.
    pub(super) async fn say(&self, answer: &RawAnswer) -> io::Result<()> {
        for step in &answer.steps {
            match step {
                RawStep::Pause(pause) => tokio::time::sleep(*pause).await,
                RawStep::Wait(latch) => latch.passed().await,
                RawStep::Hang => break,
                RawStep::Close => self.connection.end(false),
                RawStep::Reset => self.connection.end(true),
                step if self.version == Version::HTTP_2 => {
                    self.connection.write(&self.http2(answer, step)).await?;
                    if matches!(step, RawStep::GoAway) {
                        self.connection.end(false);
                    }
                }
                step => {
                    self.connection.write(&http1(answer, step)).await?;
                    if ends_http1(step) {
                        self.connection.end(false);
                    }
                }
            }
        }
        std::future::pending().await
    }

    fn http2(&self, answer: &RawAnswer, step: &RawStep) -> Vec<u8> {
        match step {
            RawStep::Head => {
                // `:status` is number 8 of HPACK's static table.
                let mut block = vec![8];
                literal(&mut block, &answer.status.to_string());
                self.frame(HEADERS, END_HEADERS, &[block, fields(&answer.headers)].concat())
            }
            RawStep::Data(data) => self.frame(DATA, 0, data),
            RawStep::End => self.frame(DATA, END_STREAM, &[]),
            RawStep::Trailers(trailers) => {
                self.frame(HEADERS, END_HEADERS | END_STREAM, &fields(trailers))
            }
            RawStep::ResetStream(code) => self.frame(RST_STREAM, 0, &code.to_be_bytes()),
            RawStep::GoAway => frame(GOAWAY, 0, 0, &[0; 8]),
            RawStep::Garbage => frame(SETTINGS, 0, 0, &[0; 5]),
            _ => Vec::new(),
        }
    }

    fn frame(&self, kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        frame(kind, flags, self.stream, payload)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields as HPACK literals that nothing remembers, so hyper's own table stays right.
fn fields(headers: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    block
}

fn literal(block: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
    block.push(length.expect("a header shorter than 127 bytes"));
    block.extend_from_slice(text.as_bytes());
}

fn http1(answer: &RawAnswer, step: &RawStep) -> Vec<u8> {
    let chunked = !answer.has("content-length");
    let lines = |headers: &[(String, String)]| -> String {
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    };
    match step {
        RawStep::Head => {
            let framing = if chunked { "transfer-encoding: chunked\r\n" } else { "" };
            let (status, headers) = (answer.status, lines(&answer.headers));
            format!("HTTP/1.1 {status} raw\r\nconnection: close\r\n{framing}{headers}\r\n")
                .into_bytes()
        }
        RawStep::Data(data) if chunked => {
            [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
        }
        RawStep::Data(data) => data.to_vec(),
        RawStep::End if chunked => b"0\r\n\r\n".to_vec(),
        RawStep::Trailers(trailers) if chunked => {
            format!("0\r\n{}\r\n", lines(trailers)).into_bytes()
        }
        RawStep::Garbage => b"no length\r\n".to_vec(),
        _ => Vec::new(),
    }
}

/// After its end an answer's connection is closed, as its `connection: close` said; without streams
/// there is nothing else to reset.
fn ends_http1(step: &RawStep) -> bool {
    matches!(step, RawStep::End | RawStep::Trailers(_) | RawStep::ResetStream(_) | RawStep::GoAway)
}
