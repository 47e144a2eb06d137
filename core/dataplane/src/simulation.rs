//! A simulated Envoy process for native tests: shared data, a clock, metrics and a log. Workers in it
//! interleave as the test says.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::arrival::Begun;
use crate::effect::{Effect, RequestChange};
use crate::host::{Headers, Host, HostMetricKind, MetricId, Response};
use crate::messages::Message;
use crate::request::MatchedRequest;
use crate::response::Responded;
use crate::vm::Vm;
use crate::worker::{FilterWorker, PollAnswer};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// What the workers of one process share.
#[derive(Default)]
pub(crate) struct Process {
    pub(crate) now_ns: Cell<u64>,
    shared: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    /// The mark of the last write of any record: Envoy numbers them all in one order.
    mark: Cell<u32>,
    /// How often a record was read, and how often a write was tried.
    pub(crate) shared_calls: Cell<(u32, u32)>,
    metrics: RefCell<Vec<(HostMetricKind, String)>>,
    values: RefCell<BTreeMap<String, u64>>,
    log: RefCell<Vec<Message>>,
    polls: RefCell<Vec<&'static str>>,
    /// The attributes of streams, by the stream's number and the attribute's path.
    pub(crate) streams: RefCell<BTreeMap<(u32, String), Vec<u8>>>,
    /// What other workers do between the next reads and writes of a record.
    interleaved: RefCell<Vec<Box<dyn FnOnce()>>>,
    /// So many writes find that another worker was faster.
    beaten: Cell<u32>,
}

impl Process {
    /// Lets another worker act just before the next write of a shared record. The last one given acts
    /// before the first write.
    pub(crate) fn interleave(&self, other: impl FnOnce() + 'static) {
        self.interleaved.borrow_mut().push(Box::new(other));
    }

    /// Whether no other worker is waiting to act.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.interleaved.borrow().is_empty()
    }

    /// Lets another worker be faster than the next `writes` writes.
    pub(crate) fn beat(&self, writes: u32) {
        self.beaten.set(writes);
    }

    /// Overwrites a shared record with these bytes.
    pub(crate) fn corrupt(&self, key: &str, bytes: &[u8]) {
        assert!(self.set_shared(key, bytes, None));
    }

    pub(crate) fn forget(&self, key: &str) {
        self.shared.borrow_mut().remove(key);
    }

    /// Carries out what a worker wants done.
    pub(crate) fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SetTick(_) => {}
                Effect::HttpGet { path, .. } => self.polls.borrow_mut().push(path),
                Effect::Log(message) => self.log.borrow_mut().push(message),
                Effect::Increment(id, by) => *self.value(id) += by,
                Effect::Record(id, value) => {
                    let kind = self.metrics.borrow()[id.0 as usize].0;
                    let mut known = self.value(id);
                    *known = if kind == HostMetricKind::Gauge { value } else { *known + 1 };
                }
            }
        }
    }

    fn value(&self, id: MetricId) -> std::cell::RefMut<'_, u64> {
        let name = self.metrics.borrow()[id.0 as usize].1.clone();
        std::cell::RefMut::map(self.values.borrow_mut(), |values| values.entry(name).or_default())
    }

    /// A counter, a gauge, or the number of a histogram's samples, after `canary.r.`.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        self.values.borrow().get(&format!("canary.r.{name}")).copied().unwrap_or(0)
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        self.log.take().iter().map(ToString::to_string).collect()
    }

    pub(crate) fn take_polls(&self) -> Vec<&'static str> {
        self.polls.take()
    }
}

impl Host for Process {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let (reads, writes) = self.shared_calls.get();
        self.shared_calls.set((reads + 1, writes));
        self.shared.borrow().get(key).cloned()
    }

    fn set_shared(&self, key: &str, value: &[u8], mark: Option<u32>) -> bool {
        let (reads, writes) = self.shared_calls.get();
        self.shared_calls.set((reads, writes + 1));
        let other = self.interleaved.borrow_mut().pop();
        if let Some(other) = other {
            other();
        }
        if self.beaten.get() > 0 {
            self.beaten.set(self.beaten.get() - 1);
            return false;
        }
        let mut shared = self.shared.borrow_mut();
        let held = shared.get(key).map(|(_, mark)| *mark);
        if mark.is_some() && mark != held {
            return false;
        }
        self.mark.set(self.mark.get() + 1);
        shared.insert(key.to_owned(), (value.to_vec(), self.mark.get()));
        true
    }

    fn stream_attribute(&self, stream: u32, path: &[&str]) -> Option<Vec<u8>> {
        self.streams.borrow().get(&(stream, path.join("."))).cloned()
    }

    fn define_metric(&self, kind: HostMetricKind, name: &str) -> Option<MetricId> {
        let mut metrics = self.metrics.borrow_mut();
        let known = metrics.iter().position(|metric| *metric == (kind, name.to_owned()));
        let place = known.unwrap_or_else(|| {
            metrics.push((kind, name.to_owned()));
            metrics.len() - 1
        });
        u32::try_from(place).ok().map(MetricId)
    }
}

/// A plugin configuration with one rollout `r`, changed by `change`.
pub(crate) fn config(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut rollout = json!({"name": "r",
        "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"}});
    change(&mut rollout);
    json!({"rollouts": [rollout]}).to_string().into_bytes()
}

/// One VM with its newest worker.
pub(crate) struct SimulatedWorker<'a> {
    pub(crate) process: &'a Process,
    pub(crate) vm: Vm,
    pub(crate) worker: FilterWorker,
}

impl<'a> SimulatedWorker<'a> {
    pub(crate) fn start(process: &'a Process, json: &[u8], seed: u64) -> Self {
        let mut vm = Vm::default();
        let worker = configured(process, &mut vm, json, seed);
        Self { process, vm, worker }
    }

    /// A pushed configuration: the new worker takes the place of the old one, which is returned.
    pub(crate) fn push(&mut self, json: &[u8]) -> FilterWorker {
        let new = configured(self.process, &mut self.vm, json, 99);
        std::mem::replace(&mut self.worker, new)
    }

    pub(crate) fn tick(&mut self) {
        let effects = self.worker.tick(7, &mut self.vm, self.process);
        self.process.perform(effects);
    }

    /// Lets so much time pass in one step, and ticks.
    pub(crate) fn pass(&mut self, ns: u64) {
        self.process.now_ns.set(self.process.now_ns.get() + ns);
        self.tick();
    }

    /// Ticks until this worker polls, and answers with these settings of the rollout `r`.
    pub(crate) fn poll(&mut self, settings: &[(&str, &str)]) {
        self.process.take_polls();
        while self.process.take_polls().is_empty() {
            self.pass(SECOND);
        }
        self.answer(settings);
    }

    pub(crate) fn answer(&mut self, settings: &[(&str, &str)]) {
        let entry = |(key, value): &(&str, &str)| {
            (format!("canary.r.{key}"), json!({"final_value": value}))
        };
        let entries: serde_json::Map<_, _> = settings.iter().map(entry).collect();
        let body = json!({"layers": [], "entries": entries}).to_string();
        let answer = PollAnswer { status: Some(b"200"), body: body.as_bytes() };
        let effects = self.worker.answered(answer, &self.vm, self.process);
        self.process.perform(effects);
    }

    /// Begins a request with these headers; returns it and the version that it is sent to.
    pub(crate) fn begin(&mut self, headers: &[(&str, &str)]) -> (MatchedRequest, &'static str) {
        let begun = self.worker.begin(0, &Request(headers), self.process);
        decided(Some(begun)).unwrap()
    }

    /// Begins the request of a stream, which waits for its body.
    pub(crate) fn hold(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let begun = self.worker.begin(stream, &Request(headers), self.process);
        assert!(matches!(begun, Begun::Held), "{begun:?}");
    }

    /// More of a held request's body has come. `None` while it is held, then what was decided.
    pub(crate) fn read_body(
        &mut self,
        stream: u32,
        chunk: &str,
        ended: bool,
        headers: &[(&str, &str)],
    ) -> Option<Option<(MatchedRequest, &'static str)>> {
        let bytes = |_| chunk.as_bytes().to_vec();
        let request = Request(headers);
        let begun = self.worker.read_body(stream, bytes, ended, &request, self.process);
        (!matches!(begun, Some(Begun::Held))).then(|| decided(begun))
    }

    /// Answers a request with a status and without a body; returns the cookie that was set.
    pub(crate) fn end(&mut self, mut request: MatchedRequest, status: &str) -> Option<String> {
        let cookie = self.respond(&mut request, &[(":status", status)], true);
        self.leave(request);
        cookie
    }

    /// The headers of a request's response come; returns the cookie that was set.
    pub(crate) fn respond(
        &mut self,
        request: &mut MatchedRequest,
        headers: &[(&'static str, &str)],
        ended: bool,
    ) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let response = SimulatedResponse(headers.collect());
        let responded = self.worker.respond(request, &response, ended, self.process)?;
        let Responded { change, effects } = responded;
        let cookie = change.set_cookie;
        self.process.perform(effects);
        cookie
    }

    /// Ends a request as it is: its client leaves.
    pub(crate) fn leave(&mut self, request: MatchedRequest) {
        self.over(request, "downstream_remote_disconnect");
    }

    /// A request is over, and Envoy says this of it.
    pub(crate) fn over(&mut self, request: MatchedRequest, details: &'static str) {
        let response = SimulatedResponse(vec![("response.code_details", details.to_owned())]);
        let effects = self.worker.finish(request, &response, self.process);
        self.process.perform(effects);
    }
}

/// The request that is followed, and the version that it is sent to; `None` if no rollout matches it.
fn decided(begun: Option<Begun<'_>>) -> Option<(MatchedRequest, &'static str)> {
    let Some(Begun::Decided(decided)) = begun else { panic!("{begun:?}") };
    let canary = decided.changes.contains(&RequestChange::Reroute);
    decided.request.map(|request| (request, if canary { "canary" } else { "stable" }))
}

pub(crate) fn configured(process: &Process, vm: &mut Vm, json: &[u8], seed: u64) -> FilterWorker {
    let (worker, effects) = FilterWorker::configure(json, true, seed, vm, process).unwrap();
    process.perform(effects);
    worker
}

/// A request with these headers. It has a body if it has a content-length, and the address that the
/// header `source` says.
pub(crate) struct Request<'a>(pub(crate) &'a [(&'a str, &'a str)]);

impl Headers for Request<'_> {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_bytes().to_vec())
    }

    fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        let found = self.0.iter().filter(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_bytes().to_vec()).collect()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.get("source")
    }

    fn has_body(&self) -> bool {
        self.get("content-length").is_some()
    }
}

/// A response's headers, and its attributes by their paths, such as `xds.cluster_name`.
pub(crate) struct SimulatedResponse(pub(crate) Vec<(&'static str, String)>);

impl Response for SimulatedResponse {
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone().into_bytes())
    }

    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.header(&path.join("."))
    }

    fn attribute_u64(&self, _: &[&str]) -> Option<u64> {
        None
    }
}
