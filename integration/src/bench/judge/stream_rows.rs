//! The rows of streams: how often equally failing versions are rolled back, and how soon a worse one is.

use serde_json::json;

use super::figures::{Share, percent};
use super::streams::{FailureTime, RequestLength, StreamScenario, StreamVersion, TwoCounts, both};
use super::{Extent, told};
use crate::bench::{Row, Sheet};

const LIMIT: f64 = 0.01;
/// The age by which deadlines have passed, and the longest stream, in seconds.
const DEADLINE: u64 = 10;
const LONGEST: u64 = 120;
/// The route's timeout, in seconds.
const TIMEOUT: u64 = 15;
const UP: [f64; 3] = [0.05, 0.25, 0.5];
const DOWN: [f64; 3] = [0.5, 0.25, 0.05];
/// How soon a canary that fails 5 % by deadline is found from the start, in seconds: a quarter more than
/// the study's median of 104.
const FOUND_WITHIN: u64 = 130;

/// Both versions stream alike, and 2 % of their requests fail by a deadline of 10 s.
const ALIKE: StreamScenario = StreamScenario {
    weights: UP,
    stable: STREAM,
    canary: STREAM,
    age: DEADLINE,
    bursts: false,
    outages: false,
};
const STREAM: StreamVersion = StreamVersion {
    length: RequestLength::Stream(1.0),
    failing: 0.02,
    known: FailureTime::Age(DEADLINE as f64),
};
/// Short requests of which 2 % time out.
const TIMING_OUT: StreamVersion = StreamVersion {
    length: RequestLength::Short,
    failing: 0.02,
    known: FailureTime::Age(TIMEOUT as f64),
};

/// The table of equally failing versions, and the row of one that fails more.
pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Streams: how often a version that fails as often is rolled back",
        "falseAbort 1 %, margin 0; 100 requests a second for half an hour, streams of 1-120 s, stable's old ones still \
         running at the start, 2 % fail after 10 s, weights 5/25/50 % (up) or 50/25/5 % (down), unless the name says \
         otherwise. Outcomes counted at the age H, as the filter does; beside it the same requests counted when they \
         end. Missed when significantly above 1 % (exact binomial test, 0.1 %)",
        &["rolled back", "95 % interval", "runs", "target", "H", "counted at the end"],
    );
    for (name, scenario) in rows() {
        // A burst's row is harder to tell from chance: its failures come in fewer, larger lumps.
        let count = if scenario.bursts { extent.streams * 5 / 2 } else { extent.streams };
        sheet.row(false_row(told(name.to_owned()), scenario, &both(count, scenario)));
    }
    sheet.row(found_row(told("power: the canary fails 5 % by deadline, up".to_owned()), extent));
    sheet
}

fn rows() -> Vec<(&'static str, StreamScenario)> {
    let canary = |length| StreamVersion { length: RequestLength::Stream(length), ..STREAM };
    let slower = |factor| StreamScenario { canary: canary(factor), ..ALIKE };
    let within = |length: f64| StreamVersion { known: FailureTime::Within, ..canary(length) };
    let inside = |factor| StreamScenario {
        stable: within(1.0),
        canary: within(factor),
        age: LONGEST,
        ..ALIKE
    };
    let early = StreamScenario {
        canary: StreamVersion { known: FailureTime::Age(1.0), ..STREAM },
        ..ALIKE
    };
    let short = StreamScenario { stable: TIMING_OUT, canary: TIMING_OUT, age: TIMEOUT, ..ALIKE };
    let refused = StreamVersion { known: FailureTime::Age(0.05), ..TIMING_OUT };
    let down = |scenario| StreamScenario { weights: DOWN, ..scenario };
    let bursts = |scenario| StreamScenario { bursts: true, ..scenario };
    let outages = StreamScenario { outages: true, ..ALIKE };
    vec![
        ("constant 25 %, from weight 0", StreamScenario { weights: [0.25; 3], ..ALIKE }),
        ("up, same durations", ALIKE),
        ("down", down(ALIKE)),
        ("up, failures anywhere inside the stream", inside(1.0)),
        ("up, canary's streams x 1.5", slower(1.5)),
        ("up, canary's streams x 3", slower(3.0)),
        ("up, canary's streams half as long", slower(0.5)),
        ("up, canary's failures known after 1 s, stable's after 10 s", early),
        ("up, failures inside, canary's streams half as long", inside(0.5)),
        ("outages kill 30 % of what is in flight, up", outages),
        ("outages kill 30 % of what is in flight, down", down(outages)),
        ("short requests, failures are timeouts of 15 s, up", short),
        ("short requests, failures are timeouts of 15 s, down", down(short)),
        (
            "short requests, canary fails at once, stable after 15 s, up",
            StreamScenario { canary: refused, ..short },
        ),
        ("bursts, canary's streams x 1.5", bursts(slower(1.5))),
        ("bursts, canary's streams x 3", bursts(slower(3.0))),
        ("bursts, canary's streams half as long", bursts(slower(0.5))),
        ("bursts, canary's failures known after 1 s, stable's after 10 s", bursts(early)),
        ("bursts, failures inside, canary's streams x 1.5", bursts(inside(1.5))),
        ("bursts, failures inside, canary's streams half as long", bursts(inside(0.5))),
    ]
}

/// A share that must not be significantly above the limit, beside that of the other way of counting.
fn false_row(name: String, scenario: StreamScenario, outcomes: &[TwoCounts]) -> Row {
    let by_age = Share::decided(outcomes.iter().map(|both| &both.by_age));
    let by_end = Share::decided(outcomes.iter().map(|both| &both.by_end));
    let [low, high] = by_age.interval();
    let cells = vec![
        percent(by_age.fraction()),
        format!("{} – {}", percent(low), percent(high)),
        outcomes.len().to_string(),
        format!("≤ {}", percent(LIMIT)),
        format!("{} s", scenario.age),
        percent(by_end.fraction()),
    ];
    let figures = json!({
        "share": by_age.fraction(), "interval95": [low, high], "runs": outcomes.len(), "target": LIMIT,
        "age_seconds": scenario.age, "counted_at_the_end": by_end.fraction(),
    });
    Row { name, cells, met: Some(!by_age.significantly_above(LIMIT)), figures }
}

/// How soon a canary is found that fails more, counted from the rollout's start.
fn found_row(name: String, extent: Extent) -> Row {
    let canary = StreamVersion { failing: 0.05, ..STREAM };
    let scenario = StreamScenario { canary, ..ALIKE };
    let outcomes = both(extent.streams, scenario);
    let mut seconds: Vec<u64> = outcomes.iter().map(|both| both.at).collect();
    seconds.sort_unstable();
    let median = seconds[seconds.len() / 2];
    let found = Share::decided(outcomes.iter().map(|both| &both.by_age));
    let by_end = Share::decided(outcomes.iter().map(|both| &both.by_end));
    let cells = vec![
        format!("{}, median after {median} s", percent(found.fraction())),
        String::new(),
        outcomes.len().to_string(),
        format!("≤ {FOUND_WITHIN} s"),
        format!("{} s", scenario.age),
        percent(by_end.fraction()),
    ];
    let figures = json!({
        "found": found.fraction(), "median_seconds": median, "runs": outcomes.len(),
        "target": FOUND_WITHIN, "age_seconds": scenario.age,
    });
    Row { name, cells, met: Some(median <= FOUND_WITHIN), figures }
}
