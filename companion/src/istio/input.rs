//! Makes an [`Istio`] out of what was asked for, or says everything that is wrong with it.

use canary_model::config::Config;
use canary_model::document::{ConfigError, ConfigErrors};
use serde_json::{Value, json};

use super::place::{Place, is_dns_label, is_label_value};
use super::{ADMIN_CLUSTER, Extension, Istio, Where};

/// Where the module and the images come from.
#[derive(Clone, Debug)]
pub struct Images {
    /// The module's URL, `oci://…`; none: an example registry's.
    pub wasm: Option<String>,
    /// The digest of the image's manifest (of the file, for `http://` and `file://`), in hex.
    pub sha256: Option<String>,
    /// canaryctl's image.
    pub canaryctl: String,
    /// The stable version's image.
    pub stable: String,
    /// The canary's.
    pub canary: String,
}

/// What a person asked for on the command line, beyond the two files.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The `Gateway`: `NAMESPACE/NAME`.
    pub gateway: (String, String),
    /// The labels of the gateway's pods.
    pub selector: Vec<(String, String)>,
    /// Where things come from.
    pub images: Images,
    /// What carries the filter.
    pub extension: Extension,
    /// Where the controller runs.
    pub controller: Where,
}

/// What can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// The filter's configuration, problem by problem.
    Filter(Vec<ConfigError>),
    /// Something asked for on the command line.
    Arguments(String),
}

/// The least configuration of a filter behind Istio.
pub fn filter_of(rollout: &str, host: &str, port: u16, versions: [&str; 2]) -> Value {
    let [stable, canary] = versions.map(|version| {
        let subset: String = version.chars().map(in_dns).collect();
        let cluster = format!("outbound|{port}|{}|{host}", subset.trim_matches('-'));
        json!({"version": version, "cluster": cluster})
    });
    json!({
        "rollouts": [{"name": rollout, "stable": stable, "canary": canary}],
        "runtime": {"cluster": ADMIN_CLUSTER},
    })
}

/// A version's character as a subset's name may have it.
fn in_dns(c: char) -> char {
    let c = c.to_ascii_lowercase();
    if c.is_ascii_alphanumeric() { c } else { '-' }
}

/// Checks all of it.
///
/// # Errors
/// Everything that is wrong with the configuration, or with an argument.
pub fn read(name: &str, file: String, filter: Value, asked: Asked) -> Result<Istio, RenderError> {
    arguments(&asked).map_err(RenderError::Arguments)?;
    let config = Config::parse(filter.to_string().as_bytes()).map_err(RenderError::Filter)?;
    let mut problems = ConfigErrors::default();
    if config.runtime.cluster != ADMIN_CLUSTER {
        let found = &config.runtime.cluster;
        let message = format!("must be {ADMIN_CLUSTER}, Istio's own cluster, found \"{found}\"");
        problems.add("runtime.cluster", message);
    }
    let found = config.rollouts.iter().enumerate().find(|(_, rollout)| rollout.name == name);
    if found.is_none() {
        problems.add("rollouts", format!("has no \"{name}\", which the rollout file is about"));
    }
    let place = found
        .and_then(|(at, rollout)| Place::of(rollout, &format!("rollouts[{at}]"), &mut problems));
    let rollout = found.map(|(_, rollout)| rollout.clone());
    let (place, rollout) = problems.finish(place.zip(rollout)).map_err(RenderError::Filter)?;
    let Asked { gateway: (gateway_namespace, gateway), selector, images, extension, controller } =
        asked;
    Ok(Istio {
        filter,
        config,
        rollout,
        file,
        place,
        gateway_namespace,
        gateway,
        selector,
        images,
        extension,
        controller,
    })
}

/// What is wrong with the arguments, if anything is.
fn arguments(asked: &Asked) -> Result<(), String> {
    let (namespace, name) = &asked.gateway;
    if !is_dns_label(namespace) || !is_dns_label(name) {
        return Err(format!(
            "--gateway {namespace}/{name}: expected NAMESPACE/NAME, both in lower case"
        ));
    }
    for (label, value) in &asked.selector {
        let prefixed = label.rsplit('/').next().unwrap_or_default();
        if !is_label_value(prefixed) || !is_label_value(value) {
            return Err(format!("--selector {label}={value}: expected a pod's LABEL=VALUE"));
        }
    }
    let known = ["oci://", "https://", "http://", "file://"];
    let fits = |url: &&String| {
        known.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
    };
    if let Some(url) = asked.images.wasm.as_ref().filter(|url| !fits(url)) {
        return Err(format!("--wasm {url}: expected a URL with one of {}", known.join(" ")));
    }
    let hex = |text: &String| {
        text.len() == 64 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
    };
    match &asked.images.sha256 {
        Some(digest) if !hex(digest) => {
            Err(format!("--wasm-sha256 {digest}: expected 64 hexadecimal digits in lower case"))
        }
        _ => Ok(()),
    }
}
