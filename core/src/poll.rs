//! The poller: which of Envoy's workers reads the runtime, and when.
//!
//! Every worker has this filter in a VM of its own, and one poll of Envoy's admin is enough for
//! all. So the workers share a term of office: whoever finds it vacant claims it by compare-and-set,
//! and a leader that no longer renews (its VM has died) is followed by another within three
//! intervals. Times are nanoseconds of the process's monotonic clock.

mod inquiry;

pub use inquiry::{Inquiry, Question};
use serde::{Deserialize, Serialize};

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
    /// When the running poll was sent.
    in_flight: Option<u64>,
    last_sent_ns: Option<u64>,
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
    /// Send a poll.
    Poll,
    /// The last poll has not been answered yet.
    AwaitAnswer,
}

/// How many intervals a term lasts beyond its last renewal. With a tick every quarter of an interval
/// another leader has polled before the third is over.
const TERM_INTERVALS: u64 = 2;

impl Poller {
    /// A worker called `me` that polls every `interval_ns` when it leads.
    pub fn new(me: u64, interval_ns: u64) -> Self {
        Self { me, interval_ns, in_flight: None, last_sent_ns: None }
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
        if self.in_flight.is_some_and(|sent| !overdue(sent)) {
            self.last_sent_ns = Some(now_ns);
            return Lead::AwaitAnswer;
        }
        self.in_flight = Some(now_ns);
        self.last_sent_ns = Some(now_ns);
        Lead::Poll
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
                    if worker.claimed(now) == Lead::Poll {
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
        assert_eq!(poller.claimed(0), Lead::Poll);
        let mut now = 0;
        while now < 2 * poller.timeout_ns() {
            assert!(now == 0 || poller.claimed(now) == Lead::AwaitAnswer);
            now += INTERVAL;
        }
        assert_eq!(poller.claimed(now), Lead::Poll);
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
}
