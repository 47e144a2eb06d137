//! Reading a Prometheus metric: Argo Rollouts' fields.

use std::time::Duration;

use super::access;
use crate::condition::Condition;
use crate::spec::PrometheusSpec;
use canary_model::document::{ConfigErrors, Object};
use canary_model::duration;

/// The longest address and query, in bytes.
const MAX_QUERY: usize = 8_192;
/// The most measurements that a limit can speak of.
const MAX_LIMIT: u64 = 1_000_000;
/// How often is measured when the file doesn't say.
const INTERVAL: Duration = Duration::from_secs(60);
/// The shortest time from one measurement to the next.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The fields beside `name` and `kind`.
pub(super) const FIELDS: [&str; 9] = [
    "address",
    "query",
    "interval",
    "initialDelay",
    "count",
    "failureLimit",
    "inconclusiveLimit",
    "successCondition",
    "failureCondition",
];

pub(super) fn read(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<PrometheusSpec> {
    let address = fields.require("address", problems).and_then(|node| {
        node.parsed(
            "a URL that begins with http:// or https:// and has no query (?) and no fragment (#)",
            http_url,
            problems,
        )
    });
    let access = access::read(fields, address, problems);
    let query = fields.require("query", problems).and_then(|node| {
        let sound = |text: &'_ str| {
            (!text.trim().is_empty() && text.len() <= MAX_QUERY).then(|| text.to_owned())
        };
        node.parsed("a PromQL query of at most 8192 bytes", sound, problems)
    });
    let success_condition = condition("successCondition", fields, problems);
    let failure_condition = condition("failureCondition", fields, problems);
    if matches!((&success_condition, &failure_condition), (Some(None), Some(None))) {
        let message = "a successCondition or a failureCondition is required";
        problems.add(fields.path(), message);
        return None;
    }
    let interval = interval(fields, problems);
    let initial_delay = match fields.get("initialDelay") {
        None => Some(Duration::ZERO),
        Some(node) => node.parsed(duration::EXPECTED, duration::parse, problems),
    };
    let mut limit = |field: &str, least: u64| match fields.get(field) {
        None => Some(None),
        Some(node) => node.whole(least, MAX_LIMIT, problems).map(Some),
    };
    let (failures, inconclusive) = (limit("failureLimit", 0), limit("inconclusiveLimit", 0));
    let count = limit("count", 1);
    Some(PrometheusSpec {
        address: address?.to_owned(),
        access: Box::new(access?),
        query: query?,
        interval: interval?,
        initial_delay: initial_delay?,
        count: count?,
        failure_limit: failures?.unwrap_or(0),
        inconclusive_limit: inconclusive?.unwrap_or(0),
        success_condition: success_condition?,
        failure_condition: failure_condition?,
    })
}

fn http_url(text: &str) -> Option<&str> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let sound = !host.is_empty() && !host.starts_with('/') && text.len() <= MAX_QUERY;
    let bare = !text.contains(['?', '#']);
    (sound && bare && text.bytes().all(|c| c.is_ascii_graphic())).then_some(text)
}

fn interval(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<Duration> {
    let Some(node) = fields.get("interval") else { return Some(INTERVAL) };
    let sound = |text: &str| duration::parse(text).filter(|interval| *interval >= MIN_INTERVAL);
    node.parsed("a duration of at least 1s, such as 30s or 5m", sound, problems)
}

/// `Some(None)` where there is none.
fn condition(
    field: &str,
    fields: &Object<'_>,
    problems: &mut ConfigErrors,
) -> Option<Option<Condition>> {
    let Some(node) = fields.get(field) else { return Some(None) };
    let text = node.text(problems)?;
    match Condition::parse(text) {
        Ok(condition) => Some(Some(condition)),
        Err(error) => {
            let shown: String = text.chars().take(60).collect();
            node.problem(problems, format!("{error}, found \"{shown}\""));
            None
        }
    }
}
