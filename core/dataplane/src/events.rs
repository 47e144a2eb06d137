//! Server-sent events out of the chunks of a body, as the HTML standard defines them (section 9.2.6,
//! "Interpreting an event stream").
//!
//! The scanner reads a stream as it passes. It holds at most one event, and of an event larger than its
//! limit nothing but the fact. Published parsers hold streams or strings without a bound, so this one is
//! our own. It differs from the standard in one point: the last event needs no blank line behind it.

/// An event that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Its data, lines joined by line feeds. It may be empty.
    Data(&'a [u8]),
    /// It had more bytes than the limit.
    Oversize,
}

/// What is known of the event that is passing.
#[derive(Clone, Debug)]
pub struct EventScanner {
    /// The most bytes of data, and of one line, that are kept.
    limit: usize,
    /// The line that has begun, without its end.
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    line_cut: bool,
    /// The data of the lines before it, each with a line feed behind it.
    data: Vec<u8>,
    /// A line of this event had data, even if empty.
    has_data: bool,
    oversize: bool,
    /// The last byte was a carriage return: a line feed right behind it ends no further line.
    after_return: bool,
    /// Nothing but (part of) a byte order mark has passed.
    at_start: bool,
}

/// What a stream may begin with, and what is not a part of its first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The longest field name with its colon and space that matters: `data: `.
const FIELD: usize = 6;

impl EventScanner {
    /// A scanner at the start of a stream. An event with more than `limit` bytes of data is [`Event::Oversize`].
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            line_cut: false,
            data: Vec::new(),
            has_data: false,
            oversize: false,
            after_return: false,
            at_start: true,
        }
    }

    /// Reads the next chunk, and hands each event that ends in it to `event`.
    pub fn push(&mut self, chunk: &[u8], mut event: impl FnMut(Event<'_>)) {
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            if self.after_return {
                self.after_return = false;
                if *first == b'\n' {
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
            }
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.keep(rest);
                return;
            };
            let (line, behind) = rest.split_at(end);
            self.keep(line);
            self.after_return = behind.first() == Some(&b'\r');
            rest = behind.get(1..).unwrap_or_default();
            self.end_line(&mut event);
        }
    }

    /// Ends the stream: a last event without its blank line counts, too.
    pub fn finish(mut self, mut event: impl FnMut(Event<'_>)) {
        if !self.line.is_empty() || self.line_cut {
            self.end_line(&mut event);
        }
        self.dispatch(&mut event);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (self.limit + FIELD + BYTE_ORDER_MARK.len()).saturating_sub(self.line.len());
        self.line_cut |= bytes.len() > room;
        self.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn end_line(&mut self, event: &mut impl FnMut(Event<'_>)) {
        let mut line = self.line.as_slice();
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let blank = line.is_empty();
        if let Some(data) = data_of(line) {
            self.has_data = true;
            if self.line_cut || self.oversize || self.data.len() + data.len() > self.limit {
                self.oversize = true;
                self.data.clear();
            } else {
                self.data.extend_from_slice(data);
                self.data.push(b'\n');
            }
        }
        self.line.clear();
        self.line_cut = false;
        if blank {
            self.dispatch(event);
        }
    }

    fn dispatch(&mut self, event: &mut impl FnMut(Event<'_>)) {
        if std::mem::take(&mut self.oversize) {
            event(Event::Oversize);
        } else if self.has_data {
            event(Event::Data(self.data.strip_suffix(b"\n").unwrap_or(&self.data)));
        }
        self.has_data = false;
        self.data.clear();
    }
}

/// The value of a `data` line; `None` for a comment and for any other field.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    let Some(value) = rest.strip_prefix(b":") else {
        // A field without a colon has an empty value.
        return rest.is_empty().then_some(rest);
    };
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

// Proptest is for the host alone.
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
