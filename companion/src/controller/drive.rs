//! The controller's loop: look, step, act, tell; again every second, and at once for a command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use canary_model::weight::Weight;
use canary_rollout::action::Action;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::{EnvoyInput, Inputs};
use canary_rollout::state::{Phase, State};

use super::act::{Actor, Written};
use super::channels::{Channels, Finished, Reporter, ServiceMode, turned_true};
use super::clocks;
use super::engine::{Effects, Engine};
use super::orders::{CommandRequest, RolloutCommand};
use super::releases::ReleaseEnd;
use super::status::{Parts, Status};
use crate::envoy::Admin;
use crate::error::{Error, Failure, LeftBehind};
use crate::observe::{ExpectedWeights, FleetScrape, FleetScraper, MeasuredShare, RequestTotals};
use crate::sentences;

/// How long the controller waits after the rollout's end for notifications to be delivered.
const DRAIN: Duration = Duration::from_secs(10);

/// The loop of one rollout, with everything it owns.
pub struct Controller<A> {
    engine: Engine,
    scraper: FleetScraper,
    actor: Actor,
    channels: Channels,
    audience: A,
    service: ServiceMode,
    ended: bool,
    /// Since when the rollout has been at its end, with notifications still on their way.
    draining: Option<Instant>,
    share: MeasuredShare,
    failed: BTreeMap<String, String>,
    envoy_errors: u64,
    totals: RequestTotals,
    /// Whether operators were told that the journal can't be written.
    told_unwritten: bool,
}

enum Next {
    Scraped(Box<FleetScrape>),
    Ordered(CommandRequest),
    Removed,
    WrittenBack(String),
    Stop,
}

/// The status of a rollout that has just begun or goes on.
pub fn first_status(engine: &Engine) -> Status {
    status(engine, &BTreeMap::new(), 0, None, &RequestTotals::default(), Vec::new())
}

fn status(
    engine: &Engine,
    failed: &BTreeMap<String, String>,
    envoy_errors: u64,
    measured: Option<f64>,
    totals: &RequestTotals,
    notes: Vec<String>,
) -> Status {
    let versions = engine.versions();
    Status::new(&Parts {
        notes,
        unwritten: engine.unwritten(),
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
    /// A controller of a rollout that begins or goes on.
    pub fn new(
        engine: Engine,
        scraper: FleetScraper,
        channels: Channels,
        audience: A,
        service: ServiceMode,
    ) -> Self {
        let ended = engine.has_ended();
        Self {
            engine,
            scraper,
            actor: Actor::default(),
            channels,
            audience,
            service,
            ended,
            draining: None,
            share: MeasuredShare::default(),
            failed: BTreeMap::new(),
            envoy_errors: 0,
            totals: RequestTotals::default(),
            told_unwritten: false,
        }
    }

    /// Has deploy commands run in the folder of the rollout file.
    #[must_use]
    pub fn in_folder(self, folder: PathBuf) -> Self {
        let actor = Actor::new(folder, self.engine.source().cloned());
        Self { actor, ..self }
    }

    /// Runs the rollout to its end, or until the process has to stop. `under_way` is what was being asked
    /// and told when an earlier controller was stopped.
    ///
    /// # Errors
    /// Where the journal can't be written, or the report can't; never for a served rollout.
    pub async fn run(&mut self, under_way: Vec<Action>) -> Result<Finished, Failure> {
        self.act(&under_way).await?;
        loop {
            match self.next().await {
                Next::Stop => {
                    if self.engine.state().phase().is_end() {
                        self.engine.end().await.map_err(Error::Journal)?;
                    }
                    return Ok(Finished::Stopped);
                }
                Next::Removed => return Ok(Finished::Over),
                Next::WrittenBack(ended_at) => self.engine.written_back(&ended_at).await,
                Next::Ordered(request) => {
                    if let Some(release) = self.handle(request).await? {
                        return Ok(Finished::Release(release));
                    }
                }
                Next::Scraped(scrape) => self.observe_fleet(*scrape).await?,
            }
            let ended = self.has_ended().await?;
            self.tell_end();
            if ended && self.service == ServiceMode::Alone {
                return Ok(Finished::Over);
            }
        }
    }

    /// What the loop had, for whoever goes on with it.
    pub fn into_parts(self) -> (Engine, Channels, A) {
        (self.engine, self.channels, self.audience)
    }

    /// Waits for what comes first. A look that a command interrupts has changed nothing.
    async fn next(&mut self) -> Next {
        let state = self.engine.state();
        let expected = ExpectedWeights {
            now: expected_weight(state),
            age: state.outcome_age(),
            at_age: state.weight_at_age(),
        };
        let starting = state.phase() == Phase::Pending;
        let (scraper, ended) = (&mut self.scraper, self.ended);
        let Channels { orders, stop, removed, desk, .. } = &mut self.channels;
        tokio::select! {
            biased;
            () = turned_true(stop) => Next::Stop,
            Some(order) = orders.recv() => Next::Ordered(order),
            () = turned_true(removed), if ended => Next::Removed,
            ended_at = desk.next_written_back() => Next::WrittenBack(ended_at),
            scrape = scraper.scrape(expected, starting) => Next::Scraped(Box::new(scrape)),
        }
    }

    async fn observe_fleet(&mut self, scrape: FleetScrape) -> Result<(), Failure> {
        let FleetScrape { envoys, observation, requests, totals, errors, notes } = scrape;
        self.totals = totals;
        self.envoy_errors += errors.len() as u64;
        let weight = expected_weight(self.engine.state());
        self.share.add(Instant::now(), Some(weight), requests.unwrap_or_default());
        if self.ended {
            // Nothing is decided any more, and so there is nothing to write down.
            self.restore(&envoys).await;
            self.publish();
            self.remark(&notes);
            return Ok(self.audience.looked(&self.channels.status.borrow())?);
        }
        self.step(Inputs { envoys, observation, ..Inputs::default() }, None).await?;
        self.remark(&notes);
        Ok(self.audience.looked(&self.channels.status.borrow())?)
    }

    /// Tells what an operator should know, once the status that goes with it is there to be asked for.
    fn remark(&mut self, notes: &[String]) {
        notes.iter().for_each(|note| self.audience.remark(note));
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

    /// Obeys or refuses; gives a release that is to begin now.
    async fn handle(&mut self, request: CommandRequest) -> Result<Option<CommandRequest>, Failure> {
        let command = match (&request.order, self.service) {
            (RolloutCommand::Steer(command), _) => *command,
            (RolloutCommand::Start(_), ServiceMode::Served) if self.ended => {
                return Ok(Some(request));
            }
            (RolloutCommand::Start(_), ServiceMode::Served) => {
                let phase = self.engine.state().phase();
                request.refuse(&format!("a release is under way already: it is {phase}"));
                return Ok(None);
            }
            (RolloutCommand::Start(_), ServiceMode::Alone | ServiceMode::Stays) => {
                request.refuse("`canaryctl run` runs one release; `canaryctl serve` starts others");
                return Ok(None);
            }
        };
        let CommandRequest { reason, reply, .. } = request;
        let seen = Inputs { commands: vec![command], ..Inputs::default() };
        let effects = self.step(seen, reason).await?;
        let refused = effects
            .replies
            .into_iter()
            .find_map(|reply| reply.refused)
            .map(|refusal| sentences::refusal(&refusal));
        let status = Arc::clone(&self.channels.status.borrow());
        // Who asked may have gone away.
        let _ = reply.send(refused.map_or(Ok(status), Err));
        Ok(None)
    }

    /// Core's step, on the disk before anything of it is done.
    async fn step(&mut self, mut seen: Inputs, reason: Option<String>) -> Result<Effects, Failure> {
        self.actor.collect(&mut seen);
        let effects =
            self.engine.advance(seen, clocks::now(), reason).await.map_err(Error::Journal)?;
        self.act(&effects.actions).await?;
        self.publish();
        self.tell_unwritten();
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
        let alone = self.service != ServiceMode::Served;
        if alone && !results.is_empty() && results.values().all(nowhere) {
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
        let notes = (self.channels.notes)();
        let (failed, errors) = (&self.failed, self.envoy_errors);
        let mut status = status(&self.engine, failed, errors, share, &self.totals, notes);
        let registry = self.channels.desk.shown().borrow().clone();
        status.waits_for = sentences::joined(status.waits_for, registry);
        self.channels.status.send_replace(Arc::new(status));
    }

    /// Whether it is over; the first time that goes into the journal. Notifications are waited for, but
    /// not long: whoever is not there to be told must not hold the end.
    async fn has_ended(&mut self) -> Result<bool, Failure> {
        let state = self.engine.state();
        let at_end = state.phase().is_end();
        let late = at_end && self.draining.get_or_insert_with(Instant::now).elapsed() > DRAIN;
        if !at_end {
            self.draining = None;
        }
        let over = state.is_over() || late || (at_end && self.ended);
        if over {
            self.engine.end().await.map_err(Error::Journal)?;
            if !self.ended {
                self.report_end();
            }
        }
        self.ended = over;
        Ok(over)
    }

    /// Tells operators, once each time, that the journal can't be written, or can again.
    fn tell_unwritten(&mut self) {
        let (rollout, unwritten) = (&self.engine.spec().rollout, self.engine.unwritten());
        if self.told_unwritten == unwritten.is_some() {
            return;
        }
        let text = match unwritten {
            Some(why) => format!("{rollout}: the journal can't be written, so it holds: {why}"),
            None => format!("{rollout}: the journal can be written again"),
        };
        self.told_unwritten = unwritten.is_some();
        self.audience.remark(&text);
    }

    /// Tells a registry of an end that has yet to be written back.
    fn tell_end(&self) {
        let end = self.engine.to_write_back().map(|ended_at| ReleaseEnd {
            versions: self.engine.versions().clone(),
            phase: self.engine.state().phase(),
            reason: self.engine.state().ending().map(sentences::termination),
            ended_at: ended_at.to_owned(),
        });
        self.channels.desk.tell(end);
    }

    /// Names the notifications that weren't delivered in time.
    fn report_end(&mut self) {
        for notice in self.engine.state().undelivered() {
            self.audience.undelivered(notice, self.engine.spec(), DRAIN);
        }
    }

    /// How a rollout that has ended, or was stopped, is told at the end of its process.
    ///
    /// # Errors
    /// Where the rollout was rolled back, or the controller was stopped before its end.
    pub fn conclude(&self) -> Result<(), Failure> {
        if !self.engine.state().phase().is_end() {
            return Err(self.stopped().into());
        }
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
