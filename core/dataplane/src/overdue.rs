//! Requests that run into a deadline: when their deadlines start and stop, and what counts when one
//! passes.

use std::cell::{Cell, RefCell};

use canary_model::config::Rollout;
use canary_model::role::Role;

use crate::READS_BODIES;
use crate::deadlines::{Deadline, Passed};
use crate::effect::Effect;
use crate::host::{Headers, Host, Response};
use crate::open_request::{OpenRequest, SentHeaders};
use crate::outcome::Outcome;
use crate::request::MatchedRequest;
use crate::responder::{Responder, UpstreamInfo, responder};
use crate::response_body::BodyProgress;
use crate::rollout_state::RolloutState;
use crate::worker::FilterWorker;

impl FilterWorker {
    /// The request goes on to its version. Without body hooks, nothing more is known of its end, so the
    /// deadline for its answer begins here, if the request ends here or says how long it is.
    pub(crate) fn sent(
        &mut self,
        request: &mut MatchedRequest,
        sent: SentHeaders,
        headers: &impl Headers,
        host: &impl Host,
    ) {
        let body_hooks = READS_BODIES && self.body_hooks;
        let Some(state) = self.rollouts.get_mut(request.rollout) else {
            return;
        };
        let Some(trial) = request.exchange.trial() else {
            return;
        };
        if !state.rollout.failure.overdue.is_set() {
            return;
        }
        let open = sent.ended || body_hooks;
        let upload = if open { None } else { content_length(headers) };
        let no = || Cell::new(false);
        let watched = state.deadlines.watch(OpenRequest {
            trial,
            under: request.under.clone(),
            judged: RefCell::new(std::mem::take(&mut request.judged)),
            stream: sent.stream,
            upload,
            answered: no(),
            content: no(),
            ttfb_us: Cell::new(None),
            counted: no(),
        });
        if !body_hooks && (sent.ended || upload.is_some()) {
            state.deadlines.start(Deadline::Answer, &watched, trial.started_ns);
        }
        request.watched = Some(watched);
        if body_hooks && sent.ended {
            self.request_ended(request, host);
        }
    }

    /// The request has ended, with its headers, its last chunk or its trailers: from here on its
    /// response is due.
    pub fn request_ended(&mut self, request: &MatchedRequest, host: &impl Host) {
        if let Some(watched) = &request.watched
            && let Some(state) = self.rollouts.get_mut(request.rollout)
        {
            let now_ns = host.now_ns();
            if !watched.subject.answered.get() {
                state.deadlines.start(Deadline::Answer, watched, now_ns);
            }
            if !watched.subject.content.get() {
                state.deadlines.start(Deadline::FirstByte, watched, now_ns);
            }
        }
    }
}

impl RolloutState {
    /// The response's headers have come. Returns whether they came too late.
    pub(crate) fn answer_came(
        &mut self,
        request: &mut MatchedRequest,
        response: &impl Response,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if !request.exchange.is_compared()
            && let Some(watched) = request.watched.take()
        {
            self.deadlines.stop_all(&watched);
            watched.subject.with_judged(|judged| request.judged = std::mem::take(judged));
        }
        if self.is_overdue(request, |path| response.attribute(path), host, effects) {
            return true;
        }
        if let Some(watched) = &request.watched {
            watched.subject.answered.set(true);
            self.deadlines.stop(Deadline::Answer, watched);
        }
        false
    }

    /// A chunk of the response's body has come in time.
    pub(crate) fn chunk_came(
        &mut self,
        request: &MatchedRequest,
        progress: BodyProgress,
        now_ns: u64,
    ) {
        let Some(watched) = &request.watched else {
            return;
        };
        let open = &watched.subject;
        if progress.content && !open.content.replace(true) {
            open.ttfb_us
                .set(request.body.as_ref().and_then(|body| body.ttfb_us(open.trial.started_ns)));
            self.deadlines.stop(Deadline::FirstByte, watched);
        }
        if progress.done {
            self.deadlines.stop_all(watched);
        } else {
            self.deadlines.start(Deadline::Idle, watched, now_ns);
        }
    }

    /// No deadline of a request matters any more.
    pub(crate) fn stop_deadlines(&mut self, request: &MatchedRequest) {
        if let Some(watched) = &request.watched {
            self.deadlines.stop_all(watched);
        }
    }

    /// Whether a request was counted, now or before: if a deadline of it has passed since the last
    /// tick, it counts as overdue. `attribute` reads an attribute of its stream.
    pub(crate) fn is_overdue(
        &mut self,
        request: &MatchedRequest,
        attribute: impl Fn(&[&str]) -> Option<Vec<u8>>,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if let Some(watched) = &request.watched {
            let now_ns = host.now_ns();
            if let Some(passed) = self.deadlines.take(watched, now_ns) {
                self.count_overdue(&passed, attribute, now_ns, host, effects);
            }
        }
        request.is_counted()
    }

    /// Counts the requests whose deadlines have passed since the last tick.
    pub(crate) fn expire(&mut self, now_ns: u64, host: &impl Host, effects: &mut Vec<Effect>) {
        while let Some(passed) = self.deadlines.expire(now_ns) {
            let stream = passed.watched.subject.stream;
            let attribute = |path: &[&str]| host.stream_attribute(stream, path);
            self.count_overdue(&passed, attribute, now_ns, host, effects);
        }
    }

    fn count_overdue(
        &mut self,
        passed: &Passed<OpenRequest>,
        attribute: impl Fn(&[&str]) -> Option<Vec<u8>>,
        now_ns: u64,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) {
        let request = &passed.watched.subject;
        let answered = request.answered.get();
        if !answered
            && (is_diverted(&self.rollout, request, &attribute) || is_sending(request, &attribute))
        {
            return;
        }
        request.counted.set(true);
        request.with_judged(|judged| self.judged.requests.failed(judged));
        let timings = self.rollout.timings;
        let deadline = (passed.deadline, passed.due_ns);
        let outcome = Outcome::overdue(&request.trial, timings, deadline, request.ttfb_us.get());
        self.count(&request.under, &outcome, &[], now_ns, host, effects);
    }
}

/// Whether the kill switch sent a canary request to stable. Before the response's headers only the
/// route's cluster tells.
fn is_diverted(
    rollout: &Rollout,
    request: &OpenRequest,
    attribute: impl Fn(&[&str]) -> Option<Vec<u8>>,
) -> bool {
    if request.trial.role == Role::Stable {
        return false;
    }
    let cluster = attribute(&["xds", "cluster_name"]);
    let upstream = UpstreamInfo { cluster, ..UpstreamInfo::default() };
    responder(rollout, &upstream) == Responder::KillSwitch
}

/// Whether a client is still sending a request: of its Content-Length, not all has come. If that can't
/// be known, it is: a slow upload is the client's doing.
fn is_sending(request: &OpenRequest, attribute: impl Fn(&[&str]) -> Option<Vec<u8>>) -> bool {
    let number = |name| {
        let bytes: [u8; 8] = attribute(&["request", name])?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let received = || Some(number("total_size")?.saturating_sub(number("headers_bytes")?));
    request.upload.is_some_and(|length| received().is_none_or(|received| received < length))
}

fn content_length(headers: &impl Headers) -> Option<u64> {
    str::from_utf8(&headers.get("content-length")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
