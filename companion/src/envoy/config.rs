//! The rollouts that Envoy's `/config_dump` shows in the configurations of Wasm filters.
//!
//! Envoy's counters of an earlier version stay until it restarts, so the configuration says which
//! version is the current one. After a refused push, the ECDS dump shows the refused configuration
//! instead of the one in force; [`Push`] has what it takes to tell.

use std::collections::BTreeSet;
use std::time::SystemTime;

use canary_model::weight::Weight;
use serde_json::Value;

/// What the dump shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigDump {
    /// The configurations of Wasm filters that have rollouts, or that came by ECDS for such a filter and
    /// can't be read.
    pub pushed: Vec<PushedRollouts>,
    /// Why Envoy refuses new versions of listeners with such a filter, in its own words.
    pub listener_errors: Vec<String>,
}

/// The rollouts of one Wasm filter's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushedRollouts {
    /// The push that brought it; `None` if it is part of a listener.
    pub push: Option<Push>,
    /// The rollouts that the configuration names, as far as they can be read.
    pub rollouts: Vec<ConfiguredRollout>,
}

/// A configuration that came by ECDS, whether Envoy took it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The name of the filter in the connection manager.
    pub filter: String,
    /// The version of the push; empty if its source has no versions, as files don't.
    pub version: String,
    /// When Envoy received it, in milliseconds since 1970.
    pub received_ms: Option<u64>,
}

/// A rollout as a filter's configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredRollout {
    /// The name, which runtime keys and statistics carry.
    pub name: String,
    /// The version label of the stable role.
    pub stable: String,
    /// The version label of the canary role.
    pub canary: String,
    /// The cluster of the stable version.
    pub stable_cluster: Option<String>,
    /// The cluster of the canary.
    pub canary_cluster: Option<String>,
    /// The weight that holds if the runtime sets none.
    pub weight: Weight,
    /// The names of its signals.
    pub signals: BTreeSet<String>,
    /// Those of them that are recorded as numbers.
    pub value_signals: BTreeSet<String>,
    /// The timings that it measures beside the total time.
    pub timings: BTreeSet<String>,
}

/// The states of a listener in the dump beside the one that serves.
const NOT_IN_FORCE: [&str; 2] = ["warming_state", "draining_state"];
/// A listener's new version that Envoy refused, and why.
const ERROR: &str = "error_state";

impl ConfigDump {
    /// Adds what one answer of `/config_dump` shows, wherever in it a Wasm filter is. An answer that
    /// can't be read shows nothing.
    pub fn read(&mut self, answer: &[u8]) {
        if let Ok(dump) = serde_json::from_slice::<Value>(answer) {
            self.search(&dump, None);
        }
    }

    /// Walks the dump; serde_json has bounded its depth.
    fn search(&mut self, value: &Value, push: Option<&Push>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.search(item, push)),
            Value::Object(fields) => {
                let own = ecds_push(value);
                let push = own.as_ref().or(push);
                self.take(value, push);
                for (name, field) in fields {
                    match name.as_str() {
                        ERROR => self.listener_errors.extend(listener_error(field)),
                        other if NOT_IN_FORCE.contains(&other) => {}
                        _ => self.search(field, push),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn take(&mut self, value: &Value, push: Option<&Push>) {
        let Some(configuration) = wasm_configuration(value) else { return };
        let rollouts = plugin(configuration).map(|plugin| rollouts(&plugin)).unwrap_or_default();
        let unreadable = || push.is_some() && is_about_rollouts(configuration);
        if !rollouts.is_empty() || unreadable() {
            self.pushed.push(PushedRollouts { push: push.cloned(), rollouts });
        }
    }
}

/// The push, where the value is an entry of ECDS.
fn ecds_push(value: &Value) -> Option<Push> {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    let received = text("last_updated").and_then(|at| humantime::parse_rfc3339(at).ok());
    let since_1970 = received.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    Some(Push {
        filter: value.get("ecds_filter")?.get("name")?.as_str()?.to_owned(),
        version: text("version_info").unwrap_or("").to_owned(),
        received_ms: since_1970.and_then(|since| u64::try_from(since.as_millis()).ok()),
    })
}

/// Envoy's words about a refused listener, where a filter with rollouts is part of it.
fn listener_error(state: &Value) -> Option<String> {
    let details = state.get("details").and_then(Value::as_str)?;
    is_about_rollouts(state.get("failed_configuration")?).then(|| details.to_owned())
}

/// Whether a configuration, readable or not, is meant for the canary filter.
fn is_about_rollouts(configuration: &Value) -> bool {
    configuration.to_string().contains("rollouts")
}

/// The plugin's configuration as the dump has it, where the value is a Wasm plugin's.
fn wasm_configuration(value: &Value) -> Option<&Value> {
    value.get("vm_config")?;
    value.get("configuration")
}

/// The plugin's own configuration: text as a StringValue, or a Struct as it is.
fn plugin(configuration: &Value) -> Option<Value> {
    match configuration.get("value") {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(object @ Value::Object(_)) => Some(object.clone()),
        _ => Some(configuration.clone()),
    }
}

fn rollouts(plugin: &Value) -> Vec<ConfiguredRollout> {
    let read = |rollout: &Value| {
        let text =
            |role: &str, field: &str| rollout.get(role)?.get(field)?.as_str().map(str::to_owned);
        let weight = rollout.get("weight").and_then(Value::as_number);
        let list = |field: &str| rollout.get(field).and_then(Value::as_array).into_iter().flatten();
        let name = |signal: &Value| signal.get("name")?.as_str().map(str::to_owned);
        Some(ConfiguredRollout {
            name: rollout.get("name")?.as_str()?.to_owned(),
            stable: text("stable", "version")?,
            canary: text("canary", "version")?,
            stable_cluster: text("stable", "cluster"),
            canary_cluster: text("canary", "cluster"),
            weight: weight
                .and_then(|number| Weight::from_json(number).ok())
                .unwrap_or(Weight::ZERO),
            signals: list("signals").filter_map(name).collect(),
            value_signals: list("signals")
                .filter(|signal| signal.get("values").is_some())
                .filter_map(name)
                .collect(),
            timings: list("timings").filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    };
    let list = plugin.get("rollouts").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLUGIN: &str = r#"{"rollouts": [{"name": "scorer", "stable": {"version": "3.1", "cluster": "a"},
        "canary": {"version": "3.2", "cluster": "b"}, "weight": 0.25, "signals": [{"name": "label"}, {"name": "tokens", "values": {}}],
        "timings": ["ttfb"]},
        {"name": "broken"}]}"#;

    fn read(dump: &[u8]) -> ConfigDump {
        let mut read = ConfigDump::default();
        read.read(dump);
        read
    }

    fn dump(configuration: Value) -> ConfigDump {
        let wasm =
            json!({"config": {"name": "canary", "vm_config": {}, "configuration": configuration}});
        let entry = json!({"version_info": "7", "last_updated": "1970-01-01T00:00:01.594Z",
            "ecds_filter": {"name": "canary-filter", "typed_config": wasm}});
        let all = json!({"configs": [{"@type": "x", "other": [1, null]}, entry]});
        read(all.to_string().as_bytes())
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
            let [PushedRollouts { push: Some(push), rollouts }] = dump.pushed.as_slice() else {
                panic!("{dump:?}")
            };
            let [found] = rollouts.as_slice() else { panic!("{rollouts:?}") };
            assert_eq!((found.stable.as_str(), found.canary.as_str()), ("3.1", "3.2"));
            assert_eq!(found.canary_cluster.as_deref(), Some("b"));
            assert_eq!((found.name.as_str(), found.weight.ppm()), ("scorer", 2_500));
            assert_eq!(found.signals, ["label", "tokens"].map(str::to_owned).into());
            assert_eq!(found.value_signals, ["tokens".to_owned()].into());
            assert_eq!(found.timings, ["ttfb".to_owned()].into());
            let expected = ("canary-filter", "7", Some(1_594));
            assert_eq!((push.filter.as_str(), push.version.as_str(), push.received_ms), expected);
        }
    }

    #[test]
    fn whatever_it_says_there_is_an_answer() {
        for odd in
            ["", "{}", "[[[", "null", r#"{"configs": [{"vm_config": {}, "configuration": 3}]}"#]
        {
            assert_eq!(read(odd.as_bytes()), ConfigDump::default(), "{odd}");
        }
        assert_eq!(dump(json!({"value": "not json"})).pushed, []);
        let broken = dump(json!({"value": "{\"rollouts\": ["})).pushed;
        assert!(broken.len() == 1 && broken[0].rollouts.is_empty(), "a push that can't be read");
    }

    #[test]
    fn a_refused_listener_gives_its_reason_and_no_rollouts() {
        let wasm = json!({"vm_config": {}, "configuration": {"value": PLUGIN}});
        let listener =
            |state: Value| json!({"configs": [{"dynamic_listeners": [state]}]}).to_string();
        let refused =
            json!({"name": "in", "error_state": {"failed_configuration": wasm, "details": "no"}});
        let found = read(listener(refused).as_bytes());
        assert_eq!((found.pushed.len(), found.listener_errors), (0, vec!["no".to_owned()]));
        let other = json!({"error_state": {"failed_configuration": {}, "details": "no"}});
        assert_eq!(read(listener(other).as_bytes()), ConfigDump::default());
    }
}
