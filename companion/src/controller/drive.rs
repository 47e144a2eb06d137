//! The controller's loop: look, step, act, tell; again every second, and at once for a command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use canary_model::weight::Weight;
use canary_rollout::HostClocks;
use canary_rollout::action::{Action, Notification};
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::{EnvoyInput, Inputs, OperatorCommand};
use canary_rollout::spec::Spec;
use canary_rollout::state::{Phase, State};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::act::{Actor, Written};
use super::engine::{Effects, Engine};
use super::status::{Parts, Status};
use crate::envoy::Admin;
use crate::error::{Error, Failure, LeftBehind};
use crate::observe::{ExpectedWeights, FleetScrape, FleetScraper, MeasuredShare, RequestTotals};
use crate::sentences;

/// How long the controller waits after the rollout's end for notifications to be delivered.
const DRAIN: Duration = Duration::from_secs(10);

/// How many commands wait at most.
pub const QUEUE: usize = 16;

/// A command on its way to the controller.
#[derive(Debug)]
pub struct CommandRequest {
    /// What is asked for.
    pub command: OperatorCommand,
    /// Where the answer goes: the rollout's status after the command, or why it was refused.
    pub reply: oneshot::Sender<Result<Arc<Status>, String>>,
}

/// Where the controller reports what happens. It renders: the controller itself only has data.
pub trait Reporter {
    /// An event as a sentence, for the notifications that carry one.
    fn describe(&self, event: &RolloutEvent, spec: &Spec) -> String;

    /// Reports new events.
    ///
    /// # Errors
    /// If the report can't be written any more.
    fn happened(
        &mut self,
        events: &[RolloutEvent],
        spec: &Spec,
        status: &Status,
    ) -> Result<(), Error>;

    /// Reports the status after a scrape.
    ///
    /// # Errors
    /// If the report can't be written any more.
    fn looked(&mut self, status: &Status) -> Result<(), Error>;

    /// Whether the report shows why a rollout ended, so that the closing message needn't say it again.
    fn shows_reason(&self) -> bool;

    /// Reports a notification that was given up `within` after the rollout's end.
    fn undelivered(&mut self, notice: &Notification, spec: &Spec, within: Duration);

    /// Reports a warning outside of the events.
    fn remark(&mut self, text: &str);
}

/// Where commands come from, and where the status goes.
#[derive(Debug)]
pub struct Channels {
    /// Operators' commands, from the API to the loop.
    pub orders: mpsc::Receiver<CommandRequest>,
    /// The current status, from the loop to the API.
    pub status: watch::Sender<Arc<Status>>,
}

/// The loop of one rollout, with everything it owns.
pub struct Controller<A> {
    engine: Engine,
    scraper: FleetScraper,
    actor: Actor,
    channels: Channels,
    audience: A,
    stay: bool,
    ended: bool,
    /// Since when the rollout has been at its end, with notifications still on their way.
    draining: Option<Instant>,
    share: MeasuredShare,
    failed: BTreeMap<String, String>,
    envoy_errors: u64,
    totals: RequestTotals,
}

enum Next {
    Scraped(Box<FleetScrape>),
    Ordered(CommandRequest),
    Stop,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let on = |kind| signal(kind).map_err(Error::System);
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The status of a rollout that has just begun or goes on.
pub fn first_status(engine: &Engine) -> Status {
    status(engine, &BTreeMap::new(), 0, None, &RequestTotals::default())
}

fn status(
    engine: &Engine,
    failed: &BTreeMap<String, String>,
    envoy_errors: u64,
    measured: Option<f64>,
    totals: &RequestTotals,
) -> Status {
    let versions = engine.versions();
    Status::new(&Parts {
        spec: engine.spec(),
        state: engine.state(),
        waits_for: sentences::waits_for(engine.blockers()),
        versions: &versions,
        recorded: engine.recorded(),
        envoys: engine.envoys(),
        failed,
        decisions: engine.decisions(),
        envoy_errors,
        measured,
        totals,
    })
}

impl<A: Reporter> Controller<A> {
    /// A controller; with `stay` it goes on serving after the rollout's end.
    pub fn new(
        engine: Engine,
        scraper: FleetScraper,
        channels: Channels,
        audience: A,
        stay: bool,
    ) -> Self {
        let ended = engine.has_ended();
        Self {
            engine,
            scraper,
            actor: Actor::default(),
            channels,
            audience,
            stay,
            ended,
            draining: None,
            share: MeasuredShare::default(),
            failed: BTreeMap::new(),
            envoy_errors: 0,
            totals: RequestTotals::default(),
        }
    }

    /// Has deploy commands run in the folder of the rollout file.
    #[must_use]
    pub fn in_folder(self, folder: PathBuf) -> Self {
        let actor = Actor::new(folder, self.engine.source().cloned());
        Self { actor, ..self }
    }

    /// Runs the rollout to its end, or until a signal. `under_way` is what was being asked and told
    /// when an earlier controller was stopped.
    ///
    /// # Errors
    /// Where the rollout was rolled back, the controller was stopped, or the journal can't be written.
    pub async fn run(mut self, tick: Duration, under_way: Vec<Action>) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.act(&under_way).await?;
        loop {
            match self.next(&mut ticks, &mut signals).await {
                Next::Stop if self.engine.state().phase().is_end() => {
                    self.engine.end().map_err(Error::Journal)?;
                    return self.conclude();
                }
                Next::Stop => return Err(self.stopped().into()),
                Next::Ordered(order) => self.handle_command(order).await?,
                Next::Scraped(scrape) => self.observe_fleet(*scrape).await?,
            }
            if self.has_ended()? && !self.stay {
                return self.conclude();
            }
        }
    }

    /// Waits for what comes first. A scrape that a command interrupts has changed nothing.
    async fn next(&mut self, ticks: &mut Interval, signals: &mut Signals) -> Next {
        let state = self.engine.state();
        let expected = ExpectedWeights {
            now: expected_weight(state),
            age: state.outcome_age(),
            at_age: state.weight_at_age(),
        };
        let starting = state.phase() == Phase::Pending;
        let scraper = &mut self.scraper;
        let scrape = async {
            ticks.tick().await;
            scraper.scrape(expected, starting).await
        };
        tokio::select! {
            biased;
            () = signals.any() => Next::Stop,
            Some(order) = self.channels.orders.recv() => Next::Ordered(order),
            scrape = scrape => Next::Scraped(Box::new(scrape)),
        }
    }

    async fn observe_fleet(&mut self, scrape: FleetScrape) -> Result<(), Failure> {
        let FleetScrape { envoys, observation, requests, totals, errors, notes } = scrape;
        self.totals = totals;
        self.envoy_errors += errors.len() as u64;
        let weight = expected_weight(self.engine.state());
        self.share.add(Instant::now(), Some(weight), requests.unwrap_or_default());
        notes.iter().for_each(|note| self.audience.remark(note));
        if self.ended {
            // Nothing is decided any more, and so there is nothing to write down.
            self.restore(&envoys).await;
            self.publish();
            return Ok(self.audience.looked(&self.channels.status.borrow())?);
        }
        self.step(Inputs { envoys, observation, ..Inputs::default() }).await?;
        Ok(self.audience.looked(&self.channels.status.borrow())?)
    }

    /// Gives Envoys that have restarted since the end their final state back, only where it is missing. What
    /// differs otherwise is shown.
    async fn restore(&mut self, envoys: &BTreeMap<String, EnvoyInput>) {
        let after = self.engine.after_end(envoys);
        self.failed = after
            .differing
            .into_iter()
            .map(|(url, mismatch)| {
                let differs = sentences::mismatch(&mismatch);
                (url, format!("{differs}; it was changed after the end"))
            })
            .collect();
        let rollout = &self.engine.spec().rollout;
        for restoration in &after.restore {
            let update = restoration.update(rollout);
            let this = |url: &str| url == restoration.envoy;
            let write = async |admin: &Admin| admin.modify(&update).await;
            for reply in self.scraper.fleet().some(this, write).await {
                if let Err(error) = reply.result {
                    self.envoy_errors += 1;
                    self.failed.insert(reply.url, error.to_string());
                }
            }
        }
    }

    async fn handle_command(&mut self, order: CommandRequest) -> Result<(), Failure> {
        let seen = Inputs { commands: vec![order.command], ..Inputs::default() };
        let effects = self.step(seen).await?;
        let refused = effects
            .replies
            .into_iter()
            .find_map(|reply| reply.refused)
            .map(|refusal| sentences::refusal(&refusal));
        let status = Arc::clone(&self.channels.status.borrow());
        // Who asked may have gone away.
        let _ = order.reply.send(refused.map_or(Ok(status), Err));
        Ok(())
    }

    /// Core's step, on the disk before anything of it is done.
    async fn step(&mut self, mut seen: Inputs) -> Result<Effects, Failure> {
        self.actor.collect(&mut seen);
        let effects = self.engine.advance(seen, now()).map_err(Error::Journal)?;
        self.act(&effects.actions).await?;
        self.publish();
        if !effects.events.is_empty() {
            let (spec, status) = (self.engine.spec(), self.channels.status.borrow());
            self.audience.happened(&effects.events, spec, &status)?;
        }
        Ok(effects)
    }

    async fn act(&mut self, actions: &[Action]) -> Result<(), Failure> {
        let (spec, state) = (self.engine.spec(), self.engine.state());
        let describe = |event: &RolloutEvent| self.audience.describe(event, spec);
        let fleet = self.scraper.fleet();
        let Written { results } = self.actor.act(actions, spec, state, fleet, describe).await;
        let nowhere = |error: &Option<Error>| matches!(error, Some(Error::NoAdminLayer { .. }));
        if !results.is_empty() && results.values().all(nowhere) {
            let errors: Vec<Error> = results.into_values().flatten().collect();
            let total = errors.len();
            return Failure::of_some(errors, total).map_or(Ok(()), Err);
        }
        for (url, error) in results {
            match error {
                Some(error) => {
                    self.envoy_errors += 1;
                    self.failed.insert(url, error.to_string());
                }
                None => {
                    self.failed.remove(&url);
                }
            }
        }
        Ok(())
    }

    fn publish(&self) {
        let share = self.share.share();
        let status = status(&self.engine, &self.failed, self.envoy_errors, share, &self.totals);
        self.channels.status.send_replace(Arc::new(status));
    }

    /// Whether it is over; the first time that goes into the journal. Notifications are waited for, but
    /// not long: whoever is not there to be told must not hold the end.
    fn has_ended(&mut self) -> Result<bool, Failure> {
        let state = self.engine.state();
        let at_end = state.phase().is_end();
        let late = at_end && self.draining.get_or_insert_with(Instant::now).elapsed() > DRAIN;
        if !at_end {
            self.draining = None;
        }
        let over = state.is_over() || late || (at_end && self.ended);
        if over {
            self.engine.end().map_err(Error::Journal)?;
            if !self.ended {
                self.report_end();
            }
        }
        self.ended = over;
        Ok(over)
    }

    /// Names the notifications that weren't delivered in time.
    fn report_end(&mut self) {
        for notice in self.engine.state().undelivered() {
            self.audience.undelivered(notice, self.engine.spec(), DRAIN);
        }
    }

    fn conclude(&self) -> Result<(), Failure> {
        if self.engine.state().phase() != Phase::Degraded {
            return Ok(());
        }
        let reason = self.engine.state().ending().map(sentences::termination);
        let reason = reason.filter(|_| !self.audience.shows_reason()).unwrap_or_default();
        Err(Error::Degraded { rollout: self.engine.spec().rollout.clone(), reason }.into())
    }

    fn stopped(&self) -> Error {
        let status = self.channels.status.borrow();
        let left = match (status.phase, status.weight.set) {
            (Phase::Pending | Phase::Deploying, _) | (_, None) => LeftBehind::Nothing,
            // Stable is being replaced, and no lease returns traffic to it.
            (_, Some(percent)) if self.engine.state().is_finalizing() => {
                LeftBehind::Unleased { percent }
            }
            (_, Some(percent)) => {
                LeftBehind::Leased { percent, lease_seconds: self.engine.spec().lease_seconds }
            }
        };
        Error::Stopped(left)
    }
}

/// The weight that the Envoys should have in force: the target's, and after the end the final one.
fn expected_weight(state: &State) -> Weight {
    let target = state.target().map(|target| target.weight);
    target.or_else(|| state.final_weight()).unwrap_or_default()
}

/// The host's clocks: the time since boot for durations, and the time of day for people.
fn now() -> HostClocks {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(boot.tv_nsec).unwrap_or(0);
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    HostClocks { monotonic: Duration::new(seconds, nanos), unix: unix.as_secs() }
}
