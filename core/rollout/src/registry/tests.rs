use proptest::prelude::*;

use super::*;

/// Before everything that happens here.
const SINCE: &str = "2026-11-27T00:00:00Z";

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn aliases(candidate: &str, champion: &str) -> Option<Aliases> {
    Some(Aliases { candidate: text(candidate), champion: text(champion) })
}

fn running(version: &str, stable: &str) -> ReleaseStage {
    ReleaseStage::Running { version: version.to_owned(), stable: text(stable) }
}

fn ended(version: &str, outcome: ReleaseOutcome, at: u64) -> ReleaseResult {
    let at = format!("2026-11-27T00:00:{at:02}Z");
    let (version, reason) = (version.to_owned(), "why".to_owned());
    ReleaseResult { version, stable: text("1"), outcome, reason, ended_at: at }
}

fn over(version: &str, outcome: ReleaseOutcome, at: u64) -> ReleaseStage {
    ReleaseStage::Ended(ended(version, outcome, at))
}

/// One rollout with its registry, as the shell would drive them.
struct Desk {
    state: RegistryState,
}

impl Desk {
    fn new() -> Self {
        Self { state: RegistryState::new(SINCE.to_owned()) }
    }

    fn sees(&mut self, aliases: Option<Aliases>, release: &ReleaseStage) -> RegistryDecision {
        let release = release.clone();
        let stable = text("1");
        let inputs = RegistryInputs { aliases, release, stable, answers: Vec::new() };
        let RegistryStep { state, decision, .. } = step(&self.state, &inputs);
        self.state = state;
        decision
    }

    fn answered(&mut self, answer: WriteBackAnswer) -> Vec<(WriteBack, String)> {
        let (aliases, release) = (None, ReleaseStage::NotStarted);
        let inputs = RegistryInputs { aliases, release, stable: None, answers: vec![answer] };
        let RegistryStep { state, refused, .. } = step(&self.state, &inputs);
        self.state = state;
        refused
    }
}

fn starts(candidate: &str, champion: &str) -> RegistryDecision {
    RegistryDecision::Start { candidate: candidate.to_owned(), champion: text(champion) }
}

fn nothing(why: fn(String) -> NoStart, version: &str) -> RegistryDecision {
    RegistryDecision::Nothing(why(version.to_owned()))
}

const IDLE: ReleaseStage = ReleaseStage::NotStarted;

#[test]
fn a_candidate_starts_against_the_champion() {
    let mut desk = Desk::new();
    assert_eq!(desk.sees(aliases("", "2"), &IDLE), RegistryDecision::Nothing(NoStart::NoCandidate));
    assert_eq!(desk.sees(None, &IDLE), RegistryDecision::Nothing(NoStart::Unreachable));
    assert_eq!(desk.sees(aliases("3", "2"), &IDLE), starts("3", "2"), "also at the first look");
    assert_eq!(desk.sees(aliases("3", "2"), &IDLE), starts("3", "2"), "until it runs");
    assert_eq!(desk.sees(aliases("3", ""), &IDLE), starts("3", ""));
    assert_eq!(desk.sees(aliases("2", "2"), &IDLE), nothing(NoStart::CandidateServes, "2"));
    assert_eq!(desk.sees(aliases("1", ""), &IDLE), nothing(NoStart::CandidateServes, "1"));
    assert_eq!(desk.sees(aliases("a b", "2"), &IDLE), nothing(NoStart::NotAVersion, "a b"));
    assert_eq!(desk.sees(aliases("3", "a b"), &IDLE), nothing(NoStart::NotAVersion, "a b"));
}

#[test]
fn a_move_during_a_rollout_waits_and_then_the_newest_counts() {
    let mut desk = Desk::new();
    let three = running("3", "2");
    assert_eq!(desk.sees(aliases("3", "2"), &three), RegistryDecision::Wait(vec![]));
    let moved = |version: &str| AliasMove::Candidate(version.to_owned());
    assert_eq!(desk.sees(aliases("4", "2"), &three), RegistryDecision::Wait(vec![moved("4")]));
    let both = vec![moved("5"), AliasMove::Champion("9".to_owned())];
    assert_eq!(desk.sees(aliases("5", "9"), &three), RegistryDecision::Wait(both));
    let end = over("3", ReleaseOutcome::Degraded, 7);
    assert_eq!(desk.sees(aliases("5", "2"), &end), starts("5", "2"));
    // Back to where it was before the end: that is no other version.
    let mut desk = Desk::new();
    desk.sees(aliases("4", "2"), &three);
    desk.sees(aliases("3", "2"), &three);
    assert_eq!(desk.sees(aliases("3", "2"), &end), nothing(NoStart::AlreadyReleased, "3"));
}

#[test]
fn an_ended_version_starts_again_only_after_another_one() {
    let mut desk = Desk::new();
    let end = over("3", ReleaseOutcome::Degraded, 7);
    desk.sees(aliases("3", "2"), &running("3", "2"));
    let again = nothing(NoStart::AlreadyReleased, "3");
    assert_eq!(desk.sees(aliases("3", "2"), &end), again);
    desk.sees(aliases("", "2"), &end);
    assert_eq!(
        desk.sees(aliases("3", "2"), &end),
        again,
        "removing the alias is not another version"
    );
    desk.sees(None, &end);
    assert_eq!(desk.sees(aliases("3", "2"), &end), again);
    desk.sees(aliases("2", "2"), &end);
    assert_eq!(desk.sees(aliases("3", "2"), &end), starts("3", "2"));
}

/// A release that an operator started with another version changes nothing for the candidate's.
#[test]
fn a_release_by_hand_does_not_restart_the_candidate() {
    let mut desk = Desk::new();
    desk.sees(aliases("3", "2"), &running("3", "2"));
    desk.sees(aliases("3", "2"), &over("3", ReleaseOutcome::Degraded, 7));
    desk.sees(aliases("3", "2"), &running("9", "2"));
    let end = over("9", ReleaseOutcome::Degraded, 8);
    assert_eq!(desk.sees(aliases("3", "2"), &end), nothing(NoStart::AlreadyReleased, "3"));
}

#[test]
fn a_file_that_gets_a_registry_reports_nothing_old() {
    let mut desk = Desk { state: RegistryState::new("2026-11-27T00:00:08Z".to_owned()) };
    let decision = desk.sees(aliases("3", "2"), &over("3", ReleaseOutcome::Healthy, 7));
    assert_eq!(decision, nothing(NoStart::AlreadyReleased, "3"));
    assert!(desk.state.pending().is_empty());
}

#[test]
fn a_healthy_version_becomes_champion_and_a_later_abort_takes_it_back() {
    let mut desk = Desk::new();
    desk.sees(aliases("3", "1"), &running("3", "1"));
    let healthy = ended("3", ReleaseOutcome::Healthy, 7);
    desk.sees(aliases("3", "1"), &ReleaseStage::Ended(healthy.clone()));
    desk.sees(aliases("3", "1"), &ReleaseStage::Ended(healthy.clone()));
    let first = WriteBack { number: 1, release: healthy, champion: text("3") };
    assert_eq!(desk.state.pending(), [first], "once, however often it is seen");
    desk.answered(WriteBackAnswer::Delivered(1));
    assert!(desk.state.pending().is_empty());
    let aborted = over("3", ReleaseOutcome::Degraded, 8);
    assert_eq!(desk.sees(aliases("4", "3"), &aborted), starts("4", "1"), "the champion-to-be");
    let pending: Vec<_> = desk.state.pending().iter().map(|one| one.champion.as_deref()).collect();
    assert_eq!(pending, [Some("1")]);
    // Of a version that was rolled back before, the champion stays.
    let mut desk = Desk::new();
    desk.sees(aliases("3", "1"), &over("3", ReleaseOutcome::Degraded, 7));
    assert_eq!(desk.state.pending()[0].champion, None);
}

#[test]
fn a_champion_that_is_not_written_yet_counts() {
    let mut desk = Desk::new();
    let healthy = over("3", ReleaseOutcome::Healthy, 7);
    assert_eq!(desk.sees(aliases("4", "1"), &healthy), starts("4", "3"));
    assert_eq!(desk.sees(aliases("3", "1"), &healthy), nothing(NoStart::CandidateServes, "3"));
}

#[test]
fn what_the_registry_refuses_is_said_and_not_tried_again() {
    let mut desk = Desk::new();
    desk.sees(None, &over("3", ReleaseOutcome::Measured, 7));
    let refused = desk.answered(WriteBackAnswer::Refused(1, "no such version".to_owned()));
    assert_eq!(refused[0].0.release.outcome, ReleaseOutcome::Measured);
    assert_eq!(refused[0].1, "no such version");
    assert!(desk.state.pending().is_empty());
}

/// Aborted at Healthy before anything was written: the version never becomes champion.
#[test]
fn an_abort_takes_a_champion_back_that_is_still_to_be_written() {
    let mut desk = Desk::new();
    desk.sees(None, &over("3", ReleaseOutcome::Healthy, 7));
    let unknown = ReleaseResult { stable: None, ..ended("3", ReleaseOutcome::Degraded, 8) };
    desk.sees(None, &ReleaseStage::Ended(unknown));
    let pending: Vec<_> = desk.state.pending().iter().map(|one| one.champion.as_deref()).collect();
    assert_eq!(pending, [None]);
}

/// Another canaryctl may say the same reason in other words.
#[test]
fn other_words_are_no_other_end() {
    let mut desk = Desk::new();
    let end = ended("3", ReleaseOutcome::Degraded, 7);
    let reworded = ReleaseResult { reason: "in other words".to_owned(), ..end.clone() };
    for release in [end, reworded] {
        desk.sees(None, &ReleaseStage::Ended(release));
    }
    assert_eq!(desk.state.pending().len(), 1);
}

/// Three results of two versions while the registry is away: of each the newest, and the newest champion.
#[test]
fn only_the_newest_results_are_kept() {
    let mut desk = Desk::new();
    desk.sees(None, &over("3", ReleaseOutcome::Degraded, 7));
    desk.sees(None, &over("3", ReleaseOutcome::Healthy, 8));
    desk.sees(None, &over("4", ReleaseOutcome::Healthy, 9));
    let pending: Vec<_> = desk
        .state
        .pending()
        .iter()
        .map(|one| {
            (one.release.version.as_str(), &one.release.ended_at[18..19], one.champion.as_deref())
        })
        .collect();
    assert_eq!(pending, [("3", "8", None), ("4", "9", Some("4"))]);
}

/// What can happen to a registry, a release and the controller.
#[derive(Clone, Debug)]
enum Happening {
    Candidate(Option<u8>),
    Champion(Option<u8>),
    Ends(ReleaseOutcome),
    Registry(bool),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let version = || prop::option::weighted(0.9, 1_u8..5);
    prop_oneof![
        version().prop_map(Happening::Candidate),
        version().prop_map(Happening::Champion),
        prop::sample::select(vec![
            ReleaseOutcome::Healthy,
            ReleaseOutcome::Degraded,
            ReleaseOutcome::Measured
        ])
        .prop_map(Happening::Ends),
        any::<bool>().prop_map(Happening::Registry),
        Just(Happening::Restart),
    ]
}

/// A registry, a controller that obeys, and what must hold of both.
struct World {
    state: RegistryState,
    aliases: Aliases,
    up: bool,
    release: ReleaseStage,
    at: u64,
    /// The last release's version, as long as the alias has not been set to another one since its end.
    barred: Option<String>,
    ends: usize,
    reported: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self {
            state: RegistryState::new(SINCE.to_owned()),
            aliases: Aliases::default(),
            up: true,
            release: IDLE,
            at: 0,
            barred: None,
            ends: 0,
            reported: Vec::new(),
        }
    }

    fn happens(&mut self, happening: Happening) {
        let version = |number: Option<u8>| number.map(|number| number.to_string());
        match happening {
            Happening::Candidate(to) => self.aliases.candidate = version(to),
            Happening::Champion(to) => self.aliases.champion = version(to),
            Happening::Ends(outcome) => self.end(outcome),
            Happening::Registry(up) => self.up = up,
            Happening::Restart => {
                let journaled = serde_json::to_string(&self.state).unwrap();
                self.state = serde_json::from_str(&journaled).unwrap();
            }
        }
    }

    fn end(&mut self, outcome: ReleaseOutcome) {
        if let ReleaseStage::Running { version, .. } = &self.release {
            self.ends += 1;
            self.release = over(version, outcome, self.at);
        }
    }

    fn turn(&mut self) {
        self.at += 1;
        let answers = match self.state.pending().first() {
            Some(one) if self.up => vec![self.deliver(&one.clone())],
            _ => Vec::new(),
        };
        let idle = !matches!(self.release, ReleaseStage::Running { .. });
        if let (true, true, Some(candidate)) = (idle, self.up, &self.aliases.candidate)
            && self.barred.as_ref() != Some(candidate)
        {
            self.barred = None;
        }
        let aliases = self.up.then(|| self.aliases.clone());
        let (release, stable) = (self.release.clone(), text("1"));
        let inputs = RegistryInputs { aliases, release, stable, answers };
        let RegistryStep { state, decision, refused } = step(&self.state, &inputs);
        assert!(refused.is_empty());
        let again = step(&state, &RegistryInputs { answers: Vec::new(), ..inputs });
        assert_eq!(again.state, state, "the same inputs again change nothing");
        self.state = state;
        if let RegistryDecision::Start { candidate, champion } = decision {
            assert!(idle, "never during a release");
            assert_eq!(Some(&candidate), self.aliases.candidate.as_ref());
            assert_ne!(Some(&candidate), champion.as_ref(), "the champion starts nothing");
            assert_ne!(Some(&candidate), self.barred.as_ref(), "released, and no other one since");
            self.barred = Some(candidate.clone());
            self.release = ReleaseStage::Running { version: candidate, stable: champion };
        }
    }

    fn deliver(&mut self, one: &WriteBack) -> WriteBackAnswer {
        self.reported.push(one.release.ended_at.clone());
        if let Some(champion) = &one.champion {
            self.aliases.champion = Some(champion.clone());
        }
        WriteBackAnswer::Delivered(one.number)
    }
}

proptest! {
    #[test]
    fn laws_of_the_registry(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        for happening in happenings {
            world.happens(happening);
            world.turn();
        }
        // Once the registry is back, everything pending arrives, each result once and in order.
        world.up = true;
        world.aliases.candidate = None;
        for _ in 0..80 {
            world.turn();
        }
        prop_assert!(world.state.pending().is_empty());
        prop_assert!(world.reported.len() <= world.ends);
        prop_assert!(world.reported.is_sorted_by(|one, next| one < next), "{:?}", world.reported);
        if let ReleaseStage::Ended(release) = &world.release {
            prop_assert_eq!(world.reported.last(), Some(&release.ended_at), "the newest result arrives");
        }
    }
}
