//! What is judged belongs together: no request counts twice, and no outcome without its request.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// One thing that happens to a process's requests.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes, in milliseconds.
    Pass(u64),
    /// A request is assigned to the canary (or not), under a version, in a window, by a client.
    Assign(bool, usize, u32, Option<u8>),
    /// Something happens to one of the requests so far.
    Begin(prop::sample::Index),
    Fail(prop::sample::Index),
    Abandon(prop::sample::Index),
    Divert(prop::sample::Index),
    Convert(prop::sample::Index),
    /// What has reached its age is counted.
    Tick,
}

fn event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0_u64..1_500).prop_map(Event::Pass),
        4 => (any::<bool>(), 0_usize..2, 0_u32..2, prop::option::of(0_u8..4))
            .prop_map(|(canary, version, window, client)| Event::Assign(canary, version, window, client)),
        3 => index().prop_map(Event::Begin),
        2 => index().prop_map(Event::Fail),
        2 => index().prop_map(Event::Abandon),
        1 => index().prop_map(Event::Divert),
        1 => index().prop_map(Event::Convert),
        3 => Just(Event::Tick),
    ]
}

/// What the test knows of a request.
struct Model {
    request: JudgedRequest,
    new: NewRequest,
    /// The number of its slot.
    slot: u32,
    at_ns: u64,
    state: JudgedState,
    counted: bool,
}

fn key(client: u8) -> KeyHash {
    KeyHash::new("salt", &[client])
}

/// Unanswered, begun, failed and converted requests, by role.
type Sums = [[u32; 4]; 2];

/// Counts what is due, and compares it with the model's requests in those slots.
fn tick(requests: &mut JudgedRequests, models: &mut [Model], now_ns: u64) {
    loop {
        let number = requests.first;
        let Some(slot) = requests.take_due(now_ns) else { return };
        let (mut expected, mut counted) = (Sums::default(), Sums::default());
        for model in models.iter_mut().filter(|model| model.slot == number) {
            assert!(!std::mem::replace(&mut model.counted, true), "counted once");
            assert!(now_ns - model.at_ns >= requests.age_ns, "not before its age");
            assert_eq!((slot.versions, slot.window), (model.new.versions, model.new.window));
            let of_role = &mut expected[usize::from(model.new.role == Role::Canary)];
            match model.state {
                JudgedState::Unanswered => of_role[0] += 1,
                JudgedState::Begun => {
                    of_role[1] += 1;
                    of_role[3] += u32::from(model.new.conversions & 2 != 0);
                }
                JudgedState::Failed => of_role[2] += 1,
                JudgedState::Diverted => {}
            }
        }
        for (role, sums) in Role::ALL.into_iter().zip(&mut counted) {
            for counts in [slot.counts_of(role, false), slot.counts_of(role, true)] {
                let parts = [counts.unanswered, counts.begun, counts.failed, counts.converted[1]];
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
            }
        }
        assert_eq!(expected, counted, "the same requests, as they were known");
    }
}

proptest! {
    /// In any order of events, totals and failures of a slot belong to the same requests; each counts
    /// once, with what was known of it when its slot was counted; and nothing is lost.
    #[test]
    fn every_request_counts_once_with_what_was_known_at_its_age(
        events in prop::collection::vec(event(), 1..200),
        age_s in 1_u64..4,
    ) {
        let seen = Rc::new(RefCell::new(SeenClients::default()));
        let mut requests = JudgedRequests::new(Duration::from_secs(age_s), Some(seen));
        let mut now_ns = SECOND;
        let mut models: Vec<Model> = Vec::new();
        for event in events {
            let (index, state) = match event {
                Event::Pass(millis) => { now_ns += millis * 1_000_000; continue }
                Event::Tick => { tick(&mut requests, &mut models, now_ns); continue }
                Event::Assign(canary, version, window, client) => {
                    let role = if canary { Role::Canary } else { Role::Stable };
                    let versions = VersionPlaces { stable: version, canary: version + 2 };
                    let conversions = client.unwrap_or(2);
                    let client = client.map(key);
                    let new = NewRequest { role, versions, window, client, conversions };
                    let request = requests.assigned(new, now_ns);
                    let state = JudgedState::Unanswered;
                    let slot = request.0.as_ref().unwrap().slot;
                    models.push(Model { request, new, slot, at_ns: now_ns, state, counted: false });
                    continue;
                }
                Event::Begin(index) => (index, JudgedState::Begun),
                Event::Fail(index) => (index, JudgedState::Failed),
                Event::Abandon(index) => (index, JudgedState::Unanswered),
                Event::Divert(index) => (index, JudgedState::Diverted),
                Event::Convert(index) => {
                    if !models.is_empty() {
                        let model = index.get_mut(&mut models);
                        requests.converted(&mut model.request, 2);
                        model.new.conversions |= 2;
                    }
                    continue;
                }
            };
            if models.is_empty() { continue }
            let model = index.get_mut(&mut models);
            match state {
                JudgedState::Begun => requests.began(&mut model.request),
                JudgedState::Failed => requests.failed(&mut model.request),
                JudgedState::Unanswered => requests.abandoned(&mut model.request),
                JudgedState::Diverted => requests.diverted(&mut model.request),
            }
            let last = model.state;
            model.state = match (last, state) {
                (_, JudgedState::Diverted) => state,
                (JudgedState::Failed | JudgedState::Diverted, _) => last,
                _ => state,
            };
        }
        tick(&mut requests, &mut models, now_ns + 10 * SECOND);
        prop_assert!(requests.is_empty() && requests.entries == 0);
        prop_assert!(models.iter().all(|model| model.counted));
    }
}
