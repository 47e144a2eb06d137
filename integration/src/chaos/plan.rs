//! What goes wrong when, as data: drawn from a seed before anything runs, so that a run that failed can be
//! repeated.

#[cfg(test)]
mod tests;

use std::time::Duration;

use fastrand::Rng;

/// The four versions that the labels change among, of both rollouts.
pub(super) const LABELS: [&str; 4] = ["1.1.0", "1.2.0", "1.3.0", "1.4.0"];
/// In each round of this length, every kind of fault happens at least once.
pub(super) const ROUND: Duration = Duration::from_secs(20);
/// How often the weight of the rollout without a controller changes.
const WEIGHT_EVERY: Duration = Duration::from_millis(100);
/// How often the filter's configuration is pushed.
const PUSH_EVERY: Duration = Duration::from_secs(1);
/// A label stays for this many changes of the weight.
const LABEL_EVERY: usize = 13;

/// A place that a version can be in: one upstream each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChaosPlace {
    /// Where the default route of both rollouts leads.
    Stable,
    /// The canary of the rollout that has a controller.
    Canary,
    /// The canary of the rollout whose weight changes all the time.
    Storm,
}

impl ChaosPlace {
    /// All of them, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::Stable, Self::Canary, Self::Storm];
}

/// How the way to the admin interface fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminBlock {
    /// Connections are refused, and those that are open break.
    Refuses,
    /// Connections are accepted, and nothing is forwarded any more.
    Hangs,
}

/// How an upstream fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamBreak {
    /// Connections are refused, and those that are open break.
    Refuses,
    /// Each request is answered by closing its connection.
    Closes,
    /// Each request is answered with status 500.
    Errors,
}

/// One thing that is done to the running system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChaosFault {
    /// Envoy is killed and started again.
    KillEnvoy,
    /// The controller is killed.
    KillController,
    /// A new controller is started with the journals of the one before.
    StartController,
    /// The controller's way to Envoy's admin interface is blocked.
    BlockAdmin(AdminBlock),
    /// It is free again.
    FreeAdmin,
    /// An upstream fails from now on.
    Break(ChaosPlace, UpstreamBreak),
    /// It is well again.
    Mend(ChaosPlace),
    /// Nothing more can be written to the disk with the journals.
    FillDisk,
    /// There is space again.
    FreeDisk,
    /// Another configuration of the filter is pushed.
    Push,
}

/// A fault and its time since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// When it is due.
    pub at: Duration,
    /// What is done then.
    pub fault: ChaosFault,
}

/// What the rollout without a controller is set to, in one update of the runtime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedWeight {
    /// When it is due, since the beginning.
    pub at: Duration,
    /// The canary's share in percent.
    pub percent: u32,
    /// The canary's version label.
    pub label: &'static str,
}

/// Everything that a run does, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct ChaosPlan {
    /// What all of it was drawn from.
    pub seed: u64,
    /// How long faults and traffic last.
    pub length: Duration,
    /// The faults in order of time; each one that lasts has its end in it.
    pub faults: Vec<PlannedFault>,
    /// The weights in order of time.
    pub weights: Vec<PlannedWeight>,
}

impl ChaosPlan {
    /// The plan of a seed: whole rounds of [`ROUND`] that together last at least as long as `length`.
    #[must_use]
    pub fn draw(seed: u64, length: Duration) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rounds = u32::try_from(length.as_millis().div_ceil(ROUND.as_millis())).unwrap_or(1);
        let rounds = rounds.max(1);
        let length = ROUND * rounds;
        let mut faults: Vec<PlannedFault> =
            (0..rounds).flat_map(|round| faults_of_round(&mut rng, ROUND * round)).collect();
        faults.extend(
            every(PUSH_EVERY, length).map(|at| PlannedFault { at, fault: ChaosFault::Push }),
        );
        faults.sort_by_key(|planned| planned.at);
        Self { seed, length, faults, weights: weights(&mut rng, length) }
    }
}

/// The moments of something that happens regularly.
fn every(period: Duration, length: Duration) -> impl Iterator<Item = Duration> {
    (1..).map(move |number| period * number).take_while(move |at| *at < length)
}

/// One of each kind, two of the upstreams' failures. Kinds overlap each other; nothing overlaps itself.
fn faults_of_round(rng: &mut Rng, begin: Duration) -> Vec<PlannedFault> {
    let ms = Duration::from_millis;
    let mut faults = Vec::new();
    let mut add = |at: Duration, fault| faults.push(PlannedFault { at: begin + at, fault });
    // Far enough from the round's ends that an Envoy lives for several seconds.
    add(ms(rng.u64(4_000..15_000)), ChaosFault::KillEnvoy);
    let lasting = |rng: &mut Rng, earliest: u64, longest: u64, latest: u64| {
        let lasts = rng.u64(longest / 4..longest);
        let at = rng.u64(earliest..latest - lasts);
        (ms(at), ms(at + lasts))
    };
    let (killed, started) = lasting(rng, 1_000, 3_000, 18_000);
    add(killed, ChaosFault::KillController);
    add(started, ChaosFault::StartController);
    let block = if rng.bool() { AdminBlock::Refuses } else { AdminBlock::Hangs };
    let (blocked, free) = lasting(rng, 1_000, 4_000, 18_000);
    add(blocked, ChaosFault::BlockAdmin(block));
    add(free, ChaosFault::FreeAdmin);
    let (full, free) = lasting(rng, 1_000, 4_000, 18_000);
    add(full, ChaosFault::FillDisk);
    add(free, ChaosFault::FreeDisk);
    for earliest in [500, 6_500, 12_500] {
        let kinds = [UpstreamBreak::Refuses, UpstreamBreak::Closes, UpstreamBreak::Errors];
        let kind = kinds[rng.usize(0..kinds.len())];
        let place = ChaosPlace::ALL[rng.usize(0..ChaosPlace::ALL.len())];
        let (broken, well) = lasting(rng, earliest, 1_600, earliest + 5_500);
        add(broken, ChaosFault::Break(place, kind));
        add(well, ChaosFault::Mend(place));
    }
    faults
}

fn weights(rng: &mut Rng, length: Duration) -> Vec<PlannedWeight> {
    let mut label = LABELS[0];
    let weights = every(WEIGHT_EVERY, length).enumerate().map(|(number, at)| {
        if number % LABEL_EVERY == 0 {
            label = LABELS[rng.usize(0..LABELS.len())];
        }
        PlannedWeight { at, percent: rng.u32(0..=100), label }
    });
    weights.collect()
}
