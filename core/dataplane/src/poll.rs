//! The poller: which of Envoy's workers reads the runtime, and when.
//!
//! Each worker has this filter in its own VM, and one poll of Envoy's admin interface is enough for
//! all of them. So the workers share a leader's term: a worker that finds it expired claims it by
//! compare-and-set, and if a leader stops renewing it (its VM has died), another one takes over within
//! three intervals. Times are nanoseconds of the process's monotonic clock.
//!
//! The cost of a poll is that Envoy renders its whole runtime, which takes some milliseconds with a
//! thousand other keys. If the last answer was large, the leader therefore first asks for Envoy's
//! counters of runtime loads (a *probe*), which is several times cheaper, and reads the runtime only if
//! they have changed. If those counters are missing or expensive to find among tens of thousands of
//! statistics, it skips them for ten seconds.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

use crate::shared::SharedRecord;

/// The leader's term, as all workers share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    leader: u64,
    ends_ns: u64,
}

impl Term {
    /// The shared record of the workers that poll for the same rollouts.
    pub fn record<'a>(rollouts: impl Iterator<Item = &'a str>) -> SharedRecord<Self> {
        let names: Vec<_> = rollouts.collect();
        SharedRecord::new("term", &names.join("."))
    }
}

/// One worker's part in polling.
#[derive(Clone, Debug)]
pub struct Poller {
    /// This worker's random number among the others, so that no two have the same.
    me: u64,
    interval_ns: u64,
    /// When the running poll was sent, and what it asks for now.
    in_flight: Option<(u64, AdminQuery)>,
    last_sent_ns: Option<u64>,
    /// The last read of the runtime.
    last_read: Option<LastRead>,
    /// The counters of runtime loads as the running poll found them, as a hash.
    probed: Option<u64>,
    /// When the open query was sent.
    queried_ns: u64,
    /// No probe before this time: the last one found no counters, or took too long.
    probe_backoff_until_ns: u64,
}

/// What is known about the last read of the runtime.
#[derive(Clone, Copy, Debug)]
struct LastRead {
    at_ns: u64,
    /// How long the answer took.
    took_ns: u64,
    /// Whether the answer was so large that a probe is cheaper.
    large: bool,
    /// The counters of runtime loads just before, as a hash; `None` if there was no probe.
    loads: Option<u64>,
}

/// What a worker does about polling on a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollStep {
    /// Write this term by compare-and-set, then ask [`Poller::claimed`].
    Claim(Term),
    /// Another worker leads and polls for all.
    OtherLeads,
    /// This worker leads, and the next poll isn't due yet.
    NotDue,
}

/// What a poll asks Envoy's admin interface for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminQuery {
    /// The counters of runtime loads.
    Loads,
    /// The merged runtime, with every key.
    Runtime,
}

impl AdminQuery {
    /// Path and query on Envoy's admin listener.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Loads => "/stats?type=Counters&filter=%5Eruntime%5C.load_(success%7Cerror)%24",
            Self::Runtime => "/runtime",
        }
    }
}

/// A runtime of more bytes than this is probed before it is read.
const LARGE: usize = 16 * 1024;
/// The runtime is read at least this often, whatever its counters say; and after a useless probe, the
/// next one waits this long: ten seconds.
const READ_AGAIN_NS: u64 = 10_000_000_000;

/// How many intervals a term lasts after its last renewal. With a tick every quarter of an interval,
/// another leader polls before the third is over.
const TERM_INTERVALS: u64 = 2;

impl Poller {
    /// A worker that polls every `interval_ns` while it leads. `me` is a random number.
    pub fn new(me: u64, interval_ns: u64) -> Self {
        Self {
            me,
            interval_ns,
            in_flight: None,
            last_sent_ns: None,
            last_read: None,
            probed: None,
            queried_ns: 0,
            probe_backoff_until_ns: 0,
        }
    }

    /// How often a worker ticks: four times an interval, but at most every 10 ms. So the other workers
    /// soon take over what the leader has read.
    pub fn tick_ns(interval_ns: u64) -> u64 {
        (interval_ns / 4).max(10_000_000)
    }

    /// How long a poll may take: four intervals, at least one second, at most ten.
    pub fn timeout_ns(&self) -> u64 {
        (4 * self.interval_ns).clamp(1_000_000_000, 10_000_000_000)
    }

    /// Decides on a tick, given the term that the workers share (`None` if there is none yet).
    pub fn tick(&self, now_ns: u64, term: Option<Term>) -> PollStep {
        let other_leads = term.is_some_and(|term| term.leader != self.me && now_ns < term.ends_ns);
        if other_leads {
            return PollStep::OtherLeads;
        }
        let mine = term.is_some_and(|term| term.leader == self.me);
        // Ticks come a little late. A poll that is due within half a tick is due now; otherwise, every
        // interval would last a tick longer.
        let slack = Self::tick_ns(self.interval_ns) / 2;
        let due = |sent: u64| now_ns.saturating_add(slack) >= sent.saturating_add(self.interval_ns);
        if mine && !self.last_sent_ns.is_none_or(due) {
            return PollStep::NotDue;
        }
        let ends_ns = now_ns.saturating_add(TERM_INTERVALS * self.interval_ns);
        PollStep::Claim(Term { leader: self.me, ends_ns })
    }

    /// The term is written: returns the query to send, or `None` if the last poll isn't answered yet.
    /// A poll whose answer is long overdue counts as lost.
    pub fn claimed(&mut self, now_ns: u64) -> Option<AdminQuery> {
        let overdue = |sent: u64| now_ns >= sent.saturating_add(2 * self.timeout_ns());
        let awaits_answer = self.in_flight.is_some_and(|(sent, _)| !overdue(sent));
        self.last_sent_ns = Some(now_ns);
        if awaits_answer {
            return None;
        }
        self.probed = None;
        let large = self.last_read.is_some_and(|read| read.large);
        let probe = large && now_ns >= self.probe_backoff_until_ns;
        let query = if probe { AdminQuery::Loads } else { AdminQuery::Runtime };
        self.queried_ns = now_ns;
        self.in_flight = Some((now_ns, query));
        Some(query)
    }

    /// What the running poll asks for now; `None` if no poll is running.
    pub fn query(&self) -> Option<AdminQuery> {
        self.in_flight.map(|(_, query)| query)
    }

    /// Takes the answer to a probe, which is empty if Envoy doesn't show the counters. Returns whether
    /// they have changed, so that the same poll now reads the runtime.
    pub fn changed(&mut self, loads: &[u8], now_ns: u64) -> bool {
        self.probed = (!loads.trim_ascii().is_empty()).then(|| xxh64(loads, 0));
        let took_ns = now_ns.saturating_sub(self.queried_ns);
        let expensive = self.last_read.is_some_and(|read| took_ns > read.took_ns / 2);
        if self.probed.is_none() || expensive {
            self.probe_backoff_until_ns = now_ns.saturating_add(READ_AGAIN_NS);
        }
        let fresh = |read: &LastRead| now_ns.saturating_sub(read.at_ns) < READ_AGAIN_NS;
        let known = self.last_read.filter(fresh).and_then(|read| read.loads);
        let changed = self.probed.is_none() || self.probed != known;
        if changed {
            self.queried_ns = now_ns;
            self.in_flight = self.in_flight.map(|(sent, _)| (sent, AdminQuery::Runtime));
        }
        changed
    }

    /// The runtime was read from an answer of `size` bytes, and what it says is in force. Until this
    /// is called, the next poll reads the runtime again.
    pub fn applied(&mut self, size: usize, now_ns: u64) {
        let took_ns = now_ns.saturating_sub(self.queried_ns);
        let large = size > LARGE;
        self.last_read = Some(LastRead { at_ns: now_ns, took_ns, large, loads: self.probed });
    }

    /// The poll is over: answered, failed or refused.
    pub fn finished(&mut self) {
        self.in_flight = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 250_000_000;
    const TICK: u64 = INTERVAL / 4;

    /// Workers that share one term, as the shells run them. Answers come before the next tick.
    struct Process {
        workers: Vec<Poller>,
        term: Option<Term>,
        polls: Vec<(u64, usize)>,
    }

    impl Process {
        fn new(workers: u64) -> Self {
            let workers = (0..workers).map(|me| Poller::new(me, INTERVAL)).collect();
            Self { workers, term: None, polls: Vec::new() }
        }

        fn tick(&mut self, now: u64, alive: impl Fn(usize) -> bool) {
            for (index, worker) in self.workers.iter_mut().enumerate() {
                if !alive(index) {
                    continue;
                }
                if let PollStep::Claim(term) = worker.tick(now, self.term) {
                    self.term = Some(term);
                    if worker.claimed(now).is_some() {
                        self.polls.push((now, index));
                        worker.finished();
                    }
                }
            }
        }
    }

    #[test]
    fn one_leader_polls_once_an_interval() {
        let mut process = Process::new(4);
        for tick in 0..400 {
            process.tick(tick * TICK, |_| true);
        }
        assert_eq!(process.polls.len(), 100);
        assert!(process.polls.iter().all(|(_, worker)| *worker == 0));
    }

    #[test]
    fn a_dead_leader_is_replaced_within_three_intervals() {
        for died_at in 1..40 {
            let mut process = Process::new(3);
            for tick in 0..80 {
                process.tick(tick * TICK, |worker| worker != 0 || tick < died_at);
            }
            let last = process.polls.iter().rfind(|(_, worker)| *worker == 0).unwrap().0;
            let next = process.polls.iter().find(|(_, worker)| *worker != 0).unwrap().0;
            assert!(next - last <= 3 * INTERVAL, "{last} {next}");
        }
    }

    #[test]
    fn a_silent_admin_is_asked_again_but_never_twice_at_once() {
        let mut poller = Poller::new(1, INTERVAL);
        assert!(matches!(poller.tick(0, None), PollStep::Claim(_)));
        assert_eq!(poller.claimed(0), Some(AdminQuery::Runtime));
        let mut now = 0;
        while now < 2 * poller.timeout_ns() {
            assert!(now == 0 || poller.claimed(now).is_none());
            now += INTERVAL;
        }
        assert_eq!(poller.claimed(now), Some(AdminQuery::Runtime));
    }

    #[test]
    fn late_ticks_do_not_stretch_the_interval() {
        let mut process = Process::new(1);
        for tick in 0..400 {
            // Every tick a millisecond late, each time by a different bit.
            process.tick(tick * TICK + (tick * 7919) % 1_000_000, |_| true);
        }
        assert!(process.polls.len() >= 99, "{}", process.polls.len());
    }

    /// One poll of an admin that shows these counters and a runtime of this size: the queries sent.
    fn poll(poller: &mut Poller, now: u64, loads: &str, size: usize) -> Vec<AdminQuery> {
        let Some(first) = poller.claimed(now) else {
            return Vec::new();
        };
        let mut queries = vec![first];
        if first == AdminQuery::Loads && poller.changed(loads.as_bytes(), now) {
            queries.push(AdminQuery::Runtime);
        }
        if queries.contains(&AdminQuery::Runtime) {
            poller.applied(size, now);
        }
        poller.finished();
        queries
    }

    #[test]
    fn a_large_runtime_is_read_only_when_it_was_loaded_again() {
        use AdminQuery::{Loads, Runtime};
        let mut poller = Poller::new(1, INTERVAL);
        let mut now = 0;
        let mut next = |loads: &str, size| {
            now += INTERVAL;
            poll(&mut poller, now, loads, size)
        };
        assert_eq!(next("", 100), [Runtime], "a small one is simply read");
        assert_eq!(next("", 90_000), [Runtime]);
        assert_eq!(
            next("load_success: 2", 90_000),
            [Loads, Runtime],
            "nothing to compare with yet"
        );
        assert_eq!(next("load_success: 2", 90_000), [Loads]);
        assert_eq!(next("load_success: 3", 90_000), [Loads, Runtime]);
        assert_eq!(next("load_success: 3", 90_000), [Loads]);
        assert_eq!(next("load_success: 4", 100), [Loads, Runtime]);
        assert_eq!(next("load_success: 4", 100), [Runtime], "small again");
    }

    #[test]
    fn missing_counters_are_probed_every_ten_seconds() {
        for nothing in ["", "\n"] {
            let mut poller = Poller::new(1, INTERVAL);
            let polls = (1..=400).map(|tick| poll(&mut poller, tick * INTERVAL, nothing, 90_000));
            let polls: Vec<_> = polls.collect();
            assert!(polls.iter().all(|queries| queries.contains(&AdminQuery::Runtime)));
            let probes =
                polls.iter().filter(|queries| queries.contains(&AdminQuery::Loads)).count();
            assert!((9..=11).contains(&probes), "{probes} probes in 100 seconds");
        }
    }

    #[test]
    fn expensive_counters_are_probed_every_ten_seconds() {
        let mut poller = Poller::new(1, INTERVAL);
        let (mut now, mut probes) = (0, 0);
        for _ in 0..400 {
            now += INTERVAL;
            let Some(first) = poller.claimed(now) else { panic!("the last is answered") };
            let (mut reads, mut later) = (first == AdminQuery::Runtime, now);
            if first == AdminQuery::Loads {
                probes += 1;
                later += 3_000_000;
                reads = poller.changed(b"load_success: 1", later);
            }
            if reads {
                poller.applied(90_000, later + 4_000_000);
            }
            poller.finished();
        }
        assert!((8..=11).contains(&probes), "{probes} probes in 100 seconds");
    }

    #[test]
    fn a_large_runtime_is_read_every_ten_seconds_all_the_same() {
        let mut poller = Poller::new(1, INTERVAL);
        let ticks = (1..=400).map(|tick| poll(&mut poller, tick * INTERVAL, "1", 90_000));
        let read = ticks.filter(|queries| queries.contains(&AdminQuery::Runtime)).count();
        assert!((10..=13).contains(&read), "{read} reads in 100 seconds");
    }
}
