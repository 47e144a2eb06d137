//! What counts as a failure: HTTP status codes, and gRPC statuses for gRPC requests.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::rules::read_duration;
use crate::document::{ConfigErrors, Node, Object};
use crate::pointer::Pointer;

/// The names of the gRPC status codes, indexed by code (gRPC's `statuscodes.md`).
const GRPC_STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The longest deadline: within it, the largest outcome age still covers what a request does.
const LONGEST_DEADLINE: Duration = Duration::from_secs(9 * 60);

/// At most so many entries in either list.
const MAX_ENTRIES: usize = 64;

/// Which outcomes are failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRule {
    http: Vec<RangeInclusive<u16>>,
    /// One bit per gRPC status code, 0 to 16.
    grpc: u32,
    /// Whether a response that breaks off is a failure.
    pub broken: bool,
    /// How long a response may take.
    pub overdue: Overdue,
    /// What a stream of server-sent events must hold; `None`: nothing in particular.
    pub sse: Option<SseRule>,
}

/// The deadlines of a response; each is at most nine minutes, and none runs unless it is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// From the end of the request to the response's headers.
    pub answer: Option<Duration>,
    /// From the end of the request to the first byte of the body, or the first event with content.
    pub first_byte: Option<Duration>,
    /// From one chunk of the body to the next.
    pub idle: Option<Duration>,
}

/// What a stream of server-sent events must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseRule {
    /// The data of the event that ends a complete stream, such as `[DONE]`.
    pub done: Option<String>,
    /// Where an event's JSON says that the answer is a failure.
    pub error: Option<Pointer>,
    /// Where an event's JSON has content, any of these; if empty, every event with data has content.
    pub content: Vec<Pointer>,
}

impl Default for FailureRule {
    /// `5xx`; UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS.
    fn default() -> Self {
        let grpc = [2, 4, 13, 14, 15].into_iter().fold(0, |bits, code: u32| bits | 1 << code);
        let http = vec![500..=599];
        Self { http, grpc, broken: true, overdue: Overdue::default(), sse: None }
    }
}

impl FailureRule {
    /// Whether an HTTP status is a failure.
    pub fn http(&self, status: u16) -> bool {
        self.http.iter().any(|range| range.contains(&status))
    }

    /// Whether a gRPC status is a failure. A code that gRPC does not define counts as UNKNOWN, as
    /// gRPC's own clients read it.
    pub fn grpc(&self, status: u32) -> bool {
        let code = if status < 17 { status } else { 2 };
        self.grpc & (1 << code) != 0
    }

    /// Reads the `failure` object; a list that is left out keeps its default.
    pub(super) fn read(node: &Node<'_>, problems: &mut ConfigErrors) -> Self {
        let mut rule = Self::default();
        let fields = ["http", "grpc", "broken", "overdue", "sse"];
        let Some(object) = node.object(&fields, problems) else {
            return rule;
        };
        if let Some(flag) = object.get("broken").and_then(|flag| flag.flag(problems)) {
            rule.broken = flag;
        }
        if let Some(overdue) = object.get("overdue") {
            rule.overdue = Overdue::read(&overdue, problems);
        }
        if let Some(list) = object.get("http") {
            rule.http.clear();
            for item in list.list(MAX_ENTRIES, problems).unwrap_or_default() {
                match http_statuses(item.value()) {
                    Some(range) => rule.http.push(range),
                    None => item.expected(
                        problems,
                        "a class such as 5xx, a code such as 429 or a range such as 500-503",
                    ),
                }
            }
        }
        if let Some(list) = object.get("grpc") {
            rule.grpc = 0;
            for item in list.list(MAX_ENTRIES, problems).unwrap_or_default() {
                let expected = "a gRPC status name other than OK, such as UNAVAILABLE";
                if let Some(code) = item.parsed(expected, grpc_code, problems) {
                    rule.grpc |= 1 << code;
                }
            }
        }
        rule.sse = object.get("sse").map(|sse| SseRule::read(&sse, problems));
        rule
    }
}

impl Overdue {
    /// Whether any deadline runs.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    fn read(node: &Node<'_>, problems: &mut ConfigErrors) -> Self {
        let fields = ["answer", "first_byte", "idle"];
        let Some(object) = node.object(&fields, problems) else {
            return Self::default();
        };
        let mut deadline = |field| read_deadline(&object, field, problems);
        Self {
            answer: deadline("answer"),
            first_byte: deadline("first_byte"),
            idle: deadline("idle"),
        }
    }
}

fn read_deadline(
    object: &Object<'_>,
    field: &str,
    problems: &mut ConfigErrors,
) -> Option<Duration> {
    let expected = "a duration above 0 and at most 9m, such as 30s";
    let fits = |duration| duration > Duration::ZERO && duration <= LONGEST_DEADLINE;
    object.get(field).map(|node| read_duration(&node, expected, fits, problems))
}

fn http_statuses(value: &Value) -> Option<RangeInclusive<u16>> {
    let Some(code) = value.as_u64() else {
        return value.as_str().and_then(http_range);
    };
    u16::try_from(code).ok().filter(|code| is_status(*code)).map(|code| code..=code)
}

fn is_status(code: u16) -> bool {
    (100..=599).contains(&code)
}

fn http_range(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let code = |text: &str| text.parse().ok().filter(|code| text.len() == 3 && is_status(*code));
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (code(low)?, code(high)?),
        None => (code(text)?, code(text)?),
    };
    (low <= high).then_some(low..=high)
}

fn grpc_code(name: &str) -> Option<u32> {
    let code = GRPC_STATUS_NAMES.iter().position(|known| *known == name)?;
    u32::try_from(code).ok().filter(|code| *code != 0)
}
