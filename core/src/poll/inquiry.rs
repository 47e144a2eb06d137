//! What a poll asks Envoy's admin for: the runtime, or first whether it has changed.
//!
//! `GET /runtime` renders every key there is: with a thousand of them that takes Envoy four
//! milliseconds, 1.6 % of a core at the default interval. But Envoy also counts how often it has
//! taken over a new runtime, whichever layer that came from, and those counters are read in 0.05 ms.
//! So where the runtime is large a poll looks at them first, and reads on only where they have moved.
//! Where they can't be seen (statistics that are not kept, an admin that shows `/runtime` alone) or
//! are dearer to find (an Envoy with tens of thousands of statistics) it reads the runtime each time.

use xxhash_rust::xxh64::xxh64;

/// Answers from this size on, in bytes, are worth a look beforehand: some 150 keys.
const LARGE: usize = 16 * 1024;
/// At least every so many polls the runtime is read whatever the counters say, and a look that
/// was of no use is tried again.
const ANEW: u32 = 40;
/// No answer about two counters is longer.
const MAX_COUNTERS: usize = 1024;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The counters of changes.
    Counters,
    /// The runtime itself.
    Runtime,
}

impl Question {
    /// The admin's path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Counters => {
                "/stats?type=Counters&filter=%5Eruntime%5C.load_%28error%7Csuccess%29%24"
            }
            Self::Runtime => "/runtime",
        }
    }
}

/// One worker's questions; each is answered before the next is asked. Times are nanoseconds of the
/// process's monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    asked: Option<(Question, u64)>,
    /// The counters' last state that no reading of the runtime has followed yet.
    seen: Option<u64>,
    /// Their state before the runtime was last read: as long as it lasts there is nothing new.
    read: Option<u64>,
    /// Whether the runtime was large when it was last read, and how long that took.
    large: bool,
    took_ns: u64,
    /// Polls since the runtime was last read.
    unread: u32,
    /// Polls for which the counters are not looked at.
    shunned: u32,
}

impl Inquiry {
    /// The question of a poll that is due.
    pub fn next(&mut self, now_ns: u64) -> Question {
        self.unread += 1;
        self.shunned = self.shunned.saturating_sub(1);
        let look = self.large && self.shunned == 0 && self.unread < ANEW;
        self.ask(if look { Question::Counters } else { Question::Runtime }, now_ns)
    }

    /// What was asked and is not answered yet.
    pub fn asked(&self) -> Option<Question> {
        self.asked.map(|(question, _)| question)
    }

    /// The counters are here, or `None`: they can't be had. Answers with the question that follows;
    /// none does where nothing has changed.
    pub fn counters(&mut self, answer: Option<&[u8]>, now_ns: u64) -> Option<Question> {
        let took_ns = self.answered(now_ns);
        let answer = answer.filter(|answer| answer.len() <= MAX_COUNTERS && counts(answer));
        if answer.is_none() || took_ns > self.took_ns / 2 {
            self.shunned = ANEW;
        }
        self.seen = answer.map(|answer| xxh64(answer, 0));
        let unchanged = self.seen.is_some() && self.seen == self.read;
        (!unchanged).then(|| self.ask(Question::Runtime, now_ns))
    }

    /// The runtime is here, so many bytes of it. Where not all of it could be taken over (`applied`)
    /// it is read again at the next poll.
    pub fn runtime(&mut self, size: usize, applied: bool, now_ns: u64) {
        self.took_ns = self.answered(now_ns);
        self.read = self.seen.take().filter(|_| applied);
        (self.large, self.unread) = (size >= LARGE, 0);
    }

    /// There was no answer, or none that can be read.
    pub fn failed(&mut self) {
        (self.asked, self.seen) = (None, None);
    }

    fn ask(&mut self, question: Question, now_ns: u64) -> Question {
        self.asked = Some((question, now_ns));
        question
    }

    fn answered(&mut self, now_ns: u64) -> u64 {
        self.asked.take().map_or(0, |(_, asked_ns)| now_ns.saturating_sub(asked_ns))
    }
}

/// Whether an answer has the counter that moves with every change.
fn counts(answer: &[u8]) -> bool {
    answer.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"runtime.load_success: "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn counters(changes: u64) -> Vec<u8> {
        format!("runtime.load_error: 0\nruntime.load_success: {changes}\n").into_bytes()
    }

    /// An Envoy, and a worker that polls it.
    struct Site {
        inquiry: Inquiry,
        size: usize,
        counters_ms: u64,
        answers_counters: bool,
        changes: u64,
        /// The change that the worker has read last.
        known: u64,
        reads: u32,
        looks: u32,
        now_ns: u64,
    }

    impl Site {
        fn new(size: usize) -> Self {
            let (inquiry, answers_counters) = (Inquiry::default(), true);
            let (counters_ms, changes, known, reads, looks, now_ns) = (0, 1, 0, 0, 0, 0);
            Self {
                inquiry,
                size,
                counters_ms,
                answers_counters,
                changes,
                known,
                reads,
                looks,
                now_ns,
            }
        }

        fn poll(&mut self) {
            let mut next = Some(self.inquiry.next(self.now_ns));
            while let Some(question) = next {
                assert_eq!(self.inquiry.asked(), Some(question));
                next = match question {
                    Question::Counters => self.look(),
                    Question::Runtime => self.read(true),
                };
            }
            assert_eq!(self.inquiry.asked(), None);
        }

        fn look(&mut self) -> Option<Question> {
            self.looks += 1;
            self.now_ns += self.counters_ms * MS;
            let answer = self.answers_counters.then(|| counters(self.changes));
            self.inquiry.counters(answer.as_deref(), self.now_ns)
        }

        fn read(&mut self, applied: bool) -> Option<Question> {
            self.reads += 1;
            self.known = self.changes;
            self.now_ns += 4 * MS;
            self.inquiry.runtime(self.size, applied, self.now_ns);
            None
        }

        fn polls(&mut self, count: u32) -> (u32, u32) {
            (self.reads, self.looks) = (0, 0);
            (0..count).for_each(|_| self.poll());
            (self.reads, self.looks)
        }
    }

    #[test]
    fn a_small_runtime_is_read_each_time() {
        assert_eq!(Site::new(LARGE - 1).polls(100), (100, 0));
    }

    #[test]
    fn a_large_one_is_read_when_it_has_changed_and_now_and_then() {
        let mut site = Site::new(LARGE);
        assert_eq!(site.polls(2), (2, 1), "first without, then with the counters' state before it");
        assert_eq!(site.polls(ANEW - 1), (0, ANEW - 1));
        assert_eq!(site.polls(3), (1, 2));
        site.changes += 1;
        assert_eq!(site.polls(1), (1, 1));
        assert_eq!(site.polls(2), (0, 2));
    }

    #[test]
    fn counters_that_cannot_be_had_cost_a_look_in_forty_polls() {
        let mut site = Site::new(LARGE);
        site.answers_counters = false;
        let _first = site.polls(2);
        assert_eq!(site.polls(5 * ANEW), (5 * ANEW, 5));
    }

    #[test]
    fn counters_that_are_dear_cost_a_look_in_forty_polls() {
        let mut site = Site::new(LARGE);
        site.counters_ms = 16;
        let _first = site.polls(2);
        let (reads, looks) = site.polls(5 * ANEW);
        assert!(reads >= 5 * (ANEW - 1) && looks == 5, "{reads} {looks}");
    }

    #[test]
    fn what_is_not_the_counters_answer() {
        for answer in ["", "runtime.load_error: 0\n", "404 page not found", &"x".repeat(5_000)] {
            let mut inquiry = Inquiry::default();
            inquiry.runtime(LARGE, true, 0);
            assert_eq!(inquiry.next(0), Question::Counters);
            assert_eq!(inquiry.counters(Some(answer.as_bytes()), 0), Some(Question::Runtime));
            inquiry.runtime(LARGE, true, 0);
            assert_eq!(inquiry.next(0), Question::Runtime, "{answer}");
        }
    }

    #[test]
    fn what_was_not_taken_over_is_read_again() {
        let mut site = Site::new(LARGE);
        assert_eq!(site.polls(3), (2, 2));
        site.changes += 1;
        assert_eq!(site.inquiry.next(site.now_ns), Question::Counters);
        assert_eq!(site.look(), Some(Question::Runtime));
        site.inquiry.failed();
        assert_eq!(site.polls(2), (1, 2), "there was no answer");
        site.changes += 1;
        assert_eq!(site.inquiry.next(site.now_ns), Question::Counters);
        assert_eq!(site.look(), Some(Question::Runtime));
        assert_eq!(site.read(false), None);
        assert_eq!(site.polls(2), (1, 2), "the record was busy");
    }

    proptest! {
        /// Whatever Envoy's counters, the runtime's size and the answers' times do: after each poll
        /// the worker knows the runtime as it was when the poll began.
        #[test]
        fn no_change_is_missed(
            polls in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u64..20, any::<bool>()), 1..200),
        ) {
            let mut site = Site::new(LARGE);
            for (changed, answers_counters, counters_ms, large) in polls {
                site.changes += u64::from(changed);
                (site.answers_counters, site.counters_ms) = (answers_counters, counters_ms);
                site.size = if large { LARGE } else { 100 };
                site.poll();
                prop_assert_eq!(site.known, site.changes);
            }
        }
    }
}
