//! One served rollout: idle until a release is asked for, in a release, and after it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use canary_judge::counts::Pair;
use canary_rollout::action::Action;
use canary_rollout::inputs::EnvoyInput;
use canary_rollout::spec::Spec;
use canary_rollout::state::State;
use canary_rollout::versions::VersionSources;
use tokio::sync::watch;

use super::begin;
use super::catalog::ServedFile;
use super::journals::{self, Opened, OpenedJournal};
use crate::controller::channels::{Channels, Finished, Reporter, ServiceMode};
use crate::controller::drive::{Controller, first_status};
use crate::controller::engine::Engine;
use crate::controller::orders::{CommandRequest, ReleaseRequest, RolloutCommand};
use crate::controller::preflight;
use crate::controller::record::Start;
use crate::controller::status::{Parts, Status};
use crate::envoy::EnvoyUrl;
use crate::identity;
use crate::journal::{Journal, JournalWriter};
use crate::observe::{ExpectedWeights, FleetScrape, FleetScraper, Observer, deadline_for};
use crate::report::LiveReport;
use crate::rollout_file;
use crate::sentences;

/// The longest that a write to a journal may take before the rollout holds.
const JOURNAL_WITHIN: Duration = Duration::from_secs(2);

/// What all served rollouts have in common.
#[derive(Debug)]
pub struct Surroundings {
    /// Looks at the Envoys.
    pub observer: Observer,
    /// The Envoys of the command line or the environment.
    pub targets: Vec<EnvoyUrl>,
    /// Whether those of the command line win over the file's.
    pub targets_win: bool,
    /// The longest that one request to an Envoy may take.
    pub deadline: Duration,
    /// The folder of the journals.
    pub folder: PathBuf,
    /// The address under which people see the pages.
    pub public_url: Option<String>,
}

impl Surroundings {
    /// The Envoys of a rollout.
    fn envoys(&self, spec: &Spec) -> Vec<EnvoyUrl> {
        if self.targets_win || spec.envoys.is_empty() {
            return self.targets.clone();
        }
        // The file was checked when it was read.
        spec.envoys.iter().filter_map(|url| url.parse().ok()).collect()
    }

    async fn scraper(&self, spec: &Spec) -> FleetScraper {
        let deadline = deadline_for(self.deadline, spec.lease_seconds);
        let (observer, envoys) = (self.observer.clone(), self.envoys(spec));
        FleetScraper::new(observer, envoys, &spec.rollout, deadline).await
    }
}

/// A served rollout, with everything it owns.
pub struct ManagedRollout<A> {
    /// What it shares with the others.
    pub surroundings: Arc<Surroundings>,
    /// Its file as it is now.
    pub file: watch::Receiver<Arc<ServedFile>>,
    /// The file of the release that is under way or over, as it was recorded; empty without one.
    pub running: watch::Sender<String>,
    /// Where orders come from, and where the status goes.
    pub channels: Channels,
    /// What its page shows.
    pub report: Arc<LiveReport>,
    /// Where it reports what happens.
    pub reporter: A,
}

/// What a rollout has between two releases.
enum Rest {
    /// No release yet, or none that can be resumed, and the journal if it can be used.
    Unstarted(Option<JournalWriter>),
    /// A release, under way or over.
    Release(Box<Engine>, Vec<Action>),
}

impl<A: Reporter + Clone> ManagedRollout<A> {
    /// Runs until the process stops, or the file is removed and no release is under way.
    pub async fn run(mut self) {
        let mut rest = self.open().await;
        loop {
            let (finished, last) = match rest {
                Rest::Unstarted(journal) => (self.idle().await, Rest::Unstarted(journal)),
                Rest::Release(engine, under_way) => {
                    let (back, finished, engine) = self.release(*engine, under_way).await;
                    self = back;
                    (finished, Rest::Release(Box::new(engine), Vec::new()))
                }
            };
            rest = match finished {
                Finished::Release(request) => self.begin(request, last).await,
                Finished::Over | Finished::Stopped => return,
            };
        }
    }

    /// What the journal holds. Reading it takes a while, and delays nobody else.
    async fn open(&mut self) -> Rest {
        let (folder, file) = (self.surroundings.folder.clone(), self.current());
        let open = move || journals::open(&folder, &file);
        let opened = tokio::task::spawn_blocking(open).await;
        match opened {
            Ok(Ok(Opened { journal, notes })) => {
                notes.iter().for_each(|note| self.reporter.remark(note));
                match journal {
                    OpenedJournal::Empty(journal) => Rest::Unstarted(Some(journal)),
                    OpenedJournal::Release(engine, under_way) => {
                        Rest::Release(Box::new(engine.holding(JOURNAL_WITHIN)), under_way)
                    }
                }
            }
            Ok(Err(error)) => {
                self.reporter.remark(&error.to_string());
                Rest::Unstarted(None)
            }
            Err(_) => Rest::Unstarted(None),
        }
    }

    fn current(&self) -> Arc<ServedFile> {
        Arc::clone(&self.file.borrow())
    }

    /// Waits for a release, and shows meanwhile what the Envoys say.
    async fn idle(&mut self) -> Finished {
        self.running.send_replace(String::new());
        loop {
            let file = {
                let file = self.file.borrow_and_update();
                Arc::clone(&file)
            };
            let mut scraper = self.surroundings.scraper(&file.spec).await;
            if let Some(finished) = self.idle_with(&file, &mut scraper).await {
                return finished;
            }
        }
    }

    /// The same, until the file changes.
    async fn idle_with(
        &mut self,
        file: &ServedFile,
        scraper: &mut FleetScraper,
    ) -> Option<Finished> {
        loop {
            let Channels { orders, stop, removed, notes, status, desk } = &mut self.channels;
            tokio::select! {
                biased;
                Ok(_) = stop.wait_for(|stop| *stop) => return Some(Finished::Stopped),
                Some(request) = orders.recv() => match request.order {
                    RolloutCommand::Start(_) => return Some(Finished::Release(request)),
                    RolloutCommand::Steer(_) => {
                        let name = &file.spec.rollout;
                        request.refuse(&format!(
                            "no release of \"{name}\" has begun; `canaryctl start {name}` begins one"
                        ));
                    }
                },
                Ok(_) = removed.wait_for(|removed| *removed) => return Some(Finished::Over),
                Ok(()) = self.file.changed() => return None,
                scrape = scraper.scrape(ExpectedWeights::default(), false) => {
                    let mut now = idle_status(&file.spec, &scrape, notes());
                    now.waits_for = sentences::joined(now.waits_for, desk.shown().borrow().clone());
                    status.send_replace(Arc::new(now));
                }
            }
        }
    }

    /// Runs a release, to its end and beyond.
    async fn release(self, mut engine: Engine, under_way: Vec<Action>) -> (Self, Finished, Engine) {
        let Self { surroundings, file, running, channels, report, reporter } = self;
        running.send_replace(engine.file().to_owned());
        report.follow(&mut engine);
        channels.status.send_replace(Arc::new(first_status(&engine)));
        let scraper = surroundings.scraper(engine.spec()).await;
        let service = ServiceMode::Served;
        let folder = rollout_file::folder(&file.borrow().path).unwrap_or_default();
        let controller = Controller::new(engine, scraper, channels, reporter.clone(), service);
        let mut controller = controller.in_folder(folder);
        // A served rollout's loop gives no failure.
        let finished = controller.run(under_way).await.unwrap_or(Finished::Stopped);
        let (engine, channels, _) = controller.into_parts();
        let back = Self { surroundings, file, running, channels, report, reporter };
        (back, finished, engine)
    }

    /// Begins the release that is asked for, or says why not and goes on as before.
    async fn begin(&mut self, request: CommandRequest, last: Rest) -> Rest {
        let CommandRequest { order, reason, reply } = request;
        let RolloutCommand::Start(release) = order else { return last };
        let engine = match &last {
            Rest::Release(engine, _) => Some(engine.as_ref()),
            Rest::Unstarted(_) => None,
        };
        let start = match self.start_record(&release, engine).await {
            Ok(start) => start,
            Err(why) => {
                let _ = reply.send(Err(why));
                return last;
            }
        };
        let journal = match last {
            Rest::Release(engine, _) => Some(engine.into_journal()),
            Rest::Unstarted(journal) => journal,
        };
        match self.begin_journal(journal, start).await {
            Ok(engine) => {
                let status = first_status(&engine);
                let versions = &engine.versions();
                let label = |version: &Option<String>| version.clone().unwrap_or("?".to_owned());
                let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let rollout = &engine.spec().rollout;
                self.reporter.inform(&format!(
                    "{rollout}: release {} against {} begins{why}",
                    label(&versions.canary),
                    label(&versions.stable)
                ));
                let _ = reply.send(Ok(Arc::new(status)));
                Rest::Release(Box::new(engine), Vec::new())
            }
            Err(why) => {
                let _ = reply.send(Err(why));
                // Whatever became of the journal, it holds the last release.
                self.open().await
            }
        }
    }

    /// Checks everything that must be right before a release, and says how it begins.
    async fn start_record(
        &self,
        release: &ReleaseRequest,
        last: Option<&Engine>,
    ) -> Result<Start, String> {
        if let Some(why) = begin::refusal(last) {
            return Err(why);
        }
        let file = self.current();
        let scraper = self.surroundings.scraper(&file.spec).await;
        let predecessor = last.map(|last| last.owner().to_owned());
        let (fleet, rollout) = (scraper.fleet(), &file.spec.rollout);
        let shown = preflight::check(fleet, rollout, false, predecessor.as_deref()).await;
        let shown = shown.map_err(|failure| failure.sentence())?;
        let released = last.and_then(Engine::released);
        let (given, of_file) = (release.versions.clone(), file.spec.versions.clone());
        let sources = VersionSources { given, released: released.clone(), file: of_file, shown };
        let chosen = sources.choose();
        if let Some(version) = chosen.same() {
            return Err(format!(
                "the canary's version would be {version}, as stable's is; name another one with \
                 --canary-version"
            ));
        }
        let random = getrandom::u32().map_err(|error| error.to_string())?;
        let start = Start::new(rollout, &file.source, identity::serve(random), chosen);
        let source = release.source.clone();
        Ok(Start { predecessor, released_last: released, source, ..start })
    }

    /// Begins a journal with the release, and keeps the one before.
    async fn begin_journal(
        &self,
        journal: Option<JournalWriter>,
        start: Start,
    ) -> Result<Engine, String> {
        let (folder, file) = (&self.surroundings.folder, self.current());
        let journal = match journal {
            Some(journal) => journal,
            None => {
                let path = journals::path(folder, &start.rollout);
                let open = move || Journal::open(&path);
                let opened = tokio::task::spawn_blocking(open).await.map_err(|e| e.to_string())?;
                let (journal, _) = opened.map_err(|error| error.to_string())?;
                JournalWriter::new(journal)
            }
        };
        let kept = journals::kept(folder, &start.rollout, &start.at);
        let spec = file.spec.clone();
        let begun = Engine::begin_anew(spec, journal, start, kept, JOURNAL_WITHIN).await;
        begun.map_err(|error| error.to_string())
    }
}

/// What is shown of a rollout of which no release has begun.
pub fn idle_status(spec: &Spec, scrape: &FleetScrape, notes: Vec<String>) -> Status {
    let versions = |role: fn(&Pair<Option<String>>) -> &Option<String>| {
        scrape.envoys.values().find_map(|envoy| match envoy {
            EnvoyInput::Reached(reading) => role(&reading.versions).clone(),
            EnvoyInput::Unreachable(_) => None,
        })
    };
    let versions =
        Pair { stable: versions(|pair| &pair.stable), canary: versions(|pair| &pair.canary) };
    let state = State::new(spec, "", false);
    let mut status = Status::new(&Parts {
        spec,
        state: &state,
        waits_for: Some(format!("waits for its start: canaryctl start {}", spec.rollout)),
        versions: &versions,
        recorded: &Pair::default(),
        envoys: &scrape.envoys,
        failed: &BTreeMap::new(),
        decisions: 0,
        envoy_errors: scrape.errors.len() as u64,
        measured: None,
        totals: &scrape.totals,
        notes,
        unwritten: None,
    });
    status.idle = true;
    status
}
