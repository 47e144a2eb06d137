//! The report of a rollout that is under way: read from the journal when somebody first asks, then kept up
//! to date in memory, and forgotten when nobody has asked for a while.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;

use super::{RolloutReport, of_journal_until};
use crate::controller::engine::Engine;
use crate::controller::recent::RecentEvents;
use crate::controller::record::JournalRecord;

/// How long a report is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How often somebody who waits for another's reading looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Something that happened in a rollout, with what gives it words.
#[derive(Clone, Debug)]
pub struct RecentEvent {
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
    /// The file of the release that is followed; `None` before the first.
    spec: Option<Arc<Spec>>,
    recent: RecentEvents,
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
        let (spec, recent) = (Some(Arc::new(engine.spec().clone())), engine.recent().clone());
        *self.lock() = Inner { journal, content: ReportState::Unread, spec, recent };
        let live = Arc::clone(self);
        engine.observe_records(move |records, end| live.take(records, end));
    }

    /// Adds records that were written; the journal's last one now ends at `end`.
    fn take(&self, records: Vec<JournalRecord>, end: u64) {
        let mut inner = self.lock();
        if let Some((_, last)) = &mut inner.journal {
            *last = end;
        }
        for record in &records {
            if let JournalRecord::Step(step) = record {
                inner.recent.add(step);
            }
        }
        match &mut inner.content {
            ReportState::Unread => {}
            ReportState::Reading(waiting) => waiting.extend(records),
            ReportState::Here(_, asked) if asked.elapsed() > KEPT_FOR => {
                inner.content = ReportState::Unread;
            }
            ReportState::Here(report, _) => {
                records.into_iter().for_each(|record| report.take(record));
                report.summarize();
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

    /// What happened last, oldest first, also before a restart of the controller. Nothing is read for it.
    pub fn recent(&self) -> Vec<RecentEvent> {
        let inner = self.lock();
        let Some(spec) = &inner.spec else { return Vec::new() };
        let event = |(at, event): &(String, RolloutEvent)| RecentEvent {
            at: at.clone(),
            event: event.clone(),
            spec: Arc::clone(spec),
        };
        inner.recent.iter().map(event).collect()
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
        report.summarize();
        inner.content = ReportState::Here(Box::new(report), Instant::now());
        Some(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
