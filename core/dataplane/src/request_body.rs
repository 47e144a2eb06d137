//! Values in a JSON request body, read while the body comes.
//!
//! What a pointer leads to is clear after a certain byte of the body, however the bytes are split into
//! chunks: after the last byte of a string, after the byte behind a number. What comes later can't
//! change it, not even a fault in the JSON. So every proxy says the same about the same body.

use std::fmt;

use actson::feeder::PushJsonFeeder;
use actson::options::JsonParserOptionsBuilder;
use actson::{JsonEvent, JsonParser};
use canary_model::pointer::Pointer;

use crate::protocol::is_grpc;

/// Arrays and objects may be nested this deep, as in serde_json; anything deeper counts as broken.
const MAX_DEPTH: usize = 128;

/// A string, number or boolean in a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonScalar {
    /// A string's value, a number's or boolean's source text.
    pub text: String,
    /// Whether it is `true` or `false`.
    pub boolean: bool,
}

/// What is known about a value of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyValue<'a> {
    /// The bytes that have come so far don't say.
    Pending,
    /// There is no such value, or none that can be read: the body is broken, too long, too late or
    /// missing.
    Absent,
    /// The body has this value.
    Found(&'a JsonScalar),
}

/// A request's body as far as it is known.
pub struct RequestBody {
    /// Reads the bytes that come; `None` before the first one and once nothing more is read.
    parser: Option<BodyParser>,
    /// The values that are looked for.
    sought: Vec<Sought>,
    /// Whether more can become known.
    open: bool,
}

/// A value that is looked for.
#[derive(Debug)]
struct Sought {
    pointer: Pointer,
    /// The value counts only if it is clear after this many bytes.
    max_body: usize,
    /// `None` until it is clear what the pointer leads to.
    found: Option<Option<JsonScalar>>,
}

struct BodyParser {
    json: JsonParser<PushJsonFeeder>,
    /// For each open array or object, the element or field that comes next or is being read.
    path: Vec<PathStep>,
    /// How many bytes have come.
    received: usize,
}

/// One level of a place in a document.
#[derive(Debug)]
enum PathStep {
    Field(String),
    Element(usize),
}

/// Where a place in a document lies as seen from a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PointerPlace {
    /// The pointer leads through it.
    Way,
    /// The pointer leads to it.
    End,
}

/// Where a place lies as seen from a pointer without `*`; `None` if it is beside the pointer's way or
/// below its end.
fn locate(pointer: &Pointer, path: &[PathStep]) -> Option<PointerPlace> {
    let enters = |(depth, step): (usize, &PathStep)| match step {
        PathStep::Field(name) => pointer.enters_field(depth, name),
        PathStep::Element(element) => pointer.may_enter_element(depth, *element),
    };
    let along = path.iter().enumerate().all(enters);
    let end = if path.len() == pointer.depth() { PointerPlace::End } else { PointerPlace::Way };
    along.then_some(end)
}

impl RequestBody {
    /// A body that hasn't been looked at: everything about it is pending.
    pub const fn unread() -> Self {
        Self { parser: None, sought: Vec::new(), open: true }
    }

    /// No body, or none that is read: no value is in it.
    pub const fn none() -> Self {
        Self { parser: None, sought: Vec::new(), open: false }
    }

    /// A body whose bytes are about to come. Each pointer is looked for in so many of them.
    pub fn reading<'a>(pointers: impl Iterator<Item = (&'a Pointer, usize)>) -> Self {
        let mut sought: Vec<Sought> = Vec::new();
        for (pointer, max_body) in pointers {
            if !sought.iter().any(|known| known.is(pointer, max_body)) {
                sought.push(Sought { pointer: pointer.clone(), max_body, found: None });
            }
        }
        let options = JsonParserOptionsBuilder::default().with_max_depth(MAX_DEPTH).build();
        let json = JsonParser::new_with_options(PushJsonFeeder::new(), options);
        let parser = Some(BodyParser { json, path: Vec::new(), received: 0 });
        Self { parser, sought, open: true }
    }

    /// What is known about a value that was asked for with this limit.
    pub fn value(&self, pointer: &Pointer, max_body: usize) -> BodyValue<'_> {
        let sought = self.sought.iter().find(|sought| sought.is(pointer, max_body));
        match sought.and_then(|sought| sought.found.as_ref()) {
            Some(Some(scalar)) => BodyValue::Found(scalar),
            None if self.open => BodyValue::Pending,
            Some(None) | None => BodyValue::Absent,
        }
    }

    /// The next bytes have come. Whether something has become clear that wasn't before.
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        let before = self.pending();
        if let Some(mut parser) = self.parser.take() {
            let largest = self.unclear().map(|sought| sought.max_body).max().unwrap_or(0);
            let fits = largest.saturating_sub(parser.received).min(chunk.len());
            let read = parser.push(chunk.get(..fits).unwrap_or(chunk), &mut self.sought);
            for sought in &mut self.sought {
                if parser.received >= sought.max_body {
                    sought.found.get_or_insert(None);
                }
            }
            self.open = read && self.pending() > 0;
            self.parser = Some(parser).filter(|_| self.open);
        }
        self.pending() < before || !self.open
    }

    /// The body has ended.
    pub fn end(&mut self) {
        if let Some(mut parser) = self.parser.take() {
            parser.end(&mut self.sought);
        }
        self.open = false;
    }

    /// No more bytes are waited for: what isn't clear by now counts as absent.
    pub fn give_up(&mut self) {
        (self.parser, self.open) = (None, false);
    }

    fn unclear(&self) -> impl Iterator<Item = &Sought> {
        self.sought.iter().filter(|sought| sought.found.is_none())
    }

    fn pending(&self) -> usize {
        self.unclear().count()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("RequestBody");
        fields.field("sought", &self.sought).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Sought {
    fn is(&self, pointer: &Pointer, max_body: usize) -> bool {
        self.max_body == max_body && self.pointer == *pointer
    }
}

impl BodyParser {
    /// Reads a chunk; `false` if what has come isn't the beginning of JSON, or is all of it.
    fn push(&mut self, chunk: &[u8], sought: &mut [Sought]) -> bool {
        let mut rest = chunk;
        while !rest.is_empty() {
            let taken = self.json.feeder.push_bytes(rest);
            rest = rest.get(taken..).unwrap_or_default();
            if !self.read(0, sought) {
                return false;
            }
        }
        self.received += chunk.len();
        true
    }

    /// A number at the end is complete only now. To count, it needs a byte of the limit for the end,
    /// just as it does for the byte that ends a number elsewhere.
    fn end(&mut self, sought: &mut [Sought]) {
        self.json.feeder.done();
        self.read(1, sought);
    }

    /// Reads what the feeder holds, and `beyond` bytes that aren't in it. `false` if nothing can follow.
    fn read(&mut self, beyond: usize, sought: &mut [Sought]) -> bool {
        loop {
            match self.json.next_event() {
                Ok(Some(JsonEvent::NeedMoreInput)) => return true,
                Ok(Some(event)) => {
                    let at = self.json.parsed_bytes() + beyond;
                    if !self.event(event, at, sought) {
                        return false;
                    }
                }
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// One part of the JSON, complete after `at` bytes. `false` if it can't be read.
    fn event(&mut self, event: JsonEvent, at: usize, sought: &mut [Sought]) -> bool {
        match event {
            JsonEvent::StartObject => {
                self.clear(sought, PointerPlace::End, at, None);
                self.path.push(PathStep::Field(String::new()));
            }
            JsonEvent::StartArray => {
                self.clear(sought, PointerPlace::End, at, None);
                self.path.push(PathStep::Element(0));
            }
            JsonEvent::FieldName => {
                let (Some(PathStep::Field(field)), Ok(name)) =
                    (self.path.last_mut(), self.json.current_str())
                else {
                    return false;
                };
                name.clone_into(field);
            }
            JsonEvent::EndObject | JsonEvent::EndArray => {
                self.path.pop();
                self.clear(sought, PointerPlace::Way, at, None);
                self.advance();
            }
            JsonEvent::ValueString | JsonEvent::ValueInt | JsonEvent::ValueFloat => {
                let text = self.json.current_str().map(str::to_owned).ok();
                let scalar = text.map(|text| JsonScalar { text, boolean: false });
                self.clear(sought, PointerPlace::Way, at, None);
                self.clear(sought, PointerPlace::End, at, scalar);
                self.advance();
            }
            JsonEvent::ValueTrue | JsonEvent::ValueFalse | JsonEvent::ValueNull => {
                let text = match event {
                    JsonEvent::ValueTrue => Some("true".to_owned()),
                    JsonEvent::ValueFalse => Some("false".to_owned()),
                    _ => None,
                };
                let scalar = text.map(|text| JsonScalar { text, boolean: true });
                self.clear(sought, PointerPlace::Way, at, None);
                self.clear(sought, PointerPlace::End, at, scalar);
                self.advance();
            }
            JsonEvent::NeedMoreInput => {}
        }
        true
    }

    /// It is clear after `at` bytes what the pointers lead to that pass or end at the current place.
    /// The first of several fields with the same name counts.
    fn clear(
        &self,
        sought: &mut [Sought],
        place: PointerPlace,
        at: usize,
        scalar: Option<JsonScalar>,
    ) {
        let here = sought.iter_mut().filter(|sought| sought.found.is_none());
        for sought in here.filter(|sought| locate(&sought.pointer, &self.path) == Some(place)) {
            sought.found = Some(scalar.clone().filter(|_| at <= sought.max_body));
        }
    }

    /// A value is complete; in an array, the next element follows.
    fn advance(&mut self) {
        if let Some(PathStep::Element(element)) = self.path.last_mut() {
            *element += 1;
        }
    }
}

/// Whether a body of this content type is read: `application/json` or `…+json`, with or without
/// parameters. gRPC's messages are framed, whatever is in them.
pub fn is_json(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    let json = media_type == b"application/json" || media_type.ends_with(b"+json");
    json && !is_grpc(&media_type) && !media_type.starts_with(b"application/grpc-web")
}

// Proptest is for the host alone.
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
