//! Keeps one task per served rollout, and tells each what its file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use canary_rollout::spec::Spec;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::catalog::{Catalog, ServedFile};
use super::managed::{ManagedRollout, Surroundings, idle_status};
use super::{folders, journals, source};
use crate::api::board::{Board, BoardEntry};
use crate::controller::channels::{Channels, Notes, Reporter};
use crate::controller::orders::QUEUE;
use crate::controller::releases;
use crate::observe::FleetScrape;
use crate::report::LiveReport;
use crate::rollout_file::{self, without_secrets};

/// How often the files are read again.
const READ_EVERY: Duration = Duration::from_secs(2);
/// How long the rollouts have at the end for what they are just doing.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Supervises the served rollouts. Its tasks run on the thread that runs it.
pub struct Supervisor<A> {
    surroundings: Arc<Surroundings>,
    paths: Vec<PathBuf>,
    catalog: Catalog,
    rollouts: BTreeMap<String, RunningRollout>,
    board: Board,
    reporter: A,
    stop: watch::Receiver<bool>,
}

/// A rollout's task, and what it is told.
struct RunningRollout {
    file: watch::Sender<Arc<ServedFile>>,
    problems: watch::Sender<Vec<String>>,
    removed: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl<A: Reporter + Clone + 'static> Supervisor<A> {
    /// A supervisor of the rollouts in some files and folders.
    pub fn new(
        surroundings: Surroundings,
        paths: Vec<PathBuf>,
        board: Board,
        reporter: A,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let surroundings = Arc::new(surroundings);
        let (catalog, rollouts) = (Catalog::default(), BTreeMap::new());
        Self { surroundings, paths, catalog, rollouts, board, reporter, stop }
    }

    /// Supervises until the process has to stop, and lets the rollouts finish what they are just doing.
    pub async fn run(mut self) {
        self.read_files().await;
        self.adopt().await;
        loop {
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(READ_EVERY) => {}
            }
            self.read_files().await;
        }
        let ends = self.rollouts.into_values().map(|rollout| rollout.task);
        let _ = tokio::time::timeout(STOP_WITHIN, futures_util::future::join_all(ends)).await;
    }

    /// Reads the files, and tells each rollout what has changed.
    async fn read_files(&mut self) {
        let paths = self.paths.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || folders::read(&paths)).await else {
            return;
        };
        let changes = self.catalog.update(found, parse);
        changes.problems.iter().for_each(|problem| self.reporter.remark(problem));
        for name in &changes.removed {
            if let Some(rollout) = self.rollouts.get(name) {
                self.reporter.remark(&format!(
                    "{name}: its file is gone; a release that is under way goes on to its end"
                ));
                rollout.removed.send_replace(true);
            }
        }
        self.bury();
        for name in &changes.changed {
            self.serve(name);
        }
        for (name, rollout) in &self.rollouts {
            let problems = self.catalog.problems_of(name);
            rollout.problems.send_if_modified(|told| {
                let new = *told != problems;
                *told = problems;
                new
            });
        }
    }

    /// Takes rollouts off the board that have ended for good; one whose file is back begins anew.
    fn bury(&mut self) {
        let gone = |(name, rollout): (&String, &RunningRollout)| {
            rollout.task.is_finished().then(|| name.clone())
        };
        let gone: Vec<String> = self.rollouts.iter().filter_map(gone).collect();
        for name in gone {
            self.rollouts.remove(&name);
            self.board.remove(&name);
            self.serve(&name);
        }
    }

    /// Serves a rollout by its file as it is now, if there is one.
    fn serve(&mut self, name: &str) {
        let Some(file) = self.catalog.file(name).cloned() else { return };
        match self.rollouts.get(name) {
            Some(rollout) => {
                rollout.removed.send_replace(false);
                rollout.file.send_replace(Arc::new(file));
                self.reporter.inform(&format!("{name}: its file has changed"));
            }
            None => self.begin(file, false),
        }
    }

    /// Goes on with the releases that an earlier process left under way and whose files are gone.
    async fn adopt(&mut self) {
        let folder = self.surroundings.folder.clone();
        let served: Vec<String> = self.rollouts.keys().cloned().collect();
        let orphans =
            move || journals::orphans(&folder, |name| served.iter().any(|one| one == name));
        let orphans = tokio::task::spawn_blocking(orphans).await.unwrap_or_default();
        for file in orphans {
            self.begin(file, true);
        }
    }

    fn begin(&mut self, file: ServedFile, removed: bool) {
        let name = file.spec.rollout.clone();
        let (orders, queue) = mpsc::channel(QUEUE);
        let status = idle_status(&file.spec, &FleetScrape::default(), Vec::new());
        let (status, shown) = watch::channel(Arc::new(status));
        let (link, desk) = releases::link(orders.clone(), shown.clone());
        let file = watch::Sender::new(Arc::new(file));
        let registered = source::follow(Arc::clone(&self.surroundings), file.subscribe(), link);
        let (problems, removed) = (watch::Sender::new(Vec::new()), watch::Sender::new(removed));
        let running = watch::Sender::new(String::new());
        let notes = notes(&problems, &file, &running);
        let report = Arc::new(LiveReport::default());
        self.board.put(&name, BoardEntry { status: shown, orders, report: Arc::clone(&report) });
        let channels = Channels {
            orders: queue,
            status,
            stop: self.stop.clone(),
            notes,
            removed: removed.subscribe(),
            desk,
        };
        let managed = ManagedRollout {
            surroundings: Arc::clone(&self.surroundings),
            file: file.subscribe(),
            running,
            channels,
            report,
            reporter: self.reporter.clone(),
        };
        let task = tokio::task::spawn_local(async move {
            tokio::select! {
                () = managed.run() => {}
                () = registered => {}
            }
        });
        self.rollouts.insert(name, RunningRollout { file, problems, removed, task });
    }
}

fn parse(text: &str, path: &Path) -> Result<Spec, String> {
    rollout_file::parse(text, &path.display().to_string()).map_err(|failure| failure.sentence())
}

/// What operators are told about a rollout besides what happens in it.
fn notes(
    problems: &watch::Sender<Vec<String>>,
    file: &watch::Sender<Arc<ServedFile>>,
    running: &watch::Sender<String>,
) -> Notes {
    let (problems, file, running) = (problems.subscribe(), file.subscribe(), running.subscribe());
    Arc::new(move || {
        let mut notes = problems.borrow().clone();
        let (file, running) = (file.borrow(), running.borrow());
        if !running.is_empty() && *running != without_secrets(&file.source) {
            notes.push(format!(
                "{} has changed since this release began; the next release follows it",
                file.path.display()
            ));
        }
        notes
    })
}
