//! Signals: what is counted of the answers (outputs) and of the business (conversions).

use crate::{
    document::{Node, Object, Problems},
    names,
    pointer::Pointer,
};

/// At most so many signals in a rollout.
pub(super) const MAX_SIGNALS: usize = 8;
/// At most so many bins in a signal.
const MAX_BINS: usize = 64;
/// What of a body is read where the configuration does not say: 64 KiB.
const DEFAULT_MAX_BODY: usize = 64 * 1024;
/// What may be read at most: 1 MiB, for every request in flight.
const LARGEST_MAX_BODY: usize = 1024 * 1024;
/// The longest category value, in bytes.
const LONGEST_VALUE: usize = 256;

/// One thing that is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Its name in the statistics, unique in the rollout.
    pub name: String,
    /// Where its values come from.
    pub source: Source,
    /// What its values are sorted into.
    pub bins: Bins,
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
    /// A response header.
    ResponseHeader(String),
    /// The request itself; what it is counts, not a value of it.
    Request {
        /// The method, exactly; any if missing.
        method: Option<String>,
        /// The raw path's beginning; any if missing.
        path_prefix: Option<String>,
    },
}

/// What a signal's values are sorted into.
#[derive(Clone, Debug, PartialEq)]
pub enum Bins {
    /// Listed values; any other counts as `other`.
    Categories(Vec<Category>),
    /// Rising limits of a number's bins: `b0` below the first, `b1` from it on, and so on.
    Limits(Vec<f64>),
    /// Whether it happened, counted as `converted`.
    Conversion,
}

/// A listed value and the bin it counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// The value's text.
    pub value: String,
    /// The bin's name.
    pub bin: String,
}

impl Signal {
    /// Reads one entry of `signals`.
    pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let known = ["name", "from", "categories", "bins", "conversion"];
        let object = node.object(&known, problems)?;
        let name = object.require("name", problems).and_then(|name| {
            let read = |text| names::is_signal(text).then_some(text);
            name.parsed("a name of 1 to 63 characters a-z, 0-9 and _", read, problems)
        });
        let source = object.require("from", problems).and_then(|from| read_source(&from, problems));
        let bins = read_bins(&object, problems);
        let signal = Self { name: name?.to_owned(), source: source?, bins: bins? };
        let of_request = matches!(signal.source, Source::Request { .. });
        if of_request && signal.bins != Bins::Conversion {
            node.problem(
                problems,
                "a signal from the request is a conversion: say \"conversion\": true",
            );
            return None;
        }
        Some(signal)
    }
}

fn read_source(node: &Node<'_>, problems: &mut Problems) -> Option<Source> {
    let known = ["response_json", "max_body", "response_header", "request"];
    let object = node.object(&known, problems)?;
    let sources = ["response_json", "response_header", "request"];
    if sources.iter().filter(|field| object.get(field).is_some()).count() != 1 {
        node.problem(
            problems,
            "exactly one of response_json, response_header and request is needed",
        );
        return None;
    }
    if let Some(json) = object.get("response_json") {
        let expected =
            "a JSON pointer (RFC 6901) such as /predictions/0/label, with * for every element";
        let pointer = json.parsed(expected, Pointer::parse, problems);
        let max_body = match object.get("max_body") {
            None => Some(DEFAULT_MAX_BODY),
            Some(size) => size.parsed("a size such as 64KiB, at most 1MiB", body_size, problems),
        };
        return Some(Source::ResponseJson { pointer: pointer?, max_body: max_body? });
    }
    if let Some(misplaced) = object.get("max_body") {
        misplaced.problem(problems, "only response_json has a body to limit");
    }
    if let Some(header) = object.get("response_header") {
        return header.parsed("a header's name", header_name, problems).map(Source::ResponseHeader);
    }
    read_request(&object.get("request")?, problems)
}

fn read_request(node: &Node<'_>, problems: &mut Problems) -> Option<Source> {
    let object = node.object(&["method", "path_prefix"], problems)?;
    let token = |text: &str| names::is_token(text).then(|| text.to_owned());
    let method = match object.get("method") {
        None => None,
        Some(method) => Some(method.parsed("a method such as POST", token, problems)?),
    };
    let path_prefix = match object.get("path_prefix") {
        None => None,
        Some(path) => Some(path.parsed("a path that begins with /", path_prefix, problems)?),
    };
    if method.is_none() && path_prefix.is_none() {
        node.problem(problems, "a method, a path_prefix or both are needed");
        return None;
    }
    Some(Source::Request { method, path_prefix })
}

fn read_bins(object: &Object<'_>, problems: &mut Problems) -> Option<Bins> {
    let conversion = match object.get("conversion") {
        None => false,
        Some(flag) => flag.flag(problems)?,
    };
    match (object.get("categories"), object.get("bins"), conversion) {
        (Some(list), None, false) => read_categories(&list, problems).map(Bins::Categories),
        (None, Some(list), false) => read_limits(&list, problems).map(Bins::Limits),
        (None, None, true) => Some(Bins::Conversion),
        _ => {
            let message = "exactly one of categories, bins and \"conversion\": true is needed";
            problems.add(object.path(), message);
            None
        }
    }
}

fn read_categories(list: &Node<'_>, problems: &mut Problems) -> Option<Vec<Category>> {
    // `other` and `unreadable` take the last two bins.
    let items = list.list(MAX_BINS - 2, problems)?;
    if items.is_empty() {
        list.problem(problems, "at least one category is needed");
        return None;
    }
    let mut categories: Vec<Category> = Vec::with_capacity(items.len());
    for item in items {
        let category = read_category(&item, problems)?;
        if categories.iter().any(|known| known.value == category.value) {
            item.problem(problems, format!("category `{}` is listed twice", category.value));
            return None;
        }
        categories.push(category);
    }
    Some(categories)
}

fn read_category(item: &Node<'_>, problems: &mut Problems) -> Option<Category> {
    let bin = |text: &str| {
        (names::is_bin(text) && !["other", "unreadable"].contains(&text)).then(|| text.to_owned())
    };
    let expected = "1 to 63 letters, digits, _ and -, other than `other` and `unreadable`";
    if item.value().is_string() {
        let advice = format!("{expected}; for other texts write {{\"value\": …, \"bin\": …}}");
        let bin = item.parsed(&advice, bin, problems)?;
        return Some(Category { value: bin.clone(), bin });
    }
    let object = item.object(&["value", "bin"], problems)?;
    let value = object.require("value", problems).and_then(|value| {
        let short = |text: &str| (text.len() <= LONGEST_VALUE).then(|| text.to_owned());
        value.parsed("a text of at most 256 bytes", short, problems)
    });
    let bin = object.require("bin", problems).and_then(|node| node.parsed(expected, bin, problems));
    Some(Category { value: value?, bin: bin? })
}

fn read_limits(list: &Node<'_>, problems: &mut Problems) -> Option<Vec<f64>> {
    let items = list.list(MAX_BINS - 2, problems)?;
    let mut limits: Vec<f64> = Vec::with_capacity(items.len());
    for item in items {
        let limit = item.number(problems)?;
        if limits.last().is_some_and(|last| *last >= limit) {
            item.problem(problems, "bin limits must rise");
            return None;
        }
        limits.push(limit);
    }
    if limits.is_empty() {
        list.problem(problems, "at least one limit is needed");
        return None;
    }
    Some(limits)
}

pub(super) fn header_name(text: &str) -> Option<String> {
    names::is_token(text).then(|| text.to_ascii_lowercase())
}

pub(super) fn path_prefix(text: &str) -> Option<String> {
    let fits = text.starts_with('/') && text.len() <= 1024 && text.is_ascii();
    fits.then(|| text.to_owned())
}

/// Bytes, from a text such as `64KiB`; 1 byte to 1 MiB.
fn body_size(text: &str) -> Option<usize> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return None,
    };
    let size = number.parse::<usize>().ok()?.checked_mul(unit)?;
    (1..=LARGEST_MAX_BODY).contains(&size).then_some(size)
}
