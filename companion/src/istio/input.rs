//! Makes an [`Istio`] out of files and options, or says everything that is wrong with them.

use canary_model::config::{Config, Rollout};
use canary_model::document::{ConfigError, ConfigErrors};
use serde_json::{Value, json};

use super::destination::Destination;
use super::names::{is_dns_label, is_label_value, object_name};
use super::{ADMIN_CLUSTER, ControllerLocation, DeployedRollout, Extension, Istio, hosts};

/// Where the module and the images come from.
#[derive(Clone, Debug)]
pub struct Images {
    /// The module's URL, `oci://…`; `None`: an example registry's.
    pub wasm: Option<String>,
    /// The digest of the image's manifest (of the file, for `http://` and `file://`), in hex.
    pub sha256: Option<String>,
    /// The container image of canaryctl for the controller.
    pub canaryctl: String,
    /// The stable version's image; `None`: an example registry's. Only with one rollout.
    pub stable: Option<String>,
    /// The canary's image, likewise.
    pub canary: Option<String>,
}

/// What the command line says beyond the files.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `Gateway`: its namespace and name.
    pub gateway: (String, String),
    /// The labels of the gateway's pods.
    pub selector: Vec<(String, String)>,
    /// Where the module and the images come from.
    pub images: Images,
    /// What carries the filter.
    pub extension: Extension,
    /// Where the controller runs.
    pub controller: ControllerLocation,
}

/// A rollout file with the text it came from.
#[derive(Clone, Debug)]
pub struct RolloutText {
    /// The name of its rollout.
    pub rollout: String,
    /// The whole text, for the controller's ConfigMap.
    pub text: String,
}

/// What can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// The filter's configuration, problem by problem.
    Filter(Vec<ConfigError>),
    /// Something on the command line.
    Arguments(String),
}

/// The least configuration of a filter behind Istio.
pub fn minimal_filter(rollout: &str, host: &str, port: u16, versions: [&str; 2]) -> Value {
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

/// Checks the rollout files' rollouts, the filter's configuration and the options against each other.
///
/// # Errors
/// Everything that is wrong with the configuration, or the first thing that is wrong with an option.
pub fn read(
    files: Vec<RolloutText>,
    filter: Value,
    options: Options,
) -> Result<Istio, RenderError> {
    arguments(&files, &options).map_err(RenderError::Arguments)?;
    let config = Config::parse(filter.to_string().as_bytes()).map_err(RenderError::Filter)?;
    let mut problems = ConfigErrors::default();
    if config.runtime.cluster != ADMIN_CLUSTER {
        let found = &config.runtime.cluster;
        let message = format!("must be {ADMIN_CLUSTER}, Istio's own cluster, found \"{found}\"");
        problems.add("runtime.cluster", message);
    }
    for file in &files {
        if !config.rollouts.iter().any(|rollout| rollout.name == file.rollout) {
            let message = format!(
                "has no rollout \"{}\", which a rollout file is for; add it or leave out that file",
                file.rollout
            );
            problems.add("rollouts", message);
        }
    }
    if let Some(url) = &options.images.wasm {
        module_fits(url, &config, &mut problems);
    }
    for (at, rollout) in config.rollouts.iter().enumerate() {
        expressible(rollout, &format!("rollouts[{at}]"), &mut problems);
    }
    let rollouts = deployed(&config, &files, &mut problems);
    agree(&config, &rollouts, &mut problems);
    let rollouts = problems.finish(Some(rollouts)).map_err(RenderError::Filter)?;
    Ok(Istio { filter, config, rollouts, options })
}

/// The rollouts that have a file, each with its destination.
fn deployed(
    config: &Config,
    files: &[RolloutText],
    problems: &mut ConfigErrors,
) -> Vec<DeployedRollout> {
    let mut found = Vec::new();
    for (at, rollout) in config.rollouts.iter().enumerate() {
        let Some(file) = files.iter().find(|file| file.rollout == rollout.name) else { continue };
        let path = format!("rollouts[{at}]");
        hosts::check(rollout, &path, problems);
        if let Some(destination) = Destination::new(rollout, &path, problems) {
            let (rollout, file) = (rollout.clone(), file.text.clone());
            let object = object_name(&rollout.name);
            found.push(DeployedRollout { rollout, file, destination, object });
        }
    }
    found
}

/// Refuses rollouts that would overwrite each other's objects.
fn agree(config: &Config, rollouts: &[DeployedRollout], problems: &mut ConfigErrors) {
    let index = |rollout: &Rollout| config.rollouts.iter().position(|one| one.name == rollout.name);
    for (at, later) in rollouts.iter().enumerate() {
        let path = format!("rollouts[{}]", index(&later.rollout).unwrap_or_default());
        for earlier in rollouts.iter().take(at) {
            let name = &earlier.rollout.name;
            if earlier.object == later.object {
                let message =
                    format!("gets the same Kubernetes name \"{}\" as \"{name}\"", later.object);
                problems.add(&format!("{path}.name"), message);
            }
            let same_service = earlier.destination.host == later.destination.host;
            for (role, subset) in later.destination.subsets() {
                let theirs = earlier.destination.subsets();
                let other = theirs.iter().find(|(_, other)| other.name == subset.name);
                let other = other.filter(|(_, other)| other.version != subset.version);
                if let (true, Some((_, other))) = (same_service, other) {
                    let message = format!(
                        "version \"{}\" is in subset \"{}\", which is version \"{}\" of rollout \"{name}\"; \
                         give one of them another subset",
                        subset.version, subset.name, other.version
                    );
                    problems.add(&format!("{path}.{role}.version"), message);
                }
            }
        }
    }
}

/// Refuses what the filter can do, but not behind Istio.
fn expressible(rollout: &Rollout, path: &str, problems: &mut ConfigErrors) {
    for field in rollout.body_fields().iter().filter(|field| field.ends_with("request_json")) {
        let message = "can't be used with Istio: to read a request's body, the filter holds the \
                       request, and Envoy then needs allow_on_headers_stop_iteration, which neither \
                       WasmPlugin nor TrafficExtension can set; without it, every such request hangs. \
                       Use a header instead (match.headers, affinity with header)";
        problems.add(&format!("{path}.{field}"), message);
    }
    let headers = &rollout.matches.headers;
    for (at, header) in headers.iter().enumerate() {
        if headers.iter().take(at).any(|earlier| earlier.name == header.name) {
            let message = format!(
                "a second condition for `{}`, but a VirtualService's route can have only one for each \
                 header; remove one of them",
                header.name
            );
            problems.add(&format!("{path}.match.headers[{at}]"), message);
        }
    }
}

/// Refuses a module without body hooks if the configuration reads bodies: the filter would refuse it,
/// and a gateway without a working first configuration answers every request with a 500.
fn module_fits(url: &str, config: &Config, problems: &mut ConfigErrors) {
    let name = url.rsplit('/').next().unwrap_or_default();
    if !name.contains("headers") {
        return;
    }
    for (at, rollout) in config.rollouts.iter().enumerate() {
        for field in rollout.body_fields() {
            let message = format!(
                "needs bodies, but --wasm {url} is the module without body hooks; \
                 load canary-filter instead"
            );
            problems.add(&format!("rollouts[{at}].{field}"), message);
        }
    }
}

/// What is wrong with the arguments, if anything is.
fn arguments(files: &[RolloutText], options: &Options) -> Result<(), String> {
    for (at, file) in files.iter().enumerate() {
        let earlier = files.iter().take(at);
        if earlier.into_iter().any(|other| other.rollout == file.rollout) {
            return Err(format!("two rollout files are for \"{}\"; give only one", file.rollout));
        }
    }
    let images = &options.images;
    if files.len() > 1 && (images.stable.is_some() || images.canary.is_some()) {
        return Err(
            "--stable-image and --canary-image name the images of one rollout, found several \
                    rollout files; render without them and edit the Deployments"
                .to_owned(),
        );
    }
    let (namespace, name) = &options.gateway;
    if !is_dns_label(namespace) || !is_dns_label(name) {
        return Err(format!(
            "--gateway {namespace}/{name}: expected NAMESPACE/NAME, both in lower case"
        ));
    }
    for (label, value) in &options.selector {
        let prefixed = label.rsplit('/').next().unwrap_or_default();
        if !is_label_value(prefixed) || !is_label_value(value) {
            return Err(format!("--selector {label}={value}: expected a pod's LABEL=VALUE"));
        }
    }
    module(images)
}

/// What is wrong with the module's URL and digest, if anything is.
fn module(images: &Images) -> Result<(), String> {
    let known = ["oci://", "https://", "http://", "file://"];
    let fits = |url: &&String| {
        known.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
    };
    if let Some(url) = images.wasm.as_ref().filter(|url| !fits(url)) {
        return Err(format!("--wasm {url}: expected a URL with one of {}", known.join(" ")));
    }
    let hex = |text: &String| {
        text.len() == 64 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
    };
    match &images.sha256 {
        Some(digest) if !hex(digest) => {
            Err(format!("--wasm-sha256 {digest}: expected 64 hexadecimal digits in lower case"))
        }
        _ => Ok(()),
    }
}
