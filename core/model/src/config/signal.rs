//! Signals: what is counted of the answers (outputs) and of the business (conversions).

use super::header_names::response_header;
use super::rules::{
    BIN, CATEGORY_VALUE, METHOD, PATH_PREFIX, PLAIN_CATEGORY, SIGNAL_NAME, body_size,
};
use crate::document::{ConfigErrors, Node, Object};
use crate::pointer::Pointer;

/// At most so many signals in a rollout.
pub(super) const MAX_SIGNALS: usize = 8;
/// At most so many bins in a signal.
const MAX_BINS: usize = 64;
/// What of a body is read where the configuration does not say: 64 KiB.
const DEFAULT_MAX_BODY: usize = 64 * 1024;
/// What may be read at most: 1 MiB, for every request in flight.
const LARGEST_MAX_BODY: usize = 1024 * 1024;

/// One thing that is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Its name in the statistics, unique in the rollout.
    pub name: String,
    /// Where its values come from.
    pub source: Source,
    /// What its values are sorted into.
    pub bins: SignalBins,
}

/// Where a signal's values come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Values in a JSON response body.
    ResponseJson {
        /// Where in the body.
        pointer: Pointer,
        /// A larger body is unreadable, in bytes.
        max_body: usize,
    },
    /// Values in the JSON of server-sent events.
    ResponseSse {
        /// Where in an event's data.
        pointer: Pointer,
        /// Which of the events that have a value counts.
        event: SseEvent,
        /// A larger event is unreadable, in bytes.
        max_body: usize,
    },
    /// The first line of a response header, by its lower-case name.
    ResponseHeader(String),
    /// The request itself; what it is counts, not a value of it.
    Request {
        /// The method, exactly; any if missing.
        method: Option<String>,
        /// The raw path's beginning; any if missing.
        path_prefix: Option<String>,
    },
}

/// Which of the events counts in which a pointer leads to something other than null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SseEvent {
    /// The first event that has a value.
    First,
    /// The last event that has a value.
    #[default]
    Last,
}

/// What a signal's values are sorted into.
#[derive(Clone, Debug, PartialEq)]
pub enum SignalBins {
    /// Listed values; any other counts as `other`.
    Categories(Vec<Category>),
    /// Rising limits of a number's bins: `b0` below the first, `b1` from it on, and so on.
    Limits(Vec<f64>),
    /// The number itself, in a histogram.
    Values {
        /// The number is multiplied by this and rounded.
        scale: f64,
    },
    /// Whether it happened, counted as `converted`.
    Conversion,
}

/// A listed value and the bin it counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// The text that a value must have, after JSON's escapes are decoded.
    pub value: String,
    /// The name of the bin that it counts in, as it appears in the statistic.
    pub bin: String,
}

impl Signal {
    /// Reads one entry of `signals`; `None` where it is not clear what it counts.
    pub(super) fn read(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Self> {
        let known = ["name", "from", "categories", "bins", "values", "conversion"];
        let object = node.object(&known, problems)?;
        let name = object.ruled("name", &SIGNAL_NAME, problems);
        let source = object.require("from", problems).and_then(|from| read_source(&from, problems));
        let bins = read_bins(&object, problems);
        let signal = Self { name, source: source?, bins: bins? };
        let of_request = matches!(signal.source, Source::Request { .. });
        if of_request && signal.bins != SignalBins::Conversion {
            let message =
                "a signal from the request must be a conversion; write `conversion`: true";
            node.problem(problems, message);
        }
        Some(signal)
    }
}

/// The fields that say where values come from; a signal has one of them.
const SOURCES: [&str; 4] = ["response_json", "response_sse", "response_header", "request"];

fn read_source(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Source> {
    let known =
        ["response_json", "response_sse", "event", "max_body", "response_header", "request"];
    let object = node.object(&known, problems)?;
    let [json, sse, header, request] = SOURCES.map(|field| object.get(field));
    if let Some(misplaced) = object.get("max_body").filter(|_| json.is_none() && sse.is_none()) {
        misplaced.problem(problems, "only `response_json` and `response_sse` have a max_body");
    }
    if let Some(misplaced) = object.get("event").filter(|_| sse.is_none()) {
        misplaced.problem(problems, "only `response_sse` has an event");
    }
    match [json, sse, header, request] {
        [Some(json), None, None, None] => {
            let (pointer, max_body) = read_json(&json, &object, problems);
            Some(Source::ResponseJson { pointer: pointer?, max_body: max_body? })
        }
        [None, Some(sse), None, None] => {
            let event = object.get("event").map(|event| read_event(&event, problems));
            let (pointer, max_body) = read_json(&sse, &object, problems);
            let event = event.unwrap_or_default();
            Some(Source::ResponseSse { pointer: pointer?, event, max_body: max_body? })
        }
        [None, None, Some(header), None] => {
            Some(Source::ResponseHeader(response_header(&header, problems)))
        }
        [None, None, None, Some(request)] => read_request(&request, problems),
        _ => {
            let message = "expected exactly one of `response_json`, `response_sse`, \
                           `response_header` and `request`";
            node.problem(problems, message);
            None
        }
    }
}

/// Where in JSON a signal's values are, and how large the JSON may be.
fn read_json(
    json: &Node<'_>,
    object: &Object<'_>,
    problems: &mut ConfigErrors,
) -> (Option<Pointer>, Option<usize>) {
    let expected =
        "a JSON pointer (RFC 6901, with * for an element of an array) such as /predictions/0/label";
    let pointer = json.parsed(expected, Pointer::parse, problems);
    let max_body = match object.get("max_body") {
        None => Some(DEFAULT_MAX_BODY),
        Some(size) => {
            let read = |text: &str| body_size(text, LARGEST_MAX_BODY);
            size.parsed("a size of 1B to 1MiB, such as 64KiB", read, problems)
        }
    };
    (pointer, max_body)
}

fn read_event(node: &Node<'_>, problems: &mut ConfigErrors) -> SseEvent {
    match node.value().as_str() {
        Some("first") => SseEvent::First,
        Some("last") => SseEvent::Last,
        _ => {
            node.expected(problems, "which event counts, such as first or last");
            SseEvent::default()
        }
    }
}

fn read_request(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Source> {
    let object = node.object(&["method", "path_prefix"], problems)?;
    let method = object.get("method").map(|method| method.ruled(&METHOD, problems));
    let path_prefix = object.get("path_prefix").map(|path| path.ruled(&PATH_PREFIX, problems));
    if method.is_none() && path_prefix.is_none() {
        node.problem(problems, "expected `method`, `path_prefix` or both");
    }
    Some(Source::Request { method, path_prefix })
}

fn read_bins(object: &Object<'_>, problems: &mut ConfigErrors) -> Option<SignalBins> {
    let conversion = match object.get("conversion") {
        None => false,
        Some(flag) => flag.flag(problems)?,
    };
    let [categories, bins, values] =
        ["categories", "bins", "values"].map(|field| object.get(field));
    match (categories, bins, values, conversion) {
        (Some(list), None, None, false) => {
            Some(SignalBins::Categories(read_categories(&list, problems)))
        }
        (None, Some(list), None, false) => Some(SignalBins::Limits(read_limits(&list, problems))),
        (None, None, Some(values), false) => read_values(&values, problems),
        (None, None, None, true) => Some(SignalBins::Conversion),
        _ => {
            let message =
                "expected exactly one of `categories`, `bins`, `values` and `conversion`: true";
            problems.add(object.path(), message);
            None
        }
    }
}

fn read_categories(list: &Node<'_>, problems: &mut ConfigErrors) -> Vec<Category> {
    let mut categories: Vec<Category> = Vec::new();
    for item in read_list(list, "expected at least one category", problems) {
        let category = read_category(&item, problems);
        let value = &category.value;
        if !value.is_empty() && categories.iter().any(|known| known.value == *value) {
            item.problem(problems, format!("duplicate entry: `{value}`"));
        }
        categories.push(category);
    }
    categories
}

/// A list of at least one bin. `other` and `unreadable` take the last two of the bins there may be.
fn read_list<'a>(list: &Node<'a>, needed: &str, problems: &mut ConfigErrors) -> Vec<Node<'a>> {
    let items = list.list(MAX_BINS - 2, problems);
    if items.as_ref().is_some_and(Vec::is_empty) {
        list.problem(problems, needed);
    }
    items.unwrap_or_default()
}

fn read_category(item: &Node<'_>, problems: &mut ConfigErrors) -> Category {
    if item.value().is_string() {
        let bin = item.ruled(&PLAIN_CATEGORY, problems);
        return Category { value: bin.clone(), bin };
    }
    let Some(object) = item.object(&["value", "bin"], problems) else {
        return Category { value: String::new(), bin: String::new() };
    };
    Category {
        value: object.ruled("value", &CATEGORY_VALUE, problems),
        bin: object.ruled("bin", &BIN, problems),
    }
}

fn read_limits(list: &Node<'_>, problems: &mut ConfigErrors) -> Vec<f64> {
    let mut limits: Vec<f64> = Vec::new();
    for item in read_list(list, "expected at least one limit", problems) {
        let Some(limit) = item.number(problems) else {
            continue;
        };
        if limits.last().is_some_and(|last| *last >= limit) {
            item.problem(problems, "expected a limit above the one before");
        }
        limits.push(limit);
    }
    limits
}

fn read_values(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<SignalBins> {
    let scale = node.object(&["scale"], problems)?.get("scale");
    let Some(scale) = scale else {
        return Some(SignalBins::Values { scale: 1.0 });
    };
    let number = scale.value().as_f64().filter(|number| number.is_finite() && *number > 0.0);
    if number.is_none() {
        scale.expected(problems, "a number above 0");
    }
    number.map(|scale| SignalBins::Values { scale })
}
