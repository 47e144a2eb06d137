//! Doing what core says. What came of it comes back as something seen: of writes at the next look,
//! of questions and messages as an [`Completion`]. Nothing here waits for a hook.

use std::collections::BTreeMap;
use std::path::PathBuf;

use canary_judge::observation::Measurement;
use canary_judge::spec::{MetricRule, PrometheusSpec};
use canary_rollout::action::{self, Action};
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::{DeliveryReport, DeployAnswer, GateAnswer, Inputs};
use canary_rollout::spec::{DeployHook, Spec};
use canary_rollout::state::State;
use reqwest::{Client, ClientBuilder};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::deploy::{self, DeployRequest, RegistrySource};
use super::hooks::{self, Payload};
use super::prometheus;
use crate::envoy::{Admin, Fleet};
use crate::error::Error;
use crate::http;

/// How many answers wait at most.
const QUEUE: usize = 256;

/// What came of a question or a message.
#[derive(Debug)]
pub enum Completion {
    /// A gate was asked; this is its answer.
    Gate(GateAnswer),
    /// A metric's, by its name.
    Measured(String, Measurement),
    /// A deploy hook has ended.
    Deployed(DeployAnswer),
    /// A notification was sent, or could not be.
    Told(DeliveryReport),
}

/// Does things, some of them in the background; what is under way ends with it.
#[derive(Debug)]
pub struct Actor {
    clients: HttpClients,
    /// In which folder deploy commands run: that of the rollout file.
    folder: PathBuf,
    /// Where the version comes from, if a registry knows.
    source: Option<RegistrySource>,
    /// The deploy hooks that are under way, by the number of the call.
    deploys: BTreeMap<u32, AbortHandle>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Completion>,
    answers: mpsc::Receiver<Completion>,
}

/// Who asks and tells. A system without certificates, such as a container of one file, can't speak
/// https, and plain http all the same.
#[derive(Debug)]
struct HttpClients {
    plain: Result<Client, String>,
    tls: Result<Client, String>,
}

impl HttpClients {
    fn new() -> Self {
        let built = |client: ClientBuilder| client.build().map_err(|error| http::cause(&error));
        let client = http::outside;
        Self { plain: built(http::plain(client())), tls: built(client()) }
    }

    /// The client that can ask this address, or why none can.
    fn for_url(&self, url: &str) -> Result<Client, String> {
        if http::is_plain(url)? { self.plain.clone() } else { self.tls.clone() }
    }
}

/// What came of the writes of one step.
#[derive(Debug, Default)]
pub struct Written {
    /// Envoys that were written, with the error where there was one.
    pub results: BTreeMap<String, Option<Error>>,
}

impl Default for Actor {
    fn default() -> Self {
        let (sender, answers) = mpsc::channel(QUEUE);
        Self {
            clients: HttpClients::new(),
            folder: PathBuf::from("."),
            source: None,
            deploys: BTreeMap::new(),
            tasks: JoinSet::new(),
            sender,
            answers,
        }
    }
}

impl Actor {
    /// An actor whose deploy commands run in a rollout file's folder, for a version that may come from a
    /// registry.
    pub fn new(folder: PathBuf, source: Option<RegistrySource>) -> Self {
        Self { folder, source, ..Self::default() }
    }

    /// Does all of it. Writes are done when this returns, the rest is under way. `describe` gives the
    /// sentence that a notification carries.
    pub async fn act(
        &mut self,
        actions: &[Action],
        spec: &Spec,
        state: &State,
        fleet: &Fleet,
        describe: impl Fn(&RolloutEvent) -> String,
    ) -> Written {
        while self.tasks.try_join_next().is_some() {}
        let mut written = Written::default();
        for action in actions {
            match action {
                Action::Write { envoys, target, nonce } => {
                    let update = action::update(&spec.rollout, target, nonce);
                    let wanted = |url: &str| envoys.iter().any(|envoy| envoy == url);
                    let write = async |admin: &Admin| admin.modify(&update).await;
                    for report in fleet.some(wanted, write).await {
                        written.results.insert(report.url, report.result.err());
                    }
                }
                Action::CancelDeploy { attempt } => {
                    // Its process group is killed with it.
                    if let Some(hook) = self.deploys.remove(attempt) {
                        hook.abort();
                    }
                }
                other => self.start(other, spec, state, &describe),
            }
        }
        written
    }

    /// Puts everything that was answered since into what is seen.
    pub fn collect(&mut self, seen: &mut Inputs) {
        while let Ok(answer) = self.answers.try_recv() {
            match answer {
                Completion::Gate(answer) => seen.gates.push(answer),
                Completion::Told(delivery) => seen.notified.push(delivery),
                Completion::Deployed(answer) => {
                    self.deploys.remove(&answer.attempt);
                    seen.deployed.push(answer);
                }
                Completion::Measured(metric, measurement) => {
                    seen.measurements.insert(metric, measurement);
                }
            }
        }
    }

    fn start(
        &mut self,
        action: &Action,
        spec: &Spec,
        state: &State,
        describe: &impl Fn(&RolloutEvent) -> String,
    ) {
        let http = match self.clients.for_url(address(action, spec)) {
            Ok(http) => http,
            Err(why) => return self.answer(without_client(action, &why)),
        };
        match action {
            Action::AskGate { gate: index, attempt } => {
                let Some(gate) = spec.gates.get(*index).cloned() else { return };
                let payload = Payload::of_gate(spec, state, *index, *attempt);
                let index = *index;
                self.spawn(async move {
                    Completion::Gate(hooks::ask(&http, index, &gate, &payload).await)
                });
            }
            Action::Measure { metric } => {
                let Some(query) = query(spec, metric).cloned() else { return };
                let (metric, folder) = (metric.clone(), self.folder.clone());
                self.spawn(async move {
                    let measured = prometheus::measure(&http, &query, &folder).await;
                    Completion::Measured(metric, measured)
                });
            }
            Action::Deploy { role, version, attempt } => {
                let Some(deploy) = spec.deploy.clone() else { return };
                let request = DeployRequest {
                    rollout: spec.rollout.clone(),
                    role: *role,
                    version: version.clone(),
                    attempt: *attempt,
                    source: self.source.clone(),
                    folder: self.folder.clone(),
                };
                let hook = self.spawn(async move {
                    Completion::Deployed(deploy::deploy(&http, &deploy, &request).await)
                });
                self.deploys.insert(*attempt, hook);
            }
            Action::Notify(notice) => {
                let Some(hook) = spec.notify.get(notice.hook) else { return };
                let (url, number) = (hook.url.clone(), notice.number);
                let message = describe(&notice.event);
                let payload = Payload::of_notice(spec, state, notice, &message);
                self.spawn(async move {
                    Completion::Told(hooks::tell(&http, number, &url, &payload).await)
                });
            }
            Action::Write { .. } | Action::CancelDeploy { .. } => {}
        }
    }

    fn spawn(&mut self, work: impl Future<Output = Completion> + Send + 'static) -> AbortHandle {
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            // Who does not listen any more has no use for it.
            let _ = sender.send(work.await).await;
        })
    }

    fn answer(&self, answer: Option<Completion>) {
        if let Some(answer) = answer {
            let _ = self.sender.try_send(answer);
        }
    }
}

/// The answer where there is no HTTP client to ask with.
fn without_client(action: &Action, why: &str) -> Option<Completion> {
    Some(match action {
        Action::AskGate { gate, .. } => {
            Completion::Gate(GateAnswer { gate: *gate, passed: false, said: why.to_owned() })
        }
        Action::Measure { metric } => {
            Completion::Measured(metric.clone(), Measurement::Outage(why.to_owned()))
        }
        Action::Notify(notice) => {
            Completion::Told(DeliveryReport { notice: notice.number, delivered: false })
        }
        Action::Deploy { attempt, .. } => {
            Completion::Deployed(DeployAnswer { attempt: *attempt, failed: Some(why.to_owned()) })
        }
        Action::Write { .. } | Action::CancelDeploy { .. } => return None,
    })
}

/// Whom an action asks or tells; nothing where it's nobody.
fn address<'s>(action: &Action, spec: &'s Spec) -> &'s str {
    let url = match action {
        Action::AskGate { gate, .. } => spec.gates.get(*gate).map(|gate| &gate.url),
        Action::Measure { metric } => query(spec, metric).map(|query| &query.address),
        Action::Notify(notice) => spec.notify.get(notice.hook).map(|hook| &hook.url),
        Action::Deploy { .. } => match spec.deploy_hook() {
            Some(DeployHook::Url(url)) => Some(url),
            // A command needs no certificates.
            Some(DeployHook::Command(_)) | None => return "http://",
        },
        Action::Write { .. } | Action::CancelDeploy { .. } => None,
    };
    url.map_or("", String::as_str)
}

fn query<'s>(spec: &'s Spec, metric: &str) -> Option<&'s PrometheusSpec> {
    let of_name = spec.analysis.metrics.iter().find(|one| one.name == metric)?;
    match &of_name.rule {
        MetricRule::Prometheus(query) => Some(query),
        _ => None,
    }
}
