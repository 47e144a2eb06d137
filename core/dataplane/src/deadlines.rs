//! The deadlines of `failure.overdue`: which requests in flight run into one.
//!
//! Each kind of deadline lasts equally long for all of a rollout's requests, so the oldest entry of a
//! kind's queue is always the next to pass. An entry whose deadline was stopped or started again stays
//! until half of the queue consists of such entries. So each call takes constant time on average, and
//! the memory is bounded by twice the number of requests in flight.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use canary_model::config::Overdue;

/// The kinds of deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The response's headers must come.
    Answer = 0,
    /// The first byte of its body, or its first event with content, must come.
    FirstByte = 1,
    /// The next chunk of its body must come.
    Idle = 2,
}

/// A deadline that doesn't run.
const NEVER: u64 = u64::MAX;

/// Below this length, a queue isn't worth cleaning.
const SMALL: usize = 64;

/// One request under deadlines. The queues and the request share it, so it says of a request that is
/// over what was to be said of it.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    /// What is known of the request.
    pub(crate) subject: T,
    /// When each deadline passes, by the host's monotonic clock.
    due_ns: [Cell<u64>; 3],
}

/// A deadline that has passed.
#[derive(Debug)]
pub(crate) struct Passed<T> {
    /// The request that it belongs to.
    pub(crate) watched: Rc<Watched<T>>,
    /// The deadline that passed first.
    pub(crate) deadline: Deadline,
    /// When it passed, on the process-wide clock.
    pub(crate) due_ns: u64,
}

/// The deadlines of one rollout in one worker. They die with the worker, and so does what they watch.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    queues: [Queue<T>; 3],
}

#[derive(Debug)]
struct Queue<T> {
    kind: Deadline,
    limit_ns: Option<u64>,
    entries: VecDeque<(u64, Rc<Watched<T>>)>,
    /// So many entries are of deadlines that were stopped.
    stale: usize,
}

impl<T> Watched<T> {
    fn due(&self, kind: Deadline) -> Option<&Cell<u64>> {
        self.due_ns.get(kind as usize)
    }

    /// The deadline that passes first, and when.
    fn next(&self) -> (u64, Deadline) {
        let kinds = [Deadline::Answer, Deadline::FirstByte, Deadline::Idle];
        let due = |kind| (self.due(kind).map_or(NEVER, Cell::get), kind);
        kinds.map(due).into_iter().min_by_key(|(due, _)| *due).unwrap_or((NEVER, Deadline::Answer))
    }
}

impl<T> Deadlines<T> {
    /// No request is watched yet.
    pub(crate) fn new(overdue: &Overdue) -> Self {
        let queue = |kind, limit: Option<Duration>| Queue {
            kind,
            limit_ns: limit.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(NEVER)),
            entries: VecDeque::new(),
            stale: 0,
        };
        let queues = [
            queue(Deadline::Answer, overdue.answer),
            queue(Deadline::FirstByte, overdue.first_byte),
            queue(Deadline::Idle, overdue.idle),
        ];
        Self { queues }
    }

    /// Watches a request, of which no deadline runs yet.
    pub(crate) fn watch(&self, subject: T) -> Rc<Watched<T>> {
        Rc::new(Watched { subject, due_ns: [const { Cell::new(NEVER) }; 3] })
    }

    /// Starts a deadline from now, again if it ran already. It doesn't run if it isn't configured.
    pub(crate) fn start(&mut self, kind: Deadline, watched: &Rc<Watched<T>>, now_ns: u64) {
        self.stop(kind, watched);
        if let Some(queue) = self.queues.get_mut(kind as usize)
            && let (Some(limit), Some(due)) = (queue.limit_ns, watched.due(kind))
        {
            due.set(now_ns.saturating_add(limit));
            queue.entries.push_back((due.get(), Rc::clone(watched)));
        }
    }

    /// What a deadline waits for has come.
    pub(crate) fn stop(&mut self, kind: Deadline, watched: &Watched<T>) {
        if let Some(queue) = self.queues.get_mut(kind as usize)
            && let Some(due) = watched.due(kind)
            && due.replace(NEVER) != NEVER
        {
            queue.stale += 1;
            queue.clean();
        }
    }

    /// The request is over, or no deadline of it matters any more.
    pub(crate) fn stop_all(&mut self, watched: &Watched<T>) {
        for kind in [Deadline::Answer, Deadline::FirstByte, Deadline::Idle] {
            self.stop(kind, watched);
        }
    }

    /// Takes a request's deadline that has passed. None of the request's deadlines runs any more.
    pub(crate) fn take(&mut self, watched: &Rc<Watched<T>>, now_ns: u64) -> Option<Passed<T>> {
        let (due_ns, deadline) = watched.next();
        if due_ns > now_ns {
            return None;
        }
        self.stop_all(watched);
        Some(Passed { watched: Rc::clone(watched), deadline, due_ns })
    }

    /// Takes the next deadline that has passed, of any request.
    pub(crate) fn expire(&mut self, now_ns: u64) -> Option<Passed<T>> {
        let passed = self.queues.iter_mut().find_map(|queue| queue.pop(now_ns))?;
        self.take(&passed, now_ns)
    }
}

impl<T> Queue<T> {
    /// Removes the entries of stopped deadlines at the front, and returns the request behind them if
    /// its deadline has passed. Its entry stays until the deadline is stopped.
    fn pop(&mut self, now_ns: u64) -> Option<Rc<Watched<T>>> {
        while let Some((due_ns, watched)) = self.entries.front() {
            if runs(self.kind, *due_ns, watched) {
                return (*due_ns <= now_ns).then(|| Rc::clone(watched));
            }
            self.entries.pop_front();
            self.stale = self.stale.saturating_sub(1);
        }
        None
    }

    fn clean(&mut self) {
        if self.stale > SMALL.max(self.entries.len() / 2) {
            let kind = self.kind;
            self.entries.retain(|(due_ns, watched)| runs(kind, *due_ns, watched));
            self.stale = 0;
        }
    }
}

/// Whether an entry's deadline still runs. A deadline that was started again has a later entry.
fn runs<T>(kind: Deadline, due_ns: u64, watched: &Watched<T>) -> bool {
    watched.due(kind).is_some_and(|due| due.get() == due_ns)
}

#[cfg(test)]
mod tests;
