//! The rollouts that Envoy's `/config_dump` shows in the configurations of Wasm filters.
//!
//! Envoy's counters of an earlier version stay until it restarts, so the configuration says which
//! version is the current one. It is only a witness: after a push that was refused the dump of
//! ECDS shows the refused configuration, not the one in force.

use canary_model::weight::Weight;
use serde_json::Value;

/// A rollout as a filter's configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredRollout {
    /// The filter's name where it came by ECDS, with the version of that push.
    pub push: Option<(String, String)>,
    /// The rollout's name.
    pub name: String,
    /// The stable version.
    pub stable: String,
    /// The canary's version.
    pub canary: String,
    /// The weight that holds where the runtime sets none.
    pub weight: Weight,
}

/// The states of a listener in the dump beside the one that serves.
const NOT_IN_FORCE: [&str; 3] = ["warming_state", "draining_state", "error_state"];

/// Finds the rollouts in one answer of `/config_dump`, wherever in it a Wasm filter stands. An
/// answer that can't be read shows none.
pub fn configured_rollouts(dump: &[u8]) -> Vec<ConfiguredRollout> {
    let Ok(dump) = serde_json::from_slice::<Value>(dump) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    search(&dump, None, &mut found);
    found
}

/// Walks the dump; serde_json has bounded its depth.
fn search(value: &Value, push: Option<(&str, &str)>, found: &mut Vec<ConfiguredRollout>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| search(item, push, found)),
        Value::Object(fields) => {
            let push = ecds_push(value).or(push);
            found.extend(plugin(value).iter().flat_map(|plugin| rollouts(plugin, push)));
            let live = fields.iter().filter(|(name, _)| !NOT_IN_FORCE.contains(&name.as_str()));
            live.for_each(|(_, field)| search(field, push, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The name and the version of a push, where the value is an entry of ECDS.
fn ecds_push(value: &Value) -> Option<(&str, &str)> {
    let name = value.get("ecds_filter")?.get("name")?.as_str()?;
    let version = value.get("version_info").and_then(Value::as_str).unwrap_or("");
    Some((name, version))
}

/// The plugin's own configuration, where the value is a Wasm plugin's: text as a StringValue, or a
/// Struct as it stands.
fn plugin(value: &Value) -> Option<Value> {
    value.get("vm_config")?;
    let configuration = value.get("configuration")?;
    match configuration.get("value") {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(object @ Value::Object(_)) => Some(object.clone()),
        _ => Some(configuration.clone()),
    }
}

fn rollouts(plugin: &Value, push: Option<(&str, &str)>) -> Vec<ConfiguredRollout> {
    let read = |rollout: &Value| {
        let version = |role: &str| Some(rollout.get(role)?.get("version")?.as_str()?.to_owned());
        let weight = rollout.get("weight").and_then(Value::as_number);
        Some(ConfiguredRollout {
            push: push.map(|(name, version)| (name.to_owned(), version.to_owned())),
            name: rollout.get("name")?.as_str()?.to_owned(),
            stable: version("stable")?,
            canary: version("canary")?,
            weight: weight
                .and_then(|number| Weight::from_json(number).ok())
                .unwrap_or(Weight::ZERO),
        })
    };
    let list = plugin.get("rollouts").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLUGIN: &str = r#"{"rollouts": [{"name": "scorer", "stable": {"version": "3.1"},
        "canary": {"version": "3.2"}, "weight": 0.25}, {"name": "broken"}]}"#;

    fn dump(configuration: Value) -> Vec<u8> {
        let wasm =
            json!({"config": {"name": "canary", "vm_config": {}, "configuration": configuration}});
        let entry = json!({"version_info": "7", "ecds_filter": {"name": "canary-filter", "typed_config": wasm}});
        json!({"configs": [{"@type": "x", "other": [1, null]}, entry]}).to_string().into_bytes()
    }

    #[test]
    fn finds_text_and_struct() {
        let as_text = dump(
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": PLUGIN}),
        );
        let plugin: Value = serde_json::from_str(PLUGIN).unwrap();
        let as_struct =
            dump(json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": plugin}));
        for dump in [as_text, as_struct] {
            let found = configured_rollouts(&dump);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].name, "scorer");
            assert_eq!((found[0].stable.as_str(), found[0].canary.as_str()), ("3.1", "3.2"));
            assert_eq!(found[0].weight.ppm(), 2_500);
            assert_eq!(found[0].push, Some(("canary-filter".to_owned(), "7".to_owned())));
        }
    }

    #[test]
    fn whatever_it_says_there_is_an_answer() {
        for odd in
            ["", "{}", "[[[", "null", r#"{"configs": [{"vm_config": {}, "configuration": 3}]}"#]
        {
            assert_eq!(configured_rollouts(odd.as_bytes()), [], "{odd}");
        }
        assert_eq!(configured_rollouts(&dump(json!({"value": "not json"}))), []);
    }
}
