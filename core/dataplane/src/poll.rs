//! The poller: which of Envoy's workers reads the runtime, and when.
//!
//! Every worker has this filter in a VM of its own, and one poll of Envoy's admin is enough for
//! all. So the workers share a term of office: whoever finds it vacant claims it by compare-and-set,
//! and a leader that no longer renews (its VM has died) is followed by another within three
//! intervals. Times are nanoseconds of the process's monotonic clock.
//!
//! What a poll costs is Envoy's rendering of the whole runtime: with a thousand foreign keys some
//! milliseconds. So where the last answer was large, the leader first asks for Envoy's own counters
//! of runtime loads, which is several times cheaper, and reads the runtime only when they have moved.
//! Where they can't be seen, or are dear to find among tens of thousands of statistics, it reads the
//! runtime at once.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

/// The leader's term, as all workers share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    leader: u64,
    ends_ns: u64,
}

/// One worker's part in polling.
#[derive(Clone, Debug)]
pub struct Poller {
    /// This worker's name among the others: random, so that no two are the same.
    me: u64,
    interval_ns: u64,
    /// When the running poll was sent, and what is asked for now.
    in_flight: Option<(u64, Ask)>,
    last_sent_ns: Option<u64>,
    /// The runtime as it was read last.
    read: Option<Read>,
    /// The counters of runtime loads as the running poll found them.
    probed: Option<u64>,
    /// When the question that is open was asked.
    asked_ns: u64,
    /// Until then the counters are of no use: they were not there, or not worth the wait.
    useless_until_ns: u64,
}

/// What is known of the runtime that was read last.
#[derive(Clone, Copy, Debug)]
struct Read {
    at_ns: u64,
    /// How long its answer took.
    took_ns: u64,
    /// Whether its answer was large enough for a probe to be worth it.
    large: bool,
    /// The counters of runtime loads just before, as a hash; `None`: not asked.
    loads: Option<u64>,
}

/// What to do on a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this term by compare-and-set; if that succeeds, [`Poller::claimed`] says how to go on.
    Claim(Term),
    /// Nothing, and why.
    Wait(Waiting),
}

/// Why a worker does not poll now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Another worker leads.
    OtherLeads,
    /// This worker leads, and the next poll is not due.
    NotDue,
}

/// What a leader does after its term is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Send this.
    Poll(Ask),
    /// The last poll has not been answered yet.
    AwaitAnswer,
}

/// What a poll asks Envoy's admin for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The counters of runtime loads.
    Loads,
    /// The runtime.
    Runtime,
}

impl Ask {
    /// The path of Envoy's admin.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Loads => "/stats?type=Counters&filter=%5Eruntime%5C.load_(success%7Cerror)%24",
            Self::Runtime => "/runtime",
        }
    }
}

/// A runtime of more bytes is probed before it is read.
const LARGE: usize = 16 * 1024;
/// The runtime is read at least so often, whatever its counters say, and counters that were of no use
/// are looked at so seldom: ten seconds.
const READ_AGAIN_NS: u64 = 10_000_000_000;

/// How many intervals a term lasts beyond its last renewal. With a tick every quarter of an interval
/// another leader has polled before the third is over.
const TERM_INTERVALS: u64 = 2;

impl Poller {
    /// A worker called `me` that polls every `interval_ns` when it leads.
    pub fn new(me: u64, interval_ns: u64) -> Self {
        Self {
            me,
            interval_ns,
            in_flight: None,
            last_sent_ns: None,
            read: None,
            probed: None,
            asked_ns: 0,
            useless_until_ns: 0,
        }
    }

    /// How often a worker wakes: four times an interval, so that what the leader has read is taken
    /// over by the others soon, at least every 10 ms.
    pub fn tick_ns(interval_ns: u64) -> u64 {
        (interval_ns / 4).max(10_000_000)
    }

    /// How long a poll may take: four intervals, at least one second, at most ten.
    pub fn timeout_ns(&self) -> u64 {
        (4 * self.interval_ns).clamp(1_000_000_000, 10_000_000_000)
    }

    /// Decides on a tick, given the term that the workers share (`None`: there is none yet).
    pub fn tick(&self, now_ns: u64, term: Option<Term>) -> Step {
        let other_leads = term.is_some_and(|term| term.leader != self.me && now_ns < term.ends_ns);
        if other_leads {
            return Step::Wait(Waiting::OtherLeads);
        }
        let mine = term.is_some_and(|term| term.leader == self.me);
        // Ticks come a little late; a poll that is due within half a tick is due now, or every
        // interval would last a tick longer.
        let slack = Self::tick_ns(self.interval_ns) / 2;
        let due = |sent: u64| now_ns.saturating_add(slack) >= sent.saturating_add(self.interval_ns);
        if mine && !self.last_sent_ns.is_none_or(due) {
            return Step::Wait(Waiting::NotDue);
        }
        let ends_ns = now_ns.saturating_add(TERM_INTERVALS * self.interval_ns);
        Step::Claim(Term { leader: self.me, ends_ns })
    }

    /// The term is written. A poll whose answer is long overdue counts as lost.
    pub fn claimed(&mut self, now_ns: u64) -> Lead {
        let overdue = |sent: u64| now_ns >= sent.saturating_add(2 * self.timeout_ns());
        if self.in_flight.is_some_and(|(sent, _)| !overdue(sent)) {
            self.last_sent_ns = Some(now_ns);
            return Lead::AwaitAnswer;
        }
        self.last_sent_ns = Some(now_ns);
        self.probed = None;
        let worth_it = self.read.is_some_and(|read| read.large) && now_ns >= self.useless_until_ns;
        let ask = if worth_it { Ask::Loads } else { Ask::Runtime };
        self.asked_ns = now_ns;
        self.in_flight = Some((now_ns, ask));
        Lead::Poll(ask)
    }

    /// What the running poll asks for now.
    pub fn asked(&self) -> Option<Ask> {
        self.in_flight.map(|(_, ask)| ask)
    }

    /// The counters of runtime loads were answered, with nothing where Envoy does not show them.
    /// True: the runtime is to be read now, as part of the same poll.
    pub fn moved(&mut self, loads: &[u8], now_ns: u64) -> bool {
        self.probed = (!loads.trim_ascii().is_empty()).then(|| xxh64(loads, 0));
        let took_ns = now_ns.saturating_sub(self.asked_ns);
        let dear = self.read.is_some_and(|read| took_ns > read.took_ns / 2);
        if self.probed.is_none() || dear {
            self.useless_until_ns = now_ns.saturating_add(READ_AGAIN_NS);
        }
        let fresh = |read: &Read| now_ns.saturating_sub(read.at_ns) < READ_AGAIN_NS;
        let known = self.read.filter(fresh).and_then(|read| read.loads);
        let moved = self.probed.is_none() || self.probed != known;
        if moved {
            self.asked_ns = now_ns;
            self.in_flight = self.in_flight.map(|(sent, _)| (sent, Ask::Runtime));
        }
        moved
    }

    /// The runtime was read, in an answer of so many bytes, and is in force. Until this is said, the
    /// next poll reads it again.
    pub fn read(&mut self, size: usize, now_ns: u64) {
        let took_ns = now_ns.saturating_sub(self.asked_ns);
        let large = size > LARGE;
        self.read = Some(Read { at_ns: now_ns, took_ns, large, loads: self.probed });
    }

    /// The poll was answered, or could not be sent.
    pub fn settled(&mut self) {
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
                if let Step::Claim(term) = worker.tick(now, self.term) {
                    self.term = Some(term);
                    if matches!(worker.claimed(now), Lead::Poll(_)) {
                        self.polls.push((now, index));
                        worker.settled();
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
    fn a_dead_leader_is_followed_within_three_intervals() {
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
        assert!(matches!(poller.tick(0, None), Step::Claim(_)));
        assert_eq!(poller.claimed(0), Lead::Poll(Ask::Runtime));
        let mut now = 0;
        while now < 2 * poller.timeout_ns() {
            assert!(now == 0 || poller.claimed(now) == Lead::AwaitAnswer);
            now += INTERVAL;
        }
        assert_eq!(poller.claimed(now), Lead::Poll(Ask::Runtime));
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

    /// One poll of an admin that shows these counters and a runtime of this size: what was asked for.
    fn poll(poller: &mut Poller, now: u64, loads: &str, size: usize) -> Vec<Ask> {
        let Lead::Poll(first) = poller.claimed(now) else {
            return Vec::new();
        };
        let mut asked = vec![first];
        if first == Ask::Loads && poller.moved(loads.as_bytes(), now) {
            asked.push(Ask::Runtime);
        }
        if asked.contains(&Ask::Runtime) {
            poller.read(size, now);
        }
        poller.settled();
        asked
    }

    #[test]
    fn a_large_runtime_is_read_only_when_it_was_loaded_anew() {
        use Ask::{Loads, Runtime};
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
    fn counters_that_are_not_there_are_asked_for_every_ten_seconds() {
        for nothing in ["", "\n"] {
            let mut poller = Poller::new(1, INTERVAL);
            let polls = (1..=400).map(|tick| poll(&mut poller, tick * INTERVAL, nothing, 90_000));
            let polls: Vec<_> = polls.collect();
            assert!(polls.iter().all(|asked| asked.contains(&Ask::Runtime)));
            let probes = polls.iter().filter(|asked| asked.contains(&Ask::Loads)).count();
            assert!((9..=11).contains(&probes), "{probes} probes in 100 seconds");
        }
    }

    #[test]
    fn counters_that_take_as_long_as_the_runtime_are_asked_for_every_ten_seconds() {
        let mut poller = Poller::new(1, INTERVAL);
        let (mut now, mut probes) = (0, 0);
        for _ in 0..400 {
            now += INTERVAL;
            let Lead::Poll(first) = poller.claimed(now) else { panic!("the last is answered") };
            let (mut reads, mut later) = (first == Ask::Runtime, now);
            if first == Ask::Loads {
                probes += 1;
                later += 3_000_000;
                reads = poller.moved(b"load_success: 1", later);
            }
            if reads {
                poller.read(90_000, later + 4_000_000);
            }
            poller.settled();
        }
        assert!((8..=11).contains(&probes), "{probes} probes in 100 seconds");
    }

    #[test]
    fn a_large_runtime_is_read_every_ten_seconds_all_the_same() {
        let mut poller = Poller::new(1, INTERVAL);
        let ticks = (1..=400).map(|tick| poll(&mut poller, tick * INTERVAL, "1", 90_000));
        let read = ticks.filter(|asked| asked.contains(&Ask::Runtime)).count();
        assert!((10..=13).contains(&read), "{read} reads in 100 seconds");
    }
}
