use super::*;
use crate::simulation::Process;

fn record() -> SharedRecord<Vec<u32>> {
    SharedRecord::new("test", "demo")
}

#[test]
fn a_record_is_decoded_once_a_mark() {
    let process = Process::default();
    let record = SharedRecord::<u32>::new("test", "demo");
    assert_eq!(record.read_unless(None, &process), Err(RecordError::Missing));
    assert!(record.replace(&process, &7, None));
    let (value, mark) = record.read_unless(None, &process).unwrap().unwrap();
    assert_eq!(value, 7);
    assert_eq!(record.read_unless(Some(mark), &process), Ok(None));
    assert!(record.replace(&process, &8, Some(mark)));
    let (value, newer) = record.read_unless(Some(mark), &process).unwrap().unwrap();
    assert_eq!(value, 8);
    // A record that is gone isn't what it was.
    process.forget(record.key());
    assert_eq!(record.read_unless(Some(newer), &process), Err(RecordError::Missing));
}

/// The calls for so many changes by each of these workers in turn: reads and writes.
fn calls(workers: usize, turns: u32) -> (u32, u32) {
    let process = Process::default();
    record().create(&process, Vec::new);
    let mut lasts: Vec<_> = (0..workers).map(|_| LastWrite::default()).collect();
    process.shared_calls.set((0, 0));
    for turn in 0..turns {
        for last in &mut lasts {
            assert!(record().update_own(&process, last, |log| log.push(turn)).is_some());
        }
    }
    process.shared_calls.get()
}

#[test]
fn a_worker_alone_soon_reads_no_more_and_others_never_guess_wrong() {
    assert_eq!(
        calls(1, 100),
        (2, 100),
        "one finds the record as it left it, and then relies on it"
    );
    assert_eq!(calls(2, 100), (200, 200), "in turn, each finds the other's");
}

#[test]
fn a_write_of_another_record_costs_one_guess() {
    let process = Process::default();
    record().create(&process, Vec::new);
    let other = SharedRecord::<u32>::new("test", "other");
    let mut last = LastWrite::default();
    let mut push = || {
        process.shared_calls.set((0, 0));
        assert!(record().update_own(&process, &mut last, |log| log.push(0)).is_some());
        process.shared_calls.get()
    };
    assert_eq!([push(), push(), push()], [(1, 1), (1, 1), (0, 1)]);
    assert!(other.replace(&process, &1, None));
    // This write still holds, but its mark isn't the next one.
    assert_eq!(push(), (0, 1));
    assert_eq!(push(), (1, 2));
    assert_eq!([push(), push(), push()], [(1, 1), (0, 1), (0, 1)]);
}

/// Workers that append to one record in every order, one amid another's change, beside writes of other
/// records.
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod laws {
    use std::cell::{Cell, RefCell};

    use proptest::prelude::*;

    use super::*;
    use crate::guard::{Guard, GuardEvent};
    use canary_model::weight::Weight;

    const WORKERS: usize = 3;

    #[derive(Default)]
    struct Workers {
        process: Process,
        lasts: [RefCell<LastWrite<Vec<u32>>>; WORKERS],
        entries: Cell<u32>,
        /// The record as each change returned it.
        returned: RefCell<Vec<Vec<u32>>>,
    }

    impl Workers {
        fn append(&self, worker: usize) {
            let entry = self.entries.replace(self.entries.get() + 1);
            let last = &mut *self.lasts[worker].borrow_mut();
            let changed = record().update_own(&self.process, last, |log| log.push(entry));
            self.returned.borrow_mut().push(changed.expect("a record").0);
        }

        fn leave_alone(&self, worker: usize) {
            let last = &mut *self.lasts[worker].borrow_mut();
            let left = record().update_own(&self.process, last, |_| ()).expect("a record").0;
            self.returned.borrow_mut().push(left);
        }
    }

    proptest! {
        /// Each change applies to the record as it is at that moment: whatever a change returned is
        /// where the record began, and nothing is lost or twice in it.
        #[test]
        fn changes_form_one_chain(
            steps in prop::collection::vec((0..5, 0..WORKERS, 0..WORKERS), 1..80),
        ) {
            let workers: &'static Workers = Box::leak(Box::default());
            record().create(&workers.process, Vec::new);
            for (action, worker, other) in steps {
                match action {
                    0 => workers.leave_alone(worker),
                    1 => workers.process.corrupt("of others", &[0]),
                    2 if worker != other => {
                        workers.process.interleave(move || workers.append(other));
                        workers.append(worker);
                    }
                    3 if worker != other => {
                        workers.process.interleave(move || workers.append(other));
                        workers.process.interleave(|| workers.process.corrupt("of others", &[0]));
                        workers.append(worker);
                    }
                    _ => workers.append(worker),
                }
            }
            let log = record().read(&workers.process).unwrap();
            let mut entries = log.clone();
            entries.sort_unstable();
            prop_assert_eq!(entries, (0..workers.entries.get()).collect::<Vec<_>>());
            for returned in &*workers.returned.borrow() {
                prop_assert!(log.starts_with(returned), "{:?} isn't how {:?} began", returned, log);
            }
        }

        /// The guard's score and its trip are those of one worker that sees everything in order.
        #[test]
        fn the_guard_is_exact_whichever_workers_see_what(
            weight in 1..=100_u32,
            events in prop::collection::vec((0..WORKERS, 0..6, any::<bool>()), 1..200),
        ) {
            let process = Process::default();
            let weight = Weight::parse_percent(&weight.to_string()).unwrap();
            let score = Guard::record("r");
            let mut exact = score.create(&process, || Guard::new(0));
            let mut lasts: [LastWrite<Guard>; WORKERS] = Default::default();
            for (worker, kind, foreign) in events {
                let event = match kind {
                    0 => GuardEvent::StableFailure,
                    1 | 2 => GuardEvent::CanaryFailure(None),
                    3 => GuardEvent::StableSuccesses(7),
                    _ => GuardEvent::CanarySuccess,
                };
                let observe = |guard: &mut Guard| guard.observe(0, weight, &[event]);
                let shared = score.update_own(&process, &mut lasts[worker], observe);
                let trips = exact.observe(0, weight, &[event]);
                prop_assert_eq!(shared, Some((exact.clone(), trips)));
                if foreign {
                    process.corrupt("of others", &[0]);
                }
            }
        }
    }
}
