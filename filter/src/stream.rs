//! The stream context: one request and its response.

use std::rc::Rc;

use canary_dataplane::arrival::{Begun, Decided};
use canary_dataplane::effect::{Effect, RequestChange};
use canary_dataplane::host::{Headers, Response};
use canary_dataplane::request::MatchedRequest;
#[cfg(feature = "body")]
use canary_dataplane::response::BodyChunk;
use canary_dataplane::worker::FilterWorker;
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use crate::configured::Configured;
use crate::host::{self, EnvoyHost};

/// One request; if no rollout matches it, nothing is done to it.
pub(crate) struct Stream {
    /// Envoy's number for it.
    id: u32,
    configured: Option<Rc<Configured>>,
    request: Option<MatchedRequest>,
}

impl Stream {
    pub(crate) fn new(id: u32, configured: Option<Rc<Configured>>) -> Self {
        Self { id, configured, request: None }
    }

    /// Asks the worker about a request that isn't decided, and stops it or lets it go on.
    fn decide(&mut self, ask: impl FnOnce(&mut FilterWorker, u32) -> Option<Begun<'_>>) -> Action {
        let (id, request) = (self.id, &mut self.request);
        let action = self.configured.as_ref().and_then(|configured| {
            configured.with(|worker| match ask(worker, id) {
                Some(Begun::Held) => Action::Pause,
                Some(Begun::Decided(decided)) => {
                    *request = follow(decided);
                    Action::Continue
                }
                None => Action::Continue,
            })
        });
        action.unwrap_or(Action::Continue)
    }

    /// The request isn't held any more: takes it over if a tick has decided it.
    fn end_hold(&mut self) {
        if let (Some(configured), None) = (&self.configured, &self.request) {
            self.request = configured.with(|worker| worker.end_hold(self.id)).flatten();
        }
    }

    /// Hands the request to the worker, if there is one for it.
    fn with<R>(
        &mut self,
        ask: impl FnOnce(&mut FilterWorker, &mut MatchedRequest) -> R,
    ) -> Option<R> {
        let (configured, request) = (self.configured.as_ref()?, self.request.as_mut()?);
        configured.with(|worker| ask(worker, request))
    }

    /// Carries out what the worker wants done.
    fn perform(&self, effects: Option<Vec<Effect>>) {
        if let (Some(configured), Some(effects)) = (&self.configured, effects) {
            configured.perform(effects);
        }
    }
}

/// The request's headers in Envoy; only before the response.
pub(crate) struct RequestHeaders {
    pub(crate) has_body: bool,
}

impl Headers for RequestHeaders {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        host::request_header(name)
    }

    fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        host::request_headers(name)
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        host::property(&["source", "address"])
    }

    fn has_body(&self) -> bool {
        self.has_body
    }
}

/// The response in Envoy; its headers only while they pass.
struct StreamResponse;

impl Response for StreamResponse {
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        host::response_header(name)
    }

    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        host::property(path)
    }

    fn attribute_u64(&self, path: &[&str]) -> Option<u64> {
        host::property_u64(path)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, ended: bool) -> Action {
        let headers = RequestHeaders { has_body: !ended };
        self.decide(|worker, id| Some(worker.begin(id, &headers, &EnvoyHost)))
    }

    #[cfg(feature = "body")]
    fn on_http_request_body(&mut self, size: usize, ended: bool) -> Action {
        let bytes = |from| host::request_body(from, size).unwrap_or_default();
        let headers = RequestHeaders { has_body: true };
        let action =
            self.decide(|worker, id| worker.read_body(id, bytes, ended, &headers, &EnvoyHost));
        if ended {
            self.end_hold();
            self.with(|worker, request| worker.request_ended(request, &EnvoyHost));
        }
        action
    }

    #[cfg(feature = "body")]
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.on_http_request_body(0, true)
    }

    fn on_http_response_headers(&mut self, _: usize, ended: bool) -> Action {
        self.end_hold();
        let effects = self.with(|worker, request| {
            let responded = worker.respond(request, &StreamResponse, ended, &EnvoyHost)?;
            let (name, version) = responded.change.version;
            host::set_response_header(name, version);
            if let Some(cookie) = responded.change.set_cookie {
                host::add_response_header("set-cookie", &cookie);
            }
            Some(responded.effects)
        });
        self.perform(effects.flatten());
        Action::Continue
    }

    #[cfg(feature = "body")]
    fn on_http_response_body(&mut self, size: usize, ended: bool) -> Action {
        let chunk = BodyChunk { size, ended, bytes: || host::response_body(size) };
        let effects = self.with(|worker, request| worker.body(request, chunk, &EnvoyHost));
        self.perform(effects);
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        let trailer = host::response_trailer;
        let effects = self.with(|worker, request| worker.trailers(request, trailer, &EnvoyHost));
        self.perform(effects);
        Action::Continue
    }
}

/// Envoy deletes the context when the exchange is over: after the last byte, a reset or a disconnect.
/// Counting here saves the calls of two more hooks per request.
impl Drop for Stream {
    fn drop(&mut self) {
        self.end_hold();
        if let (Some(configured), Some(request)) = (&self.configured, self.request.take()) {
            let finish =
                configured.with(|worker| worker.finish(request, &StreamResponse, &EnvoyHost));
            configured.perform(finish.unwrap_or_default());
        }
    }
}

/// Makes the changes of a decision; returns the request to follow.
pub(crate) fn follow(decided: Decided<'_>) -> Option<MatchedRequest> {
    decided.changes.into_iter().for_each(change);
    decided.request
}

fn change(change: RequestChange<'_>) {
    match change {
        RequestChange::Remove(name) => host::remove_request_header(name),
        RequestChange::Set(name, value) => host::set_request_header(name, value),
        RequestChange::Reroute => host::clear_route_cache(),
    }
}
