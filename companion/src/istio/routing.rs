//! The subsets of the services, and the routes that lead to them.

use canary_model::matching::{HeaderCondition, HeaderMatch};
use serde_json::{Map, Value, json};

use super::hosts::{HostGroup, groups};
use super::names::joined;
use super::workloads::services;
use super::{DeployedRollout, Istio, Section, Subset, object, with_spec};

const API: &str = "networking.istio.io/v1";

pub(super) fn section(istio: &Istio) -> Section {
    let rules = services(istio).into_iter().map(|service| {
        let subset =
            |subset: &Subset| json!({"name": subset.name, "labels": {"version": subset.version}});
        let subsets: Vec<Value> = service.subsets.iter().map(|one| subset(one)).collect();
        let spec = json!({"host": service.host, "subsets": subsets});
        with_spec(object(API, "DestinationRule", service.name, service.namespace), spec)
    });
    let hosts = groups(&istio.rollouts);
    let routes = hosts.iter().filter_map(|group| virtual_service(istio, group));
    Section {
        about: &[
            "Explicit routes: the filter's header selects the canary's route and nothing else; stable is the",
            "default. The routes of several rollouts are in the order of the filter's configuration, because the",
            "first rollout that matches gets the request. Istio sets no timeout here, so long streams aren't cut.",
        ],
        documents: rules.chain(routes).collect(),
    }
}

/// The routes of all rollouts of these hosts.
fn virtual_service(istio: &Istio, group: &HostGroup<'_>) -> Option<Value> {
    let first = group.rollouts.first()?;
    let objects: Vec<&str> = group.rollouts.iter().map(|one| one.object.as_str()).collect();
    let routes: Vec<Value> = group.rollouts.iter().flat_map(|one| routes(istio, one)).collect();
    let spec = json!({
        "gateways": [format!("{}/{}", istio.namespace(), istio.options.gateway.1)],
        "hosts": group.hosts,
        "http": routes,
    });
    let namespace = &first.destination.namespace;
    Some(with_spec(object(API, "VirtualService", &joined(&objects), namespace), spec))
}

/// The canary's route and stable's.
fn routes(istio: &Istio, one: &DeployedRollout) -> [Value; 2] {
    let destination = &one.destination;
    let to = |subset: &Subset| {
        json!([{"destination": {
            "host": destination.host, "subset": subset.name, "port": {"number": destination.port},
        }}])
    };
    let header = (istio.config.headers.route.as_str(), one.rollout.canary.cluster.as_str());
    let canary = json!({
        "name": one.canary_route(),
        "match": paths(one, Some(header)),
        "route": to(&destination.canary),
    });
    let mut stable = json!({"name": one.stable_route(), "route": to(&destination.stable)});
    let matches = paths(one, None);
    if let (false, Some(fields)) = (matches.is_empty(), stable.as_object_mut()) {
        fields.insert("match".to_owned(), Value::Array(matches));
    }
    [canary, stable]
}

/// A match for each path prefix of the rollout. The canary's all have the filter's header and no other,
/// because the filter has checked the others; stable's repeat the rollout's conditions. Without any
/// condition there is no match at all.
fn paths(one: &DeployedRollout, header: Option<(&str, &str)>) -> Vec<Value> {
    let headers: Map<String, Value> = match header {
        Some((name, value)) => Map::from_iter([(name.to_owned(), json!({"exact": value}))]),
        None => one.rollout.matches.headers.iter().map(condition).collect(),
    };
    let with_headers = |mut one: Value| {
        if let (false, Some(fields)) = (headers.is_empty(), one.as_object_mut()) {
            fields.insert("headers".to_owned(), Value::Object(headers.clone()));
        }
        one
    };
    let prefixes = &one.rollout.matches.path_prefixes;
    if prefixes.is_empty() {
        let conditions = !headers.is_empty();
        return conditions.then(|| with_headers(json!({}))).into_iter().collect();
    }
    let prefix = |prefix: &String| with_headers(json!({"uri": {"prefix": prefix}}));
    prefixes.iter().map(prefix).collect()
}

/// A condition for a header as a VirtualService writes it. Its regular expressions are RE2's and match
/// the whole value.
fn condition(header: &HeaderMatch) -> (String, Value) {
    let value = match &header.value {
        HeaderCondition::OneOf(values) => match &values[..] {
            [value] => json!({"exact": value}),
            _ => {
                let escaped: Vec<String> = values.iter().map(|value| escaped(value)).collect();
                json!({"regex": escaped.join("|")})
            }
        },
        HeaderCondition::Prefix(prefix) => json!({"prefix": prefix}),
        HeaderCondition::Present => json!({"regex": ".*"}),
    };
    (header.name.clone(), value)
}

/// A text as a regular expression that matches only itself.
fn escaped(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-/ ".contains(letter);
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if !plain(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
