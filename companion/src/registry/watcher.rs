//! The task beside a served rollout that follows its registry. Whatever the registry does, nothing else
//! waits for it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use canary_judge::counts::Pair;
use canary_rollout::phase::Phase;
use canary_rollout::registry::{
    self, Aliases, RegistryDecision, RegistryInputs, RegistryState, ReleaseOutcome, ReleaseResult,
    ReleaseStage, WriteBack, WriteBackAnswer,
};
use canary_rollout::spec::MlflowRegistry;
use tokio::time::Instant;

use super::client::{MlflowClient, RegistryError};
use super::memory::RegistryFile;
use crate::controller::deploy::RegistrySource;
use crate::controller::orders::ReleaseRequest;
use crate::controller::releases::{ReleaseEnd, ReleaseLink};
use crate::journal::timestamp;
use crate::sentences;

/// The first and the longest time between two attempts to write back.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What a watcher is about.
#[derive(Clone, Debug)]
pub(crate) struct WatchedRegistry {
    /// The name of the rollout.
    pub(crate) rollout: String,
    /// The registry that the rollout file names.
    pub(crate) registry: MlflowRegistry,
    /// The folder of the journals, where the watcher's memory is as well.
    pub(crate) folder: PathBuf,
    /// The address under which people see the controller's pages; for the tag `canary.report`.
    pub(crate) public_url: Option<String>,
}

/// Follows the registry. It never ends by itself and can be dropped at any time: what it began is
/// remembered, and doing it twice does no harm.
pub(crate) async fn watch(watched: WatchedRegistry, link: &mut ReleaseLink) {
    let mut watcher = begin(watched, link).await;
    loop {
        let note = watcher.poll(link).await;
        link.show(note);
        tokio::select! {
            () = tokio::time::sleep(watcher.watched.registry.poll) => {}
            Ok(()) = link.changed() => {}
        }
    }
}

/// A watcher, as soon as there can be one. Meanwhile nothing starts from this registry and nothing is lost; the
/// rollout itself goes on.
async fn begin(watched: WatchedRegistry, link: &mut ReleaseLink) -> Watcher {
    let poll = watched.registry.poll;
    loop {
        match Watcher::new(watched.clone()).await {
            Ok(watcher) => return watcher,
            Err(why) => link.show(Some(why)),
        }
        tokio::time::sleep(poll).await;
    }
}

#[derive(Debug)]
struct Watcher {
    watched: WatchedRegistry,
    client: MlflowClient,
    file: RegistryFile,
    state: RegistryState,
    /// When the next attempt to write back is due, and how long to wait after that one.
    retry: (Instant, Duration),
    /// Why the last attempt failed.
    undelivered: Option<String>,
    /// Results that the registry refused since the last end, with its words.
    refused: Vec<(WriteBack, String)>,
}

impl Watcher {
    async fn new(watched: WatchedRegistry) -> Result<Self, String> {
        let client = MlflowClient::new(watched.registry.clone())?;
        let file = RegistryFile::new(&watched.folder, &watched.rollout);
        let state = match file.read().await? {
            Some(state) => state,
            None => {
                // What ended before there was a registry isn't reported to it.
                let state = RegistryState::new(timestamp(SystemTime::now()));
                file.write(&state).await?;
                state
            }
        };
        let retry = (Instant::now(), FIRST_RETRY);
        Ok(Self { watched, client, file, state, retry, undelivered: None, refused: Vec::new() })
    }

    /// Looks once: writes back, asks, decides, and starts what is to be started. Returns what operators
    /// should know.
    async fn poll(&mut self, link: &ReleaseLink) -> Option<String> {
        let answers = self.deliver().await;
        let asked = self.client.aliases().await;
        let mut decision = None;
        let ended = link.to_write_back();
        let end = ended.as_ref().and_then(result).map(ReleaseStage::Ended);
        let stages = end.into_iter().chain([stage(link)]);
        for (stage, answers) in stages.zip([answers, Vec::new()]) {
            decision = match self.step(stage, asked.as_ref().ok().cloned(), answers, link).await {
                Ok(decision) => Some(decision),
                // Nothing is done that a restart would not know of.
                Err(why) => return Some(why),
            };
        }
        if let Some(end) = ended.filter(|_| self.state.pending().is_empty()) {
            link.written_back(&end).await;
        }
        let start = match &decision {
            Some(RegistryDecision::Start { candidate, champion }) => {
                self.start(candidate, champion.as_ref(), link).await.err()
            }
            _ => None,
        };
        sentences::registry(&sentences::RegistryView {
            registry: &self.watched.registry,
            unreachable: asked.as_ref().err().map(RegistryError::why),
            decision: decision.as_ref(),
            not_started: start.as_deref(),
            pending: self.state.pending(),
            undelivered: self.undelivered.as_deref(),
            refused: &self.refused,
        })
    }

    /// One step of the policy; what changed is on the disk before anything is done about it.
    async fn step(
        &mut self,
        release: ReleaseStage,
        aliases: Option<Aliases>,
        answers: Vec<WriteBackAnswer>,
        link: &ReleaseLink,
    ) -> Result<RegistryDecision, String> {
        let stable = link.status.borrow().stable.version.clone();
        let inputs = RegistryInputs { aliases, release, stable, answers };
        let stepped = registry::step(&self.state, &inputs);
        if stepped.state != self.state {
            self.file.write(&stepped.state).await?;
        }
        if !stepped.state.same_end(&self.state) {
            self.refused.clear();
        }
        self.refused.extend(stepped.refused);
        self.state = stepped.state;
        Ok(stepped.decision)
    }

    async fn start(
        &self,
        candidate: &str,
        champion: Option<&String>,
        link: &ReleaseLink,
    ) -> Result<(), String> {
        let artifact = self.client.download_uri(candidate).await;
        let artifact = artifact.map_err(|error| error.why().to_owned())?;
        let MlflowRegistry { model, candidate: alias, .. } = &self.watched.registry;
        let source = format!("models:/{model}/{candidate}");
        let release = ReleaseRequest {
            versions: Pair { stable: champion.cloned(), canary: Some(candidate.to_owned()) },
            source: Some(RegistrySource { source, artifact }),
        };
        link.start(release, &format!("{model} {candidate} has the alias {alias}")).await
    }

    /// Writes back what is due, oldest first, until the registry fails.
    async fn deliver(&mut self) -> Vec<WriteBackAnswer> {
        let mut answers = Vec::new();
        let (due, wait) = self.retry;
        if self.state.pending().is_empty() {
            self.retry = (Instant::now(), FIRST_RETRY);
            self.undelivered = None;
        } else if Instant::now() >= due {
            for one in self.state.pending() {
                match self.write_back(one).await {
                    Ok(()) => answers.push(WriteBackAnswer::Delivered(one.number)),
                    Err(RegistryError::Refused(why)) => {
                        answers.push(WriteBackAnswer::Refused(one.number, why));
                    }
                    Err(RegistryError::Unavailable(why)) => {
                        self.undelivered = Some(why);
                        self.retry = (Instant::now() + wait, (wait * 2).min(LONGEST_RETRY));
                        break;
                    }
                }
            }
        }
        answers
    }

    /// Sets the version's tags, and then the alias. The outcome is the last tag: who sees it finds all others.
    async fn write_back(&self, one: &WriteBack) -> Result<(), RegistryError> {
        let WatchedRegistry { rollout, public_url, .. } = &self.watched;
        let ReleaseResult { version, outcome, reason, ended_at, .. } = &one.release;
        let report = public_url.as_ref().map(|url| sentences::report_link(url, rollout));
        let tags = [
            ("rollout", Some(rollout.as_str())),
            ("reason", Some(reason.as_str())),
            ("ended_at", Some(ended_at.as_str())),
            ("report", report.as_deref()),
            ("outcome", Some(outcome.as_str())),
        ];
        for (tag, value) in tags {
            if let Some(value) = value {
                self.client.set_tag(version, &format!("canary.{tag}"), value).await?;
            }
        }
        match &one.champion {
            Some(champion) => self.client.set_champion(champion).await,
            None => Ok(()),
        }
    }
}

/// An end as the registry is told; `None` if no version is known.
fn result(end: &ReleaseEnd) -> Option<ReleaseResult> {
    let outcome = match end.phase {
        Phase::Healthy => ReleaseOutcome::Healthy,
        Phase::Measured => ReleaseOutcome::Measured,
        _ => ReleaseOutcome::Degraded,
    };
    Some(ReleaseResult {
        version: end.versions.canary.clone()?,
        stable: end.versions.stable.clone(),
        outcome,
        reason: end.reason.clone().unwrap_or_default(),
        ended_at: end.ended_at.clone(),
    })
}

/// Where the release is that is under way, if one is.
fn stage(link: &ReleaseLink) -> ReleaseStage {
    let status = link.status.borrow();
    match &status.canary.version {
        Some(version) if !status.idle && !status.has_ended() => ReleaseStage::Running {
            version: version.clone(),
            stable: status.stable.version.clone(),
        },
        _ => ReleaseStage::NotStarted,
    }
}
