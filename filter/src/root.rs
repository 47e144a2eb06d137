//! The root context: configuration, the tick, and the poll of Envoy's runtime.

use std::{rc::Rc, time::Duration};

use canary_dataplane::exchange::http_status;
use canary_dataplane::poll::{Ask, Lead, Poller, Step, Term};
use canary_model::config::{Config, Signal, Source};
use canary_model::document::ConfigError;
use canary_model::runtime::{RolloutRuntime, RuntimeKey, Snapshot};
use log::{error, info, warn};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{
    host,
    metrics::FilterMetrics,
    plugin::{Live, Plugin},
    shared::Record,
    stream::Stream,
};

/// The root context of one configuration in one VM.
#[derive(Default)]
pub struct Root {
    work: Option<Work>,
}

/// A root context that has its configuration.
struct Work {
    plugin: Rc<Plugin>,
    metrics: FilterMetrics,
    poller: Poller,
    term: Record<Term>,
    /// Why the last poll failed, so that a lasting failure is logged once.
    last_failure: Option<String>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, _: u32, _: usize, body_size: usize, _: usize) {
        if let Some(work) = &mut self.work {
            work.poll_answered(body_size);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let metrics = FilterMetrics::new();
        match Config::parse(&host::configuration(size)).and_then(readable_here) {
            Ok(config) => {
                self.work = Some(Work::new(Plugin::new(config), metrics));
                true
            }
            Err(problems) => {
                for problem in problems {
                    error!("canary: configuration refused: {problem}");
                }
                metrics.config_rejected.add(1);
                metrics.flush();
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(work) = &mut self.work {
            work.tick();
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let plugin = self.work.as_ref().map(|work| Rc::clone(&work.plugin));
        Some(Box::new(Stream::new(plugin)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Work {
    fn new(plugin: Rc<Plugin>, metrics: FilterMetrics) -> Self {
        let interval = plugin.config.runtime.interval_ns();
        host::set_tick(Duration::from_nanos(Poller::tick_ns(interval)));
        let names = plugin.rollouts.iter().map(|live| live.rollout.name.as_str());
        let term = Record::term(names.clone());
        let names: Vec<_> = names.collect();
        info!("canary: configured with {} rollouts: {}", names.len(), names.join(", "));
        let poller = Poller::new(plugin.random(), interval);
        Self { plugin, metrics, poller, term, last_failure: None }
    }

    fn tick(&mut self) {
        let now_ns = host::now_ns();
        for live in &self.plugin.rollouts {
            live.refresh();
            if self.plugin.shows(live) {
                live.show(now_ns);
            }
        }
        self.poll(now_ns);
        self.metrics.heartbeat.set(host::unix_seconds());
        self.metrics.flush();
        self.plugin.flush(now_ns);
    }

    /// Polls the runtime where this worker leads.
    fn poll(&mut self, now_ns: u64) {
        if !self.plugin.rollouts.iter().any(|live| self.plugin.shows(live)) {
            return;
        }
        let (held, mark) = self.term.read_marked().unzip();
        let Step::Claim(term) = self.poller.tick(now_ns, held) else {
            return;
        };
        if !self.term.replace(&term, mark) {
            return;
        }
        if let Lead::Poll(ask) = self.poller.claimed(now_ns) {
            self.ask(ask);
        }
    }

    fn ask(&mut self, ask: Ask) {
        let cluster = &self.plugin.config.runtime.cluster;
        let timeout = Duration::from_nanos(self.poller.timeout_ns());
        if let Err(refused) = host::http_get(cluster, ask.path(), timeout) {
            let reason =
                format!("Envoy refuses to call cluster `{cluster}` ({refused:?}); does it exist?");
            self.poll_failed(reason);
        }
    }

    fn poll_answered(&mut self, body_size: usize) {
        let answered = match self.poller.asked() {
            Some(Ask::Loads) => self.loads_answered(body_size),
            Some(Ask::Runtime) => self.runtime_answered(body_size),
            None => return,
        };
        match answered {
            Ok(Answered::Settled) => {
                self.poller.settled();
                self.metrics.poll_success.add(1);
                if self.last_failure.take().is_some() {
                    info!("canary: the runtime can be polled again");
                }
            }
            Ok(Answered::AskMore) => self.ask(Ask::Runtime),
            Err(reason) => self.poll_failed(reason),
        }
    }

    fn loads_answered(&mut self, body_size: usize) -> Result<Answered, String> {
        let status = host::http_get_status().ok_or(NO_ANSWER)?;
        // An admin that shows no statistics can still show the runtime.
        let loads =
            if http_status(&status) == Some(200) { host::http_get_body(body_size) } else { None };
        let moved = self.poller.moved(&loads.unwrap_or_default(), host::now_ns());
        Ok(if moved { Answered::AskMore } else { Answered::Settled })
    }

    fn runtime_answered(&mut self, body_size: usize) -> Result<Answered, String> {
        let snapshot = read_runtime(body_size, &self.plugin.rollouts)?;
        if self.apply(&snapshot) {
            self.poller.read(body_size, host::now_ns());
        }
        Ok(Answered::Settled)
    }

    fn poll_failed(&mut self, reason: String) {
        self.poller.settled();
        self.metrics.poll_failure.add(1);
        if self.last_failure.as_ref() != Some(&reason) {
            warn!("canary: polling the runtime failed, the last weight holds: {reason}");
            self.last_failure = Some(reason);
        }
    }

    /// Takes what the runtime says into the shared records. False where one could not be written.
    fn apply(&self, snapshot: &Snapshot) -> bool {
        let now_ns = host::now_ns();
        let mut stored = true;
        for live in &self.plugin.rollouts {
            let name = &live.rollout.name;
            let runtime = RolloutRuntime::of(snapshot, name);
            let faults = live.control.update(|control| control.apply(&runtime, now_ns));
            stored &= faults.is_some();
            for fault in faults.into_iter().flat_map(|(_, faults)| faults) {
                self.metrics.invalid_runtime.add(1);
                let key = RuntimeKey::new(name, fault.setting);
                warn!(
                    "canary: runtime key {key} is `{}`: {}; the last good value stays",
                    fault.found, fault.error
                );
            }
            live.refresh();
            if self.plugin.shows(live) {
                live.show(now_ns);
            }
        }
        stored
    }
}

/// How a poll goes on after an answer.
enum Answered {
    /// It is over.
    Settled,
    /// The runtime has moved and is to be read.
    AskMore,
}

/// Envoy calls back without headers where the call timed out or the connection failed.
const NO_ANSWER: &str = "no answer";

/// Refuses a body signal in a module that was built without the hooks for one.
fn readable_here(config: Config) -> Result<Config, Vec<ConfigError>> {
    let body = |signal: &Signal| matches!(signal.source, Source::ResponseJson { .. });
    let found = config.rollouts.iter().enumerate().find_map(|(rollout, known)| {
        known.signals.iter().position(body).map(|signal| (rollout, signal))
    });
    match found.filter(|_| !cfg!(feature = "body")) {
        None => Ok(config),
        Some((rollout, signal)) => Err(vec![ConfigError {
            path: format!("rollouts[{rollout}].signals[{signal}].from.response_json"),
            message: "this module has no body hooks; canary_filter.wasm has".to_owned(),
        }]),
    }
}

fn read_runtime(body_size: usize, rollouts: &[Live]) -> Result<Snapshot, String> {
    let status = host::http_get_status().ok_or(NO_ANSWER)?;
    if http_status(&status) != Some(200) {
        return Err(format!("status {}", String::from_utf8_lossy(&status)));
    }
    let body = host::http_get_body(body_size).ok_or("no body")?;
    let wanted = |name: &str| rollouts.iter().any(|live| live.rollout.name == name);
    Snapshot::read(&body, wanted).map_err(|error| error.to_string())
}
