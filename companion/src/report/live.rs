//! The report of a rollout that is under way: read from the journal when somebody first asks, then kept up
//! to date in memory, and forgotten when nobody has asked for a while.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use tokio::sync::Semaphore;

use super::{RolloutReport, of_journal_until, past};
use crate::controller::engine::Engine;
use crate::controller::record::JournalRecord;
use crate::journal::Scan;

/// How long a report is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How often somebody who waits for another's reading looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Lets one journal at a time be read for its last event: a list of many rollouts asks for all of them, and
/// must not take the processor away from the loops that renew leases.
static READERS: Semaphore = Semaphore::const_new(1);

/// The last thing that happened in a rollout.
#[derive(Clone, Debug)]
pub struct LastEvent {
    /// When: RFC 3339, UTC.
    pub at: String,
    /// What happened, as data.
    pub event: RolloutEvent,
    /// The rollout file, which gives steps and gates their names.
    pub spec: Arc<Spec>,
}

/// A report that is made when it is asked for.
#[derive(Debug, Default)]
pub struct LiveReport {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The journal, and where its last whole record ends.
    journal: Option<(PathBuf, u64)>,
    content: ReportState,
    /// The recorded file, once somebody has asked for the last event; `None` inside if it can't be read.
    spec: Option<Option<Arc<Spec>>>,
    /// When something happened last, and what.
    last: Option<(String, RolloutEvent)>,
}

#[derive(Debug, Default)]
enum ReportState {
    #[default]
    Unread,
    /// Somebody is reading the journal; these records have come since.
    Reading(Vec<JournalRecord>),
    Here(Box<RolloutReport>, Instant),
}

impl LiveReport {
    /// Follows another rollout's journal from now on: a release has begun, or goes on.
    pub fn follow(self: &Arc<Self>, engine: &mut Engine) {
        let (path, end) = (engine.journal().path().to_owned(), engine.journal().end());
        let journal = Some((path, end.unwrap_or_default()));
        *self.lock() = Inner { journal, ..Inner::default() };
        let live = Arc::clone(self);
        engine.observe_records(move |records, end| live.take(records, end));
    }

    /// Adds records that were written; the journal's last one now ends at `end`.
    fn take(&self, records: Vec<JournalRecord>, end: u64) {
        let mut inner = self.lock();
        if let Some((_, last)) = &mut inner.journal {
            *last = end;
        }
        let mut steps = records.iter().rev().filter_map(|record| match record {
            JournalRecord::Step(step) => Some((&step.at, step.events.last()?)),
            _ => None,
        });
        if let Some((at, event)) = steps.next() {
            inner.last = Some((at.clone(), event.clone()));
        }
        match &mut inner.content {
            ReportState::Unread => {}
            ReportState::Reading(waiting) => waiting.extend(records),
            ReportState::Here(_, asked) if asked.elapsed() > KEPT_FOR => {
                inner.content = ReportState::Unread;
            }
            ReportState::Here(report, _) => {
                records.into_iter().for_each(|record| report.take(record))
            }
        }
    }

    /// Gives the report to somebody who shows it; `None` if there is no journal, or none that can be read.
    pub async fn show<T>(&self, show: impl Fn(&RolloutReport) -> T) -> Option<T> {
        loop {
            let journal = {
                let mut inner = self.lock();
                match &mut inner.content {
                    ReportState::Here(report, asked) => {
                        *asked = Instant::now();
                        return Some(show(report));
                    }
                    ReportState::Reading(_) => None,
                    ReportState::Unread => {
                        let journal = inner.journal.clone()?;
                        inner.content = ReportState::Reading(Vec::new());
                        Some(journal)
                    }
                }
            };
            match journal {
                Some((path, end)) => self.read(path, end).await?,
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// What happened last; `None` where nothing has, and until the journal has been read in the background,
    /// which begins when somebody asks first.
    pub fn last_event(self: &Arc<Self>) -> Option<LastEvent> {
        let mut inner = self.lock();
        if let Some(spec) = &inner.spec {
            let (at, event) = inner.last.clone()?;
            return Some(LastEvent { at, event, spec: Arc::clone(spec.as_ref()?) });
        }
        let (path, _) = inner.journal.clone()?;
        inner.spec = Some(None);
        drop(inner);
        let report = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_permit) = READERS.acquire().await else { return };
            let of = path.clone();
            let read = tokio::task::spawn_blocking(move || last_of(&of)).await.ok().flatten();
            let mut inner = report.lock();
            let same = inner.journal.as_ref().map(|(now, _)| now) == Some(&path);
            if let Some((spec, last)) = read.filter(|_| same) {
                inner.spec = Some(Some(Arc::new(spec)));
                // What has happened meanwhile is newer.
                inner.last = inner.last.take().or(last);
            }
        });
        None
    }

    async fn read(&self, path: PathBuf, end: u64) -> Option<()> {
        let of = path.clone();
        let read = tokio::task::spawn_blocking(move || of_journal_until(&of, None, end)).await;
        let read = read.ok().and_then(Result::ok).flatten();
        let mut inner = self.lock();
        if inner.journal.as_ref().map(|(now, _)| now) != Some(&path) {
            return Some(());
        }
        let waiting = match std::mem::take(&mut inner.content) {
            ReportState::Reading(waiting) => waiting,
            other => {
                // Another release has begun meanwhile.
                inner.content = other;
                return Some(());
            }
        };
        let mut report = read?;
        waiting.into_iter().for_each(|record| report.take(record));
        inner.content = ReportState::Here(Box::new(report), Instant::now());
        Some(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of the last rollout of a journal, and what happened last in it.
fn last_of(path: &Path) -> Option<(Spec, Option<(String, RolloutEvent)>)> {
    let begin = Scan::read(path).ok()?.starts.last().copied()?;
    let mut past = past(path, begin).ok()??;
    Some((past.spec?, past.events.pop()))
}
