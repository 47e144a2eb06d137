//! One of Envoy's workers under one configuration: what it does when it is configured, on a tick, and
//! when a poll of the runtime is answered.
//!
//! It has no IO. It asks its [`Host`], and everything else that it wants done it returns as
//! [`Effect`]s. [`request`](crate::request) is its other half: what it does with requests.

use std::time::Duration;

use canary_model::config::Config;
use canary_model::document::ConfigError;
use canary_model::runtime::{RolloutRuntime, Snapshot};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::READS_BODIES;
use crate::effect::Effect;
use crate::held::HeldRequests;
use crate::host::Host;
use crate::messages::{Message, PollError};
use crate::metrics::FilterMetrics;
use crate::poll::{AdminQuery, PollStep, Poller, Term};
use crate::protocol::http_status;
use crate::rollout_state::RolloutState;
use crate::shared::SharedRecord;
use crate::vm::Vm;

/// One worker under one configuration.
///
/// A pushed configuration makes a new worker beside the old one. Requests in flight keep the old one,
/// and with it the rules that they began under. The shared records and the metrics are the same.
#[derive(Debug)]
pub struct FilterWorker {
    /// Increases with each configuration in this VM.
    generation: u64,
    /// What is configured, without its rollouts.
    pub(crate) config: Config,
    /// The rollouts, in the configuration's order.
    pub(crate) rollouts: Vec<RolloutState>,
    /// The headers that carry testers' tokens.
    pub(crate) token_headers: Vec<String>,
    /// The requests that wait for their bodies.
    pub(crate) held: HeldRequests,
    pub(crate) random: Xoshiro256PlusPlus,
    /// Whether the module sees bodies, and so the ends of requests and responses.
    pub(crate) body_hooks: bool,
    metrics: FilterMetrics,
    poller: Poller,
    term: SharedRecord<Term>,
    /// Why the last poll failed, so that a lasting failure is logged once.
    last_failure: Option<PollError>,
    /// What was last logged about weights for other versions, so that each is logged once.
    other_versions: Vec<Message>,
}

/// The answer to [`Effect::HttpGet`].
#[derive(Clone, Copy, Debug)]
pub struct PollAnswer<'a> {
    /// The `:status`; `None` if the call timed out or the connection failed.
    pub status: Option<&'a [u8]>,
    /// The body; empty if there is none.
    pub body: &'a [u8],
}

/// Whether the poll is over after an answer.
enum PollProgress {
    Finished,
    /// The runtime has changed, and the same poll now reads it.
    ReadRuntime,
}

impl FilterWorker {
    /// Reads a plugin's configuration and puts it to work. `reads_bodies` says whether the module has
    /// body hooks; `seed` should differ between VMs.
    ///
    /// # Errors
    /// What to log and count if the configuration is refused.
    pub fn configure(
        json: &[u8],
        reads_bodies: bool,
        seed: u64,
        vm: &mut Vm,
        host: &impl Host,
    ) -> Result<(Self, Vec<Effect>), Vec<Effect>> {
        let reads_bodies = READS_BODIES && reads_bodies;
        let mut metrics = FilterMetrics::new(&vm.metrics(), host);
        match Config::parse(json).and_then(|config| check_bodies(config, reads_bodies)) {
            Ok(config) => {
                let worker =
                    Self { body_hooks: reads_bodies, ..Self::new(config, metrics, seed, vm, host) };
                let effects = worker.started();
                Ok((worker, effects))
            }
            Err(errors) => {
                let log = |error| Effect::Log(Message::ConfigRefused(error));
                let mut effects: Vec<_> = errors.into_iter().map(log).collect();
                metrics.config_rejected.add(1);
                metrics.flush(&mut effects);
                Err(effects)
            }
        }
    }

    fn new(
        mut config: Config,
        metrics: FilterMetrics,
        seed: u64,
        vm: &mut Vm,
        host: &impl Host,
    ) -> Self {
        let generation = vm.begin(config.rollouts.iter().map(|rollout| rollout.name.as_str()));
        let token_headers = config.token_headers();
        let interval_ns = config.runtime.interval_ns();
        let mut rollouts = Vec::new();
        for rollout in std::mem::take(&mut config.rollouts) {
            rollouts.push(RolloutState::new(rollout, interval_ns, vm, host));
        }
        let names = rollouts.iter().map(|state| state.rollout.name.as_str());
        let term = Term::record(names);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let poller = Poller::new(random.next_u64(), interval_ns);
        let (last_failure, other_versions) = (None, Vec::new());
        Self {
            generation,
            config,
            rollouts,
            token_headers,
            held: HeldRequests::default(),
            random,
            body_hooks: false,
            metrics,
            poller,
            term,
            last_failure,
            other_versions,
        }
    }

    fn started(&self) -> Vec<Effect> {
        let tick_ns = Poller::tick_ns(self.config.runtime.interval_ns());
        let names = self.rollouts.iter().map(|state| state.rollout.name.clone()).collect();
        let log = Effect::Log(Message::Configured(names));
        vec![Effect::SetTick(Duration::from_nanos(tick_ns)), log]
    }

    /// A tick: takes over the shared records, shows and flushes the statistics, and polls the runtime
    /// if this worker leads. `unix_seconds` is the wall clock, for the heartbeat.
    pub fn tick(&mut self, unix_seconds: u64, vm: &mut Vm, host: &impl Host) -> Vec<Effect> {
        let now_ns = host.now_ns();
        let mut effects = Vec::new();
        for state in &mut self.rollouts {
            // If the record can't be read, the cached one stays, and no request gets past it.
            let _ = state.refresh(host);
            if vm.is_newest(&state.rollout.name, self.generation) {
                state.note_weight(now_ns, host);
                state.show(now_ns, &mut effects);
            }
            // What a deadline decides counts at an age that is reached in the same tick.
            state.expire(now_ns, host, &mut effects);
            state.count_judged(now_ns, host);
        }
        vm.tick(now_ns, host, &mut effects);
        self.poll(now_ns, vm, host, &mut effects);
        self.metrics.heartbeat.set(unix_seconds, &mut effects);
        self.metrics.flush(&mut effects);
        self.flush(now_ns, host, &mut effects);
        effects
    }

    /// The worker has ended: its configuration was replaced and its last request is over. Returns what
    /// it has counted and not handed over yet.
    pub fn close(&mut self, vm: &mut Vm, host: &impl Host) -> Vec<Effect> {
        vm.end(self.generation);
        let (now_ns, mut effects) = (host.now_ns(), Vec::new());
        for state in &mut self.rollouts {
            state.expire(now_ns, host, &mut effects);
            state.count_judged(now_ns, host);
        }
        self.flush(now_ns, host, &mut effects);
        self.rollouts.drain(..).for_each(|state| vm.leave(state.judged));
        effects
    }

    fn flush(&mut self, now_ns: u64, host: &impl Host, effects: &mut Vec<Effect>) {
        for state in &mut self.rollouts {
            state.flush(now_ns, host, effects);
        }
    }

    /// Polls the runtime if this worker leads and is the newest for any of its rollouts.
    fn poll(&mut self, now_ns: u64, vm: &Vm, host: &impl Host, effects: &mut Vec<Effect>) {
        let newest = |state: &RolloutState| vm.is_newest(&state.rollout.name, self.generation);
        if !self.rollouts.iter().any(newest) {
            return;
        }
        let (held, mark) = self.term.read_marked(host).ok().unzip();
        let PollStep::Claim(term) = self.poller.tick(now_ns, held) else {
            return;
        };
        if !self.term.replace(host, &term, mark) {
            return;
        }
        if let Some(query) = self.poller.claimed(now_ns) {
            effects.push(self.get(query));
        }
    }

    fn get(&self, query: AdminQuery) -> Effect {
        Effect::HttpGet {
            cluster: self.config.runtime.cluster.clone(),
            path: query.path(),
            timeout: Duration::from_nanos(self.poller.timeout_ns()),
        }
    }

    /// The host refused to send the poll, for `reason`.
    pub fn refused(&mut self, reason: String) -> Vec<Effect> {
        let cluster = self.config.runtime.cluster.clone();
        let mut effects = Vec::new();
        self.poll_failed(PollError::Refused { cluster, reason }, &mut effects);
        effects
    }

    /// The poll was answered, or failed.
    pub fn answered(&mut self, answer: PollAnswer<'_>, vm: &Vm, host: &impl Host) -> Vec<Effect> {
        let mut effects = Vec::new();
        let progress = match self.poller.query() {
            Some(AdminQuery::Loads) => self.loads_answered(answer, host),
            Some(AdminQuery::Runtime) => self.runtime_answered(answer, vm, host, &mut effects),
            None => return effects,
        };
        match progress {
            Ok(PollProgress::Finished) => {
                self.poller.finished();
                self.metrics.poll_success.add(1);
                if self.last_failure.take().is_some() {
                    effects.push(Effect::Log(Message::PollRecovered));
                }
            }
            Ok(PollProgress::ReadRuntime) => effects.push(self.get(AdminQuery::Runtime)),
            Err(error) => self.poll_failed(error, &mut effects),
        }
        effects
    }

    fn loads_answered(
        &mut self,
        answer: PollAnswer<'_>,
        host: &impl Host,
    ) -> Result<PollProgress, PollError> {
        let status = answer.status.ok_or(PollError::NoAnswer)?;
        // An admin interface that shows no statistics can still show the runtime.
        let loads = if http_status(status) == Some(200) { answer.body } else { &[] };
        let changed = self.poller.changed(loads, host.now_ns());
        Ok(if changed { PollProgress::ReadRuntime } else { PollProgress::Finished })
    }

    fn runtime_answered(
        &mut self,
        answer: PollAnswer<'_>,
        vm: &Vm,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) -> Result<PollProgress, PollError> {
        let status = answer.status.ok_or(PollError::NoAnswer)?;
        if http_status(status) != Some(200) {
            return Err(PollError::Status(String::from_utf8_lossy(status).into_owned()));
        }
        let ours = |name: &str| self.rollouts.iter().any(|state| state.rollout.name == name);
        let snapshot = Snapshot::read(answer.body, ours).map_err(PollError::Body)?;
        if self.apply(&snapshot, vm, host, effects) {
            self.poller.applied(answer.body.len(), host.now_ns());
        }
        Ok(PollProgress::Finished)
    }

    fn poll_failed(&mut self, error: PollError, effects: &mut Vec<Effect>) {
        self.poller.finished();
        self.metrics.poll_failure.add(1);
        if self.last_failure.as_ref() != Some(&error) {
            effects.push(Effect::Log(Message::PollFailed(error.clone())));
            self.last_failure = Some(error);
        }
    }

    /// Takes what the runtime says into the shared records. `false` if one couldn't be written, so
    /// that the next poll reads the runtime again.
    fn apply(
        &mut self,
        snapshot: &Snapshot,
        vm: &Vm,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let now_ns = host.now_ns();
        let mut stored = true;
        let mut other_versions = Vec::new();
        for state in &mut self.rollouts {
            let name = state.rollout.name.clone();
            let runtime = RolloutRuntime::new(snapshot, &name);
            let faults = state.apply(&runtime, now_ns, host);
            stored &= faults.is_some();
            for value in faults.unwrap_or_default() {
                self.metrics.invalid_runtime.add(1);
                let rollout = name.clone();
                effects.push(Effect::Log(Message::UnreadableValue { rollout, value }));
            }
            if vm.is_newest(&name, self.generation) {
                other_versions.extend(state.other_version(now_ns));
                state.show(now_ns, effects);
            }
        }
        let new = other_versions.iter().filter(|message| !self.other_versions.contains(message));
        effects.extend(new.cloned().map(Effect::Log));
        self.other_versions = other_versions;
        stored
    }
}

/// Refuses what needs bodies in a module that was built without body hooks.
fn check_bodies(config: Config, reads_bodies: bool) -> Result<Config, Vec<ConfigError>> {
    let rollouts = config.rollouts.iter().enumerate();
    let fields = rollouts.flat_map(|(place, rollout)| {
        let fields = rollout.body_fields().into_iter();
        fields.map(move |field| ConfigError {
            path: format!("rollouts[{place}].{field}"),
            message: "this module has no body hooks; use canary_filter.wasm".to_owned(),
        })
    });
    let errors: Vec<_> = fields.filter(|_| !reads_bodies).collect();
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

#[cfg(test)]
mod tests;
