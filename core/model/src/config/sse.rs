//! Reads `failure.sse`: what a stream of server-sent events must hold.

use super::SseRule;
use super::rules::DONE;
use crate::document::{ConfigErrors, Node};
use crate::pointer::Pointer;

/// At most so many pointers to content.
const MAX_CONTENT: usize = 16;

impl SseRule {
    /// Reads the object; each of its fields may be left out.
    pub(super) fn read(node: &Node<'_>, problems: &mut ConfigErrors) -> Self {
        let Some(object) = node.object(&["done", "error", "content"], problems) else {
            return Self::default();
        };
        Self {
            done: object.get("done").map(|done| done.ruled(&DONE, problems)),
            error: object.get("error").and_then(|error| read_place(&error, problems)),
            content: object
                .get("content")
                .map(|content| read_content(&content, problems))
                .unwrap_or_default(),
        }
    }
}

/// A pointer or a list of them.
fn read_content(node: &Node<'_>, problems: &mut ConfigErrors) -> Vec<Pointer> {
    if !node.value().is_array() {
        return read_place(node, problems).into_iter().collect();
    }
    let items = node.list(MAX_CONTENT, problems).unwrap_or_default();
    if node.value().as_array().is_some_and(Vec::is_empty) {
        let message = "an empty list; leave the field out if every event with data has content";
        node.problem(problems, message);
    }
    items.iter().filter_map(|item| read_place(item, problems)).collect()
}

/// A pointer to one place. With `*`, a random element of an array would decide what a response is.
fn read_place(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Pointer> {
    let one_place = |text| Pointer::parse(text).filter(|pointer| !pointer.draws());
    let expected = "a JSON pointer (RFC 6901, without *) such as /choices/0/delta/content";
    node.parsed(expected, one_place, problems)
}
