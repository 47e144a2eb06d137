//! Reads the steps of a rollout file: a list of weights and pauses, or the ladder `auto`.

use std::time::Duration;

use super::{Conditions, PauseSpec, StepSpec};
use canary_model::document::{ConfigErrors, Node, Object};
use canary_model::duration;
use canary_model::weight::Weight;

/// The most entries of `steps`, weights and pauses together.
pub(crate) const MAX_ENTRIES: usize = 200;
/// The longest duration or timeout of a pause.
const MAX_PAUSE: Duration = Duration::from_secs(366 * 86_400);
/// The most requests that a pause can ask for.
pub(crate) const MAX_REQUESTS: u64 = 1_000_000_000_000;
/// The ladder of `steps: auto`, in percent; behind it comes the promotion.
const LADDER: [u32; 5] = [1, 5, 10, 25, 50];
/// The fields of a `pause`.
pub(crate) const PAUSE_FIELDS: [&str; 4] = ["duration", "minRequests", "untilConfident", "timeout"];
/// The fields of which an entry of `steps` has one.
pub(crate) const ENTRY_FIELDS: [&str; 2] = ["setWeight", "pause"];

const PARTS_PER_PERCENT: u32 = 10_000;

pub(super) fn steps(
    node: &Node<'_>,
    no_budget: bool,
    problems: &mut ConfigErrors,
) -> Option<Vec<StepSpec>> {
    if node.value().as_str() == Some("auto") {
        if no_budget {
            let what = "`auto` needs a harmBudget at the top of the file, such as harmBudget: 0.2%";
            node.problem(problems, what);
            return None;
        }
        return Some(ladder());
    }
    if !node.value().is_array() {
        node.expected(problems, "`auto`, or a list of {setWeight: …} and {pause: …}");
        return None;
    }
    let entries = node.list(MAX_ENTRIES, problems)?;
    let read: Vec<_> = entries.iter().map(|entry| read_entry(entry, problems)).collect();
    let read: Vec<Entry> = read.into_iter().collect::<Option<_>>()?;
    let mut steps = Vec::new();
    let mut sound = true;
    for (entry, node) in read.into_iter().zip(&entries) {
        if let Err(message) = append(entry, &mut steps) {
            node.problem(problems, message);
            sound = false;
        }
    }
    // 100 % is no step: it is the promotion, which comes last anyhow.
    steps.pop_if(|last| last.weight == Weight::FULL);
    if steps.is_empty() && sound {
        node.problem(problems, "begin with a step below 100 %, such as {setWeight: 5}");
        return None;
    }
    sound.then_some(steps)
}

fn ladder() -> Vec<StepSpec> {
    let confident = Conditions { until_confident: true, ..Conditions::default() };
    let step = |percent: u32| {
        let weight = Weight::from_ppm(percent * PARTS_PER_PERCENT)?;
        Some(StepSpec { weight, pauses: vec![PauseSpec::Until(confident.clone())] })
    };
    LADDER.into_iter().filter_map(step).collect()
}

enum Entry {
    Weight(Weight),
    Pause(PauseSpec),
}

fn read_entry(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Entry> {
    let fields = node.object(&ENTRY_FIELDS, problems)?;
    match (fields.get("setWeight"), fields.get("pause")) {
        (Some(weight), None) => percent(&weight, problems).map(Entry::Weight),
        (None, Some(node)) => pause(&node, problems).map(Entry::Pause),
        (None, None) | (Some(_), Some(_)) => {
            let what = "an entry is either {setWeight: …} or {pause: …}; a pause that waits for a \
                        person is {pause: {}}";
            node.problem(problems, what);
            None
        }
    }
}

/// Appends an entry to the steps, or says why it can't stand there.
fn append(entry: Entry, steps: &mut Vec<StepSpec>) -> Result<(), String> {
    let last = steps.last_mut();
    match (entry, last) {
        (Entry::Weight(weight), _) if weight == Weight::ZERO => {
            Err("a step's weight is above 0: stable alone is where a rollout starts".to_owned())
        }
        (Entry::Weight(weight), Some(last)) if weight <= last.weight => Err(format!(
            "weights must rise: {weight} does not lie above the {} before it",
            last.weight
        )),
        (Entry::Weight(weight), _) => {
            steps.push(StepSpec { weight, pauses: Vec::new() });
            Ok(())
        }
        (Entry::Pause(_), None) => Err("begin with a weight, such as {setWeight: 1}".to_owned()),
        (Entry::Pause(_), Some(last)) if last.weight == Weight::FULL => Err(
            "at 100 % there is no stable traffic to compare with: pause at a lower weight, or end \
             the steps here"
                .to_owned(),
        ),
        (Entry::Pause(pause), Some(last)) => {
            last.pauses.push(pause);
            Ok(())
        }
    }
}

/// A weight as a JSON number of percent.
pub(super) fn percent(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Weight> {
    let Some(number) = node.value().as_number() else {
        node.expected(problems, "a percentage from 0 to 100 as a bare number, such as 5 or 0.25");
        return None;
    };
    match Weight::from_json(number) {
        Ok(weight) => Some(weight),
        Err(error) => {
            node.problem(problems, format!("{error}; found {number}"));
            None
        }
    }
}

fn pause(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<PauseSpec> {
    let fields = node.object(&PAUSE_FIELDS, problems)?;
    let empty = node.value().as_object().is_some_and(serde_json::Map::is_empty);
    if empty {
        return Some(PauseSpec::Operator);
    }
    let duration = time("duration", &fields, problems);
    let min_requests = match fields.get("minRequests") {
        None => Some(None),
        Some(node) => node.whole(1, MAX_REQUESTS, problems).map(Some),
    };
    let until_confident =
        fields.get("untilConfident").map_or(Some(false), |node| node.flag(problems));
    let timeout = time("timeout", &fields, problems);
    let conditions = Conditions {
        duration: duration?,
        min_requests: min_requests?,
        until_confident: until_confident?,
        timeout: timeout?,
    };
    match unsound(&conditions) {
        None => Some(PauseSpec::Until(conditions)),
        Some(message) => {
            node.problem(problems, message);
            None
        }
    }
}

fn unsound(conditions: &Conditions) -> Option<&'static str> {
    let Conditions { duration, min_requests, until_confident, timeout } = conditions;
    if duration.is_none() && min_requests.is_none() && !until_confident {
        return Some(
            "a pause waits for a duration, for minRequests, or with `untilConfident: true`; {} \
             waits for a person",
        );
    }
    let passes_first =
        duration.zip(*timeout).is_some_and(|(duration, timeout)| timeout <= duration);
    passes_first.then_some("the timeout passes before the duration: make it longer")
}

/// A pause's time: not given, or longer than nothing.
fn time(field: &str, fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<Option<Duration>> {
    let Some(node) = fields.get(field) else { return Some(None) };
    let sound =
        |text: &str| duration::parse(text).filter(|time| !time.is_zero() && *time <= MAX_PAUSE);
    let what = "a duration above 0 and at most 366d, such as 30s, 10m, 7d or 1h30m";
    node.parsed(what, sound, problems).map(Some)
}
