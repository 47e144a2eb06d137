//! A response's body as it passes: kept for signals, read as an event stream, or only timed.

use canary_model::config::{Rollout, Source, SseRule};

use crate::events::{Event, EventScanner};
use crate::host::Response;
use crate::json;
use crate::signal::{EventReadings, SignalReading, json_readings};
use crate::sse::{LARGEST_EVENT, StreamFault, StreamState};
use crate::timing::BodyTimer;

/// A response's headers, as far as it depends on them what is read of its body.
#[derive(Clone, Copy, Debug)]
pub struct ResponseStart {
    /// The response's HTTP status.
    pub status: u16,
    /// Whether the response ends with its headers.
    pub ended: bool,
    /// Whether a body to come is an event stream.
    pub event_stream: bool,
    /// Whether signals are to be read: the chosen version answered, and not with a failure.
    pub signals: bool,
    /// When the headers came, by the host's monotonic clock.
    pub now_ns: u64,
    /// A uniformly random number, which picks elements for pointers with `*`.
    pub draw: u64,
}

/// A response's body, as far as the configuration depends on it.
#[derive(Clone, Debug)]
pub struct ResponseBody {
    reader: BodyReader,
    timer: BodyTimer,
    headers_ns: u64,
    /// When the last chunk came.
    chunk_ns: u64,
    began: bool,
    /// The response ended as it should: a body that broke off says nothing to signals.
    complete: bool,
}

/// What is done with a body's bytes.
#[derive(Clone, Debug)]
enum BodyReader {
    /// None of them is read: only the chunks' times matter.
    Timed,
    /// They are kept for signals.
    Json(KeptBody),
    /// They are read as server-sent events.
    Events(EventStream),
}

/// A body that is kept until its end.
#[derive(Clone, Debug)]
struct KeptBody {
    bytes: Vec<u8>,
    /// Compressed, or larger than any signal reads.
    unreadable: bool,
    limit: usize,
    draw: u64,
}

/// A stream whose events are read as they pass.
#[derive(Clone, Debug)]
struct EventStream {
    scanner: EventScanner,
    /// What the rule for events sees; `None` if it doesn't apply, so that times go by bytes.
    state: Option<StreamState>,
    signals: Option<EventReadings>,
    /// No byte is read.
    compressed: bool,
}

/// What has come of a body so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyProgress {
    /// A first byte has come.
    pub began: bool,
    /// What `overdue.first_byte` waits for has come: a byte, or of an event stream an event with
    /// content. Events are only examined for content if that deadline or a timing is configured.
    pub content: bool,
    /// The stream's done marker has come: no deadline runs any more.
    pub done: bool,
    /// An event said that the response is a failure, which it is from that moment on.
    pub error: bool,
}

/// How a stream is judged where `failure.sse` isn't configured: for times only.
const NO_RULE: &SseRule = &SseRule { done: None, error: None, content: Vec::new() };

impl ResponseBody {
    /// A body that is about to come; `None` if nothing that is configured depends on it. Asks for the
    /// header `content-encoding` only if it matters.
    pub fn new(rollout: &Rollout, response: &impl Response, start: &ResponseStart) -> Option<Self> {
        let overdue = &rollout.failure.overdue;
        let timed = rollout.timings.ttfb || rollout.timings.gap || overdue.first_byte.is_some();
        let by_events = timed || rollout.failure.sse.is_some();
        let signals =
            start.signals && rollout.signals.iter().any(|signal| reads_body(&signal.source));
        if !by_events && !signals && overdue.idle.is_none() {
            return None;
        }
        let start = ResponseStart { signals, ..*start };
        let reader = if start.event_stream && (by_events || signals) {
            EventStream::reader(rollout, response, &start, by_events)
        } else if signals {
            KeptBody::reader(rollout, response, start.draw)
        } else {
            BodyReader::Timed
        };
        Some(Self {
            reader,
            timer: BodyTimer::default(),
            headers_ns: start.now_ns,
            chunk_ns: start.now_ns,
            began: false,
            complete: false,
        })
    }

    /// Whether [`push`](Self::push) reads the next chunk's bytes, or only needs to know that it came.
    pub fn needs_bytes(&self, rollout: &Rollout) -> bool {
        match &self.reader {
            BodyReader::Timed => false,
            BodyReader::Json(body) => !body.unreadable,
            BodyReader::Events(stream) => {
                stream.needs_bytes(rollout, self.timer.first_ns().is_none())
            }
        }
    }

    /// A chunk of `size` bytes has come at `now_ns`. `bytes` are needed if
    /// [`needs_bytes`](Self::needs_bytes) says so; a kept body of which a chunk is missing is
    /// unreadable. An empty chunk doesn't count.
    pub fn push(
        &mut self,
        rollout: &Rollout,
        size: usize,
        bytes: Option<&[u8]>,
        now_ns: u64,
    ) -> BodyProgress {
        if size > 0 {
            self.began = true;
            self.chunk_ns = now_ns;
            let marks = match &mut self.reader {
                BodyReader::Timed => 1,
                BodyReader::Json(body) => {
                    body.push(bytes);
                    1
                }
                BodyReader::Events(stream) => {
                    let events = stream.push(rollout, bytes.unwrap_or_default());
                    if stream.state.is_some() { events } else { 1 }
                }
            };
            self.timer.mark(marks, now_ns);
        }
        self.progress()
    }

    /// The response has ended as its protocol requires: with its last chunk, with its trailers, or with
    /// headers alone. A last event counts without its blank line, from the moment of the last chunk.
    pub fn end(&mut self, rollout: &Rollout) -> BodyProgress {
        self.complete = true;
        if let BodyReader::Events(stream) = &mut self.reader {
            let events = stream.end(rollout);
            self.timer.mark(if stream.state.is_some() { events } else { 0 }, self.chunk_ns);
        }
        self.progress()
    }

    /// What has come so far.
    pub fn progress(&self) -> BodyProgress {
        let state = self.state().copied().unwrap_or_default();
        BodyProgress {
            began: self.began,
            content: self.timer.first_ns().is_some(),
            done: state.is_done(),
            error: state.has_error(),
        }
    }

    /// Why the response is a failure by `failure.sse`, asked once it is over for another reason than
    /// that its client left; `None` if the rule doesn't apply or isn't broken.
    pub fn fault(&self, rollout: &Rollout) -> Option<StreamFault> {
        self.state()?.fault(rollout.failure.sse.as_ref()?)
    }

    fn state(&self) -> Option<&StreamState> {
        match &self.reader {
            BodyReader::Events(stream) => stream.state.as_ref(),
            BodyReader::Timed | BodyReader::Json(_) => None,
        }
    }

    /// From the request's headers to the first byte of the body, in microseconds: for an event stream
    /// to the first event with content, and for a complete response without a body to its headers.
    /// `None` if none came.
    pub fn ttfb_us(&self, request_ns: u64) -> Option<u64> {
        let without_body = self.complete && !self.began && self.state().is_none();
        let first_ns = self.timer.first_ns().or_else(|| without_body.then_some(self.headers_ns))?;
        Some(first_ns.saturating_sub(request_ns) / 1_000)
    }

    /// The mean time between two chunks of the body, or two events with content, in microseconds;
    /// `None` below two of them.
    pub fn gap_us(&self) -> Option<u64> {
        self.timer.gap_us()
    }

    /// What the body says, at most once per signal. A body that broke off, because the client left or
    /// for another reason, says nothing, not even that it is unreadable.
    pub fn readings(&self, rollout: &Rollout) -> Vec<SignalReading> {
        match &self.reader {
            BodyReader::Json(body) if self.complete => body.readings(rollout),
            BodyReader::Events(EventStream { signals: Some(signals), .. }) if self.complete => {
                signals.finish(rollout)
            }
            _ => Vec::new(),
        }
    }
}

/// Whether a signal is in bodies.
fn reads_body(source: &Source) -> bool {
    matches!(source, Source::ResponseJson { .. } | Source::ResponseSse { .. })
}

/// Whether a response is compressed, so that nothing can be read of it.
fn is_compressed(response: &impl Response) -> bool {
    let encoding = response.header("content-encoding");
    encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
}

impl KeptBody {
    /// A body of which as much is kept as the rollout's signals read at most.
    fn reader(rollout: &Rollout, response: &impl Response, draw: u64) -> BodyReader {
        let limits = rollout.signals.iter().filter_map(|signal| match &signal.source {
            Source::ResponseJson { max_body, .. } => Some(*max_body),
            Source::ResponseSse { .. } | Source::ResponseHeader(_) | Source::Request { .. } => None,
        });
        let Some(limit) = limits.max() else {
            return BodyReader::Timed;
        };
        let unreadable = is_compressed(response);
        BodyReader::Json(Self { bytes: Vec::new(), unreadable, limit, draw })
    }

    /// Keeps a chunk, or gives up on a body that is too large or incomplete.
    fn push(&mut self, chunk: Option<&[u8]>) {
        let room = self.limit - self.bytes.len();
        match chunk.filter(|chunk| !self.unreadable && chunk.len() <= room) {
            Some(chunk) => self.bytes.extend_from_slice(chunk),
            None => (self.bytes, self.unreadable) = (Vec::new(), true),
        }
    }

    fn readings(&self, rollout: &Rollout) -> Vec<SignalReading> {
        let pointers = rollout.signals.iter().filter_map(|signal| match &signal.source {
            Source::ResponseJson { pointer, .. } => Some(pointer),
            Source::ResponseSse { .. } | Source::ResponseHeader(_) | Source::Request { .. } => None,
        });
        let pointers: Vec<_> = pointers.collect();
        let document = if self.unreadable { None } else { json::select(&self.bytes, &pointers) };
        let body = document.as_ref().map(|document| (document, self.bytes.len()));
        json_readings(rollout, body, self.draw)
    }
}

impl EventStream {
    /// A stream that begins. `ruled` says whether the rule for events is to see it if it can.
    fn reader(
        rollout: &Rollout,
        response: &impl Response,
        start: &ResponseStart,
        ruled: bool,
    ) -> BodyReader {
        let compressed = is_compressed(response);
        let ruled = ruled && !compressed && !start.ended && (200..300).contains(&start.status);
        let signals = start.signals.then(|| EventReadings::new(rollout, start.draw));
        if !ruled && signals.is_none() {
            return BodyReader::Timed;
        }
        let for_signals = signals.as_ref().and_then(|signals| signals.needs_events(rollout));
        let limit = for_signals.unwrap_or(0).max(if ruled { LARGEST_EVENT } else { 0 });
        let state = ruled.then(StreamState::default);
        BodyReader::Events(Self { scanner: EventScanner::new(limit), state, signals, compressed })
    }

    /// Whether an event to come matters. `waiting` says whether none with content has come yet.
    fn needs_bytes(&self, rollout: &Rollout, waiting: bool) -> bool {
        let failed = self.state.is_some_and(|state| state.has_error());
        if self.compressed || failed {
            // A failure stays one, whatever follows.
            return false;
        }
        let signals = self.signals.as_ref().and_then(|signals| signals.needs_events(rollout));
        let judged = |state: &StreamState| {
            let rule = rollout.failure.sse.as_ref();
            rule.is_some_and(|rule| state.needs_events(rule)) || needs_content(rollout, waiting)
        };
        signals.is_some() || self.state.as_ref().is_some_and(judged)
    }

    /// Reads a chunk. Returns how many events with content ended in it.
    fn push(&mut self, rollout: &Rollout, chunk: &[u8]) -> u64 {
        let Self { scanner, state, signals, .. } = self;
        let mut content = 0;
        scanner.push(chunk, |event| content += read_event(rollout, event, state, signals));
        content
    }

    /// The stream has ended. Returns how many events with content ended with it.
    fn end(&mut self, rollout: &Rollout) -> u64 {
        let Self { scanner, state, signals, .. } = self;
        let mut content = 0;
        let scanner = std::mem::replace(scanner, EventScanner::new(0));
        scanner.finish(|event| content += read_event(rollout, event, state, signals));
        content
    }
}

/// Whether it matters if an event to come has content. `waiting` says whether none has come yet.
fn needs_content(rollout: &Rollout, waiting: bool) -> bool {
    let first = rollout.timings.ttfb || rollout.failure.overdue.first_byte.is_some();
    rollout.timings.gap || (waiting && first)
}

/// Shows an event to the rule and to the signals. Its JSON is parsed at most once, and only if one of
/// them needs it. Returns 1 for an event with content, else 0.
fn read_event(
    rollout: &Rollout,
    event: Event<'_>,
    state: &mut Option<StreamState>,
    signals: &mut Option<EventReadings>,
) -> u64 {
    let (data, size) = match event {
        Event::Data(data) => (Some(data), data.len()),
        Event::Oversize => (None, usize::MAX),
    };
    let rule = rollout.failure.sse.as_ref().unwrap_or(NO_RULE);
    let for_rule = data.filter(|data| state.is_some() && data.len() <= LARGEST_EVENT);
    let for_signals = signals.as_ref().and_then(|signals| signals.needs_events(rollout));
    let mut pointers = Vec::new();
    if for_rule.is_some() {
        pointers.extend(StreamState::pointers(rule, needs_content(rollout, true)));
    }
    if let Some(signals) = signals.as_ref().filter(|_| for_signals.is_some_and(|most| size <= most))
    {
        pointers.extend(signals.pointers(rollout));
    }
    let parsed = data.filter(|_| !pointers.is_empty());
    let json = parsed.and_then(|data| json::select(data, &pointers));
    if for_signals.is_some()
        && let Some(signals) = signals
    {
        signals.read(rollout, size, json.as_ref());
    }
    let content = state.as_mut().is_some_and(|state| state.read(rule, for_rule, json.as_ref()));
    u64::from(content)
}

#[cfg(test)]
mod tests;
