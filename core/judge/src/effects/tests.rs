use super::*;

/// Counts blocks; its reading is how many there were and the limit it was asked with.
#[derive(Default, Clone, Debug, PartialEq)]
struct Counted(u64);

impl Gathered for Counted {
    type Block = u64;
    const UNIT: EffectUnit = EffectUnit::Points;

    fn add(&mut self, block: &u64) {
        self.0 += block;
    }

    fn readings(&self, log_limit: f64) -> Vec<EffectReading> {
        vec![EffectReading {
            estimate: Some(self.0 as f64),
            lower: Some(log_limit),
            ..EffectReading::default()
        }]
    }

    fn canary(&self) -> u64 {
        self.0
    }
}

fn read(stretches: &Stretches<Counted>) -> Vec<(EffectSince, f64, f64)> {
    let effects = stretches.effects("m");
    effects.iter().map(|one| (one.since, one.estimate.unwrap(), one.lower.unwrap())).collect()
}

const LN_40: f64 = 3.688_879_454_113_936;

#[test]
fn a_step_counts_from_the_first_block_that_opens_in_it() {
    let mut stretches = Stretches::<Counted>::default();
    stretches.add(&7);
    stretches.begin_step(true);
    stretches.add(&1);
    stretches.add(&2);
    let read = read(&stretches);
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].0, read[0].1), (EffectSince::Start, 10.0));
    assert_eq!((read[1].0, read[1].1), (EffectSince::Step, 2.0));
    assert!(read.iter().all(|(_, _, limit)| (limit - LN_40).abs() < 1e-9));
}

#[test]
fn a_discarded_block_leaves_nothing_to_skip() {
    let mut stretches = Stretches::<Counted>::default();
    stretches.begin_step(true);
    stretches.change(Some(Change::Weight));
    stretches.add(&3);
    assert_eq!(read(&stretches)[1].1, 3.0);
}

#[test]
fn with_affinity_the_window_with_the_most_clients_stands_for_all() {
    let mut stretches = Stretches::<Counted>::default();
    stretches.count_clients();
    stretches.add(&9);
    assert_eq!(read(&stretches)[0].1, 9.0);
    stretches.change(Some(Change::Window));
    stretches.add(&4);
    let now = read(&stretches);
    assert_eq!((now[0].1, now[1].1), (9.0, 4.0), "the first window, and the present one");
    assert!((now[0].2 - LN_40 - 2f64.ln()).abs() < 1e-9, "among others: half of the error");
    assert!((now[1].2 - LN_40).abs() < 1e-9);
    stretches.add(&6);
    let now = read(&stretches);
    assert_eq!((now[0].1, now[1].1), (10.0, 10.0));
    assert!((now[0].2 - LN_40 - 6f64.ln()).abs() < 1e-9, "the second window's share is a sixth");
}
