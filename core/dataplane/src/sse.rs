//! A stream of server-sent events, judged by `failure.sse`.

use canary_model::config::SseRule;
use canary_model::pointer::Pointer;
use serde_json::Value;

/// A larger event has content and isn't read further, in bytes.
pub const LARGEST_EVENT: usize = 64 * 1024;

/// What an event stream has shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// An event had data, other than the done marker.
    data: bool,
    done: bool,
    error: bool,
}

/// Why a response is a failure by its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamFault {
    /// An event said so.
    Error,
    /// The done marker never came: the response counts as broken, too.
    Incomplete,
    /// No event had data.
    Empty,
}

impl StreamState {
    /// Reads the next event: its data, and of its JSON, if it is JSON, what the
    /// [pointers](Self::pointers) need. `data` is `None` for an event above [`LARGEST_EVENT`]. Returns whether
    /// the event has content.
    pub fn read(&mut self, rule: &SseRule, data: Option<&[u8]>, json: Option<&Value>) -> bool {
        let Some(data) = data else {
            self.data = true;
            return true;
        };
        let leads = |pointer: &Pointer| json.and_then(|json| pointer.find(json, 0));
        self.error |= rule.error.as_ref().and_then(leads).is_some_and(|value| !value.is_null());
        if rule.done.as_ref().is_some_and(|done| done.as_bytes() == data) {
            self.done = true;
            return false;
        }
        if data.is_empty() {
            return false;
        }
        self.data = true;
        rule.content.is_empty() || rule.content.iter().filter_map(leads).any(has_content)
    }

    /// Where [`read`](Self::read) looks in an event's JSON. `content` says whether it matters if events
    /// have content.
    pub fn pointers(rule: &SseRule, content: bool) -> impl Iterator<Item = &Pointer> {
        let content = if content { rule.content.as_slice() } else { &[] };
        rule.error.iter().chain(content)
    }

    /// Whether an event to come can change what the stream is by the rule.
    pub fn needs_events(&self, rule: &SseRule) -> bool {
        let undecided = !self.data || rule.error.is_some() || (rule.done.is_some() && !self.done);
        undecided && !self.error
    }

    /// Whether the done marker has come. No deadline runs from then on.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether an event said that the response is a failure, which holds from that moment on.
    pub fn has_error(&self) -> bool {
        self.error
    }

    /// Why the response is a failure, once it is over; `None` if its events say nothing against it.
    pub fn fault(&self, rule: &SseRule) -> Option<StreamFault> {
        if self.error {
            return Some(StreamFault::Error);
        }
        if rule.done.is_some() && !self.done {
            return Some(StreamFault::Incomplete);
        }
        (!self.data).then_some(StreamFault::Empty)
    }
}

/// Whether a content type is that of an event stream, whatever its parameters and case.
pub fn is_event_stream(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Whether a value says something. Servers send an event with a role, or with empty content, before the
/// first token.
fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests;
