//! An answer said step by step, so that a test decides where it stops, how it breaks and what its
//! chunks are: everything that a library which speaks HTTP correctly wouldn't send.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::Semaphore;

/// A point that an answer waits at until the test lets it go on.
#[derive(Clone, Debug)]
pub struct Latch(Arc<Semaphore>);

impl Default for Latch {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Latch {
    /// Lets one answer pass: one that waits, or the next one that comes.
    pub fn open(&self) {
        self.0.add_permits(1);
    }

    pub(super) async fn passed(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// One step of an answer. Each one is a write of its own.
#[derive(Clone, Debug)]
pub(super) enum RawStep {
    Head,
    /// A chunk, a DATA frame, or bare bytes below a Content-Length.
    Data(Bytes),
    Pause(Duration),
    Wait(Latch),
    /// The last chunk or an empty DATA frame that ends the stream.
    End,
    Trailers(Vec<(String, String)>),
    /// Closes the connection with a FIN.
    Close,
    /// A TCP reset. Envoy loses what it hasn't read by then.
    Reset,
    /// `RST_STREAM` with this error code; HTTP/1.1 has no streams and closes the connection.
    ResetStream(u32),
    /// `GOAWAY` that says that this request wasn't processed, and a FIN.
    GoAway,
    /// What isn't HTTP: a chunk without a length, a SETTINGS frame of five bytes.
    Garbage,
    Hang,
}

/// An answer with a status and headers, said step by step, by HTTP/1.1 or HTTP/2 as it was asked.
///
/// Unless a `content-length` is given, an HTTP/1.1 answer is chunked. An answer whose last step
/// doesn't end or break it hangs. An HTTP/1.1 connection is closed after the answer.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) steps: Vec<RawStep>,
}

impl RawAnswer {
    /// Begins with the headers of this status.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), steps: vec![RawStep::Head] }
    }

    /// Begins with nothing: the first step comes before any header, and `head` sends them.
    #[must_use]
    pub fn headless(status: u16) -> Self {
        Self { status, headers: Vec::new(), steps: Vec::new() }
    }

    /// 200 with the body of a gRPC answer's one empty message; the trailers are up to the caller.
    #[must_use]
    pub fn grpc() -> Self {
        Self::new(200).header("content-type", "application/grpc").data(&[0; 5][..])
    }

    /// Server-sent events. Each of these texts is a chunk by itself, with `gap` between two of
    /// them, whether or not it is a whole event. It goes on until the caller ends or breaks it.
    #[must_use]
    pub fn events(chunks: &[&str], gap: Duration) -> Self {
        let mut answer = Self::new(200).header("content-type", "text/event-stream");
        for (at, chunk) in chunks.iter().enumerate() {
            if at > 0 && !gap.is_zero() {
                answer = answer.pause(gap);
            }
            answer = answer.data(chunk.as_bytes().to_vec());
        }
        answer
    }

    /// One more header, wherever in the chain of calls it's given.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Promises a body of this length. HTTP/1.1 then sends no chunks.
    #[must_use]
    pub fn length(self, bytes: usize) -> Self {
        self.header("content-length", &bytes.to_string())
    }

    /// Sends the headers now; see [`RawAnswer::headless`].
    #[must_use]
    pub fn head(self) -> Self {
        self.step(RawStep::Head)
    }

    /// A piece of the body: one chunk, or one DATA frame (16 KiB at most).
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Self {
        self.step(RawStep::Data(data.into()))
    }

    /// Time in which nothing is sent.
    #[must_use]
    pub fn pause(self, pause: Duration) -> Self {
        self.step(RawStep::Pause(pause))
    }

    /// Waits here until the test opens the latch.
    #[must_use]
    pub fn wait(self, latch: &Latch) -> Self {
        self.step(RawStep::Wait(latch.clone()))
    }

    /// Ends as the protocol requires.
    #[must_use]
    pub fn end(self) -> Self {
        self.step(RawStep::End)
    }

    /// Ends with these trailers.
    #[must_use]
    pub fn trailers(self, trailers: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.step(RawStep::Trailers(trailers.iter().map(owned).collect()))
    }

    /// Closes the connection with a FIN.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(RawStep::Close)
    }

    /// Breaks the connection with a TCP reset. What was sent before may get lost: let the client
    /// have it first, by a [`Latch`] or a pause.
    #[must_use]
    pub fn reset(self) -> Self {
        self.step(RawStep::Reset)
    }

    /// Resets the HTTP/2 stream with this error code; HTTP/1.1 closes the connection.
    #[must_use]
    pub fn reset_stream(self, code: u32) -> Self {
        self.step(RawStep::ResetStream(code))
    }

    /// By HTTP/2, a GOAWAY that leaves this request out; then the connection is closed.
    #[must_use]
    pub fn go_away(self) -> Self {
        self.step(RawStep::GoAway)
    }

    /// Sends what isn't HTTP, and hangs: it's Envoy that gives up.
    #[must_use]
    pub fn garbage(self) -> Self {
        self.step(RawStep::Garbage).hang()
    }

    /// Sends nothing more, and leaves the connection open.
    #[must_use]
    pub fn hang(self) -> Self {
        self.step(RawStep::Hang)
    }

    /// Whether a header of this name was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    fn step(mut self, step: RawStep) -> Self {
        self.steps.push(step);
        self
    }
}
