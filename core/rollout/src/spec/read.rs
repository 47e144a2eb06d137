//! Reads a rollout file out of a JSON value, every problem named by its path.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fields::{given, is_url, optional, url};
use super::goal;
use super::read_release;
use super::read_steps::{self, percent};
use super::{Gate, GatePosition, Notify, Spec, StepSpec, Topic};
use canary_judge::counts::Pair;
use canary_judge::spec::{
    Analysis, FALSE_ABORT, FALSE_PAUSE, FALSE_SPLIT, MetricRule, SplitMismatch, percentage,
};
use canary_model::document::{ConfigErrors, Node, Object};
use canary_model::duration;
use canary_model::names;
use canary_model::names::is_rollout_name;
use canary_model::runtime::MAX_LEASE_SECONDS;

/// The most Envoys in a file, and so the largest quorum.
pub(crate) const MAX_ENVOYS: usize = 1_000;
/// The most gates, and the most `notify` entries.
pub(crate) const MAX_HOOKS: usize = 16;
/// How long a weight holds without renewal where the file does not say.
const DEFAULT_LEASE_SECONDS: u32 = 30;
/// How long a gate may take to answer where the file does not say.
const DEFAULT_GATE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a gate may take to answer.
const MAX_GATE_TIMEOUT: Duration = Duration::from_secs(300);

/// The fields of a rollout file.
pub(crate) const FIELDS: [&str; 15] = [
    "rollout",
    "goal",
    "afterwards",
    "envoys",
    "lease",
    "versions",
    "steps",
    "harmBudget",
    "analysis",
    "gates",
    "notify",
    "manual",
    "guardQuorum",
    "deploy",
    "registry",
];
/// The fields of an entry of `gates`.
pub(crate) const GATE_FIELDS: [&str; 3] = ["before", "url", "timeout"];
/// The fields of an entry of `notify`.
pub(crate) const NOTIFY_FIELDS: [&str; 2] = ["on", "url"];

pub(super) fn spec(root: &Node<'_>, problems: &mut ConfigErrors) -> Option<Spec> {
    let fields = root.object(&FIELDS, problems)?;
    let rollout = fields.require("rollout", problems).and_then(|node| {
        let read = |text: &str| is_rollout_name(text).then(|| text.to_owned());
        node.parsed(names::ROLLOUT_EXPECTED, read, problems)
    });
    let goal = goal::goal(&fields, problems);
    if goal.is_some_and(super::Goal::is_measure) {
        goal::refuse_promotion(&fields, problems);
    }
    let manual = given(&fields, "manual", false, Node::flag, problems);
    let analysis = analysis(&fields, manual == Some(true), problems);
    let harm_budget = optional(&fields, "harmBudget", harm_budget, problems);
    let steps = fields
        .require("steps", problems)
        .and_then(|node| read_steps::steps(&node, harm_budget == Some(None), problems));
    let gates = match &steps {
        Some(steps) => given(&fields, "gates", vec![], |n, p| gates(n, steps, p), problems),
        None => None,
    };
    // Everything is read before anything is given up, so that all faults are reported at once.
    let envoys = given(&fields, "envoys", vec![], envoys, problems);
    let lease_seconds = given(&fields, "lease", DEFAULT_LEASE_SECONDS, lease, problems);
    let notify = given(&fields, "notify", vec![], notify, problems);
    let guard_quorum = given(&fields, "guardQuorum", 1, quorum, problems);
    let versions = given(&fields, "versions", Pair::default(), read_release::versions, problems);
    let deploy = optional(&fields, "deploy", read_release::deploy, problems);
    let registry = optional(&fields, "registry", read_release::registry, problems);
    let spec = Spec {
        versions: versions?,
        deploy: deploy?,
        registry: registry?,
        envoys: envoys?,
        lease_seconds: lease_seconds?,
        notify: notify?,
        guard_quorum: guard_quorum?,
        rollout: rollout?,
        goal: goal?,
        steps: steps?,
        analysis: analysis?,
        gates: gates?,
        harm_budget: harm_budget?,
        manual: manual?,
    };
    fit(&spec, problems).then_some(spec)
}

/// A rollback condition is defined before the start: a file without one is refused.
fn analysis(fields: &Object<'_>, manual: bool, problems: &mut ConfigErrors) -> Option<Analysis> {
    let read = match fields.get("analysis") {
        Some(node) => Analysis::read(&node, problems)?,
        None => Analysis {
            false_abort: FALSE_ABORT,
            false_split: FALSE_SPLIT,
            false_pause: FALSE_PAUSE,
            split_mismatch: SplitMismatch::default(),
            metrics: Vec::new(),
        },
    };
    if !read.can_abort() && !manual {
        problems.add(
            "analysis.metrics",
            "nothing here can roll the canary back: name at least one metric that aborts, such as {name: \
             failures, kind: failureRate}, or say `manual: true` at the top of the file",
        );
        return None;
    }
    Some(read)
}

/// What holds between the parts of a file.
fn fit(spec: &Spec, problems: &mut ConfigErrors) -> bool {
    let mut sound = true;
    let mut wrong = |path: &str, message: &str| {
        problems.add(path, message);
        sound = false;
    };
    let certified = |rule: &MetricRule| matches!(rule, MetricRule::FailureRate { .. });
    let waits = spec.steps.iter().flat_map(|step| &step.pauses);
    let confident = waits.filter_map(|pause| pause.until()).any(|until| until.until_confident);
    if spec.analysis.metrics.is_empty() && confident {
        wrong("steps", "untilConfident has nothing to be confident of: there is no metric");
    }
    if let Some(nothing) = goal::measures_nothing(spec) {
        wrong("analysis.metrics", nothing);
    }
    if spec.harm_budget.is_some() {
        if !spec.analysis.metrics.iter().any(|metric| certified(&metric.rule)) {
            wrong("harmBudget", "a budget of failures needs a metric of kind failureRate");
        }
        if !confident {
            wrong("harmBudget", "has no effect: no step waits `untilConfident: true`");
        }
    }
    sound
}

fn harm_budget(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<f64> {
    let sound = |text| percentage(text).filter(|share| *share > 0.0 && *share < 1.0);
    node.parsed("a percentage above 0% and below 100%, such as 0.2%", sound, problems)
}

fn lease(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<u32> {
    let sound = |text: &str| {
        let lease = duration::parse(text).filter(|lease| lease.subsec_nanos() == 0)?;
        let seconds = u32::try_from(lease.as_secs()).ok()?;
        (1..=MAX_LEASE_SECONDS).contains(&seconds).then_some(seconds)
    };
    node.parsed("a duration of whole seconds from 1s to 24h, such as 30s", sound, problems)
}

fn quorum(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<u32> {
    let envoys = node.whole(1, MAX_ENVOYS as u64, problems)?;
    u32::try_from(envoys).ok()
}

fn envoys(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let nodes = node.list(MAX_ENVOYS, problems)?;
    let read = nodes.iter().map(|node| {
        let what = "http://host:port or unix:///path";
        let envoy = node.parsed(what, |text| is_admin(text).then(|| text.to_owned()), problems)?;
        if !seen.insert(envoy.clone()) {
            node.problem(problems, "duplicate entry");
            return None;
        }
        Some(envoy)
    });
    all(read)
}

/// Every element, or nothing; every element is read, so that every problem is found.
fn all<T>(read: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = read.collect();
    read.into_iter().collect()
}

fn is_admin(text: &str) -> bool {
    let socket = text.strip_prefix("unix://").map(|path| path.starts_with('/') && path.len() > 1);
    socket.unwrap_or_else(|| text.starts_with("http://") && is_url(text))
}

fn gates(node: &Node<'_>, steps: &[StepSpec], problems: &mut ConfigErrors) -> Option<Vec<Gate>> {
    let nodes = node.list(MAX_HOOKS, problems)?;
    all(nodes.iter().map(|node| gate(node, steps, problems)))
}

fn gate(node: &Node<'_>, steps: &[StepSpec], problems: &mut ConfigErrors) -> Option<Gate> {
    let fields = node.object(&GATE_FIELDS, problems)?;
    let before = fields.require("before", problems).and_then(|node| before(&node, steps, problems));
    let url = url(&fields, problems);
    let timeout = given(&fields, "timeout", DEFAULT_GATE_TIMEOUT, gate_timeout, problems);
    Some(Gate { before: before?, url: url?, timeout: timeout? })
}

fn gate_timeout(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Duration> {
    let sound = |text: &str| {
        duration::parse(text).filter(|timeout| !timeout.is_zero() && *timeout <= MAX_GATE_TIMEOUT)
    };
    node.parsed("a duration of at most 5m, such as 10s", sound, problems)
}

fn before(
    node: &Node<'_>,
    steps: &[StepSpec],
    problems: &mut ConfigErrors,
) -> Option<GatePosition> {
    if node.value().as_str() == Some("promotion") {
        return Some(GatePosition::Promotion);
    }
    let weight = node.value().as_number().and_then(|_| percent(node, problems));
    let step = weight.and_then(|weight| steps.iter().position(|step| step.weight == weight));
    if step.is_none() {
        node.expected(problems, "promotion, or the weight that a step sets");
    }
    step.map(GatePosition::Step)
}

fn notify(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Vec<Notify>> {
    let nodes = node.list(MAX_HOOKS, problems)?;
    all(nodes.iter().map(|node| {
        let fields = node.object(&NOTIFY_FIELDS, problems)?;
        let on = fields.require("on", problems).and_then(|node| topics(&node, problems));
        let url = url(&fields, problems);
        Some(Notify { on: on?, url: url? })
    }))
}

fn topics(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Vec<Topic>> {
    let words = Topic::ALL.map(Topic::as_str).join(", ");
    let nodes = node.list(Topic::ALL.len(), problems)?;
    if nodes.is_empty() {
        node.problem(problems, format!("name at least one of {words}"));
        return None;
    }
    let what = format!("one of {words}");
    let topic = |text: &str| Topic::ALL.into_iter().find(|topic| topic.as_str() == text);
    all(nodes.iter().map(|node| node.parsed(&what, topic, problems)))
}
