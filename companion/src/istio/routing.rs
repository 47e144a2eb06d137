//! The routes and the subsets that they lead to.

use canary_model::matching::Authority;
use serde_json::{Value, json};

use super::{Istio, Section, Subset, object, with_spec};

const API: &str = "networking.istio.io/v1";

pub(super) fn section(istio: &Istio) -> Section {
    Section {
        about: &[
            "Explicit routes: the filter's header picks the canary's, and no other; stable is the default.",
        ],
        documents: vec![destination_rule(istio), virtual_service(istio)],
    }
}

fn destination_rule(istio: &Istio) -> Value {
    let place = &istio.place;
    let subset =
        |subset: &Subset| json!({"name": subset.name, "labels": {"version": subset.version}});
    let spec = json!({
        "host": place.host,
        "subsets": [subset(&place.stable), subset(&place.canary)],
    });
    with_spec(object(API, "DestinationRule", &place.service, &place.namespace), spec)
}

fn virtual_service(istio: &Istio) -> Value {
    let place = &istio.place;
    let to = |subset: &Subset| {
        json!([{"destination": {
            "host": place.host, "subset": subset.name, "port": {"number": place.port},
        }}])
    };
    let header = (istio.config.headers.route.as_str(), istio.rollout.canary.cluster.as_str());
    let mut stable = json!({
        "name": format!("stable-{}", istio.object()),
        "route": to(&place.stable),
    });
    let matches = paths(istio, None);
    if let (false, Some(fields)) = (matches.is_empty(), stable.as_object_mut()) {
        fields.insert("match".to_owned(), Value::Array(matches));
    }
    let canary = json!({
        "name": istio.canary_route(),
        "match": paths(istio, Some(header)),
        "route": to(&place.canary),
    });
    let spec = json!({
        "gateways": [format!("{}/{}", istio.gateway_namespace, istio.gateway)],
        "hosts": hosts(istio),
        "http": [canary, stable],
    });
    with_spec(object(API, "VirtualService", &place.service, &place.namespace), spec)
}

/// The hosts that the rollout takes; without any, every host of the gateway.
fn hosts(istio: &Istio) -> Vec<String> {
    let authorities = &istio.rollout.matches.authorities;
    if authorities.is_empty() {
        return vec!["*".to_owned()];
    }
    let host = |authority: &Authority| match authority {
        Authority::Exact(host) => host.clone(),
        Authority::Suffix(suffix) => format!("*{suffix}"),
    };
    authorities.iter().map(host).collect()
}

/// A match for each prefix that the rollout takes, all with this header.
fn paths(istio: &Istio, header: Option<(&str, &str)>) -> Vec<Value> {
    let with_header = |mut one: Value| {
        if let (Some((name, value)), Some(fields)) = (header, one.as_object_mut()) {
            fields.insert("headers".to_owned(), json!({name: {"exact": value}}));
        }
        one
    };
    let prefixes = &istio.rollout.matches.path_prefixes;
    if prefixes.is_empty() {
        return header.map(|_| with_header(json!({}))).into_iter().collect();
    }
    let prefix = |prefix: &String| with_header(json!({"uri": {"prefix": prefix}}));
    prefixes.iter().map(prefix).collect()
}
