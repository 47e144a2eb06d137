//! Reads `versions`, `deploy` and `registry` of a rollout file.

use std::time::Duration;

use super::fields::{MAX_URL, given, is_url, optional, url};
use super::read_steps::MAX_REQUESTS;
use super::release::{Deploy, DeployHook, HANDOVER_REQUESTS, MlflowRegistry};
use canary_judge::counts::Pair;
use canary_model::document::{ConfigErrors, Node, Object};
use canary_model::duration;
use canary_model::names::{VERSION_EXPECTED, is_version};

/// The fields of `versions`.
pub(crate) const VERSIONS_FIELDS: [&str; 2] = ["stable", "canary"];
/// The fields of `deploy`.
pub(crate) const DEPLOY_FIELDS: [&str; 4] = ["command", "url", "timeout", "minRequests"];
/// The fields of `registry`.
pub(crate) const REGISTRY_FIELDS: [&str; 1] = ["mlflow"];
/// The fields of `registry.mlflow`.
pub(crate) const MLFLOW_FIELDS: [&str; 5] = ["uri", "model", "candidate", "champion", "poll"];
/// The most parts of a command, and the longest of them in bytes.
pub(crate) const MAX_ARGUMENTS: usize = 64;
pub(crate) const MAX_ARGUMENT: usize = 4_096;
/// The longest model name and alias, in characters.
pub(crate) const MAX_MODEL: usize = 256;
/// How long a deploy hook may take where the file does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
/// The longest that a deploy hook may take.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);
/// The time between two questions to a registry where the file does not say, and its bounds.
const DEFAULT_POLL: Duration = Duration::from_secs(5);
const MIN_POLL: Duration = Duration::from_secs(1);
const MAX_POLL: Duration = Duration::from_secs(3_600);

/// The versions that the file names, by role.
pub(super) fn versions(
    node: &Node<'_>,
    problems: &mut ConfigErrors,
) -> Option<Pair<Option<String>>> {
    let fields = node.object(&VERSIONS_FIELDS, problems)?;
    let stable = optional(&fields, "stable", version, problems);
    let canary = optional(&fields, "canary", version, problems);
    let versions = Pair { stable: stable?, canary: canary? };
    match &versions {
        Pair { stable: None, canary: None } => {
            let what = "name at least one version, such as {canary: \"3.2\"}";
            node.problem(problems, what);
            return None;
        }
        Pair { stable: Some(stable), canary: Some(canary) } if stable == canary => {
            let what = format!(
                "stable and canary are both {stable}: responses couldn't be attributed to one of them; give \
                 the canary a version of its own"
            );
            node.problem(problems, what);
            return None;
        }
        Pair { .. } => {}
    }
    Some(versions)
}

fn version(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<String> {
    if node.value().is_number() {
        let what = "a version in quotes, because YAML reads 3.10 as the number 3.1";
        node.expected(problems, what);
        return None;
    }
    node.parsed(VERSION_EXPECTED, |text| is_version(text).then(|| text.to_owned()), problems)
}

pub(super) fn deploy(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Deploy> {
    let fields = node.object(&DEPLOY_FIELDS, problems)?;
    let timeout = optional(&fields, "timeout", deploy_timeout, problems);
    let read = |node: &Node<'_>, problems: &mut ConfigErrors| node.whole(1, MAX_REQUESTS, problems);
    let min_requests = optional(&fields, "minRequests", read, problems);
    let hook = hook(node, &fields, problems);
    let (hook, timeout, min_requests) = (hook?, timeout?, min_requests?);
    if hook.is_none() && timeout.is_some() {
        let what = "`timeout` needs a `command` or a `url` that it limits";
        node.problem(problems, what);
        return None;
    }
    if hook.is_none() && min_requests.is_none() {
        let what = "says nothing: give a `command`, a `url`, or `minRequests` of the handover, such as \
                    {minRequests: 50}";
        node.problem(problems, what);
        return None;
    }
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    Some(Deploy { hook, timeout, min_requests: min_requests.unwrap_or(HANDOVER_REQUESTS) })
}

/// What is called, if anything is; the outer `None` is a fault.
fn hook(
    node: &Node<'_>,
    fields: &Object<'_>,
    problems: &mut ConfigErrors,
) -> Option<Option<DeployHook>> {
    match (fields.get("command"), fields.get("url")) {
        (Some(_), Some(_)) => {
            node.problem(problems, "give either a `command` or a `url`, not both");
            None
        }
        (Some(command), None) => {
            command_line(&command, problems).map(|line| Some(DeployHook::Command(line)))
        }
        (None, Some(_)) => url(fields, problems).map(|url| Some(DeployHook::Url(url))),
        (None, None) => Some(None),
    }
}

/// A program and its arguments: a text would need a shell to take it apart.
fn command_line(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Vec<String>> {
    if !node.value().is_array() {
        let what =
            "a list of the program and its arguments, such as [./deploy.sh]; no shell reads it";
        node.expected(problems, what);
        return None;
    }
    let sound = |text: &str| {
        let fits = text.len() <= MAX_ARGUMENT && !text.contains('\0');
        fits.then(|| text.to_owned())
    };
    let parts = node.list(MAX_ARGUMENTS, problems)?;
    let read =
        parts.iter().map(|part| part.parsed("a text of at most 4096 bytes", sound, problems));
    let read: Vec<Option<String>> = read.collect();
    let line: Vec<String> = read.into_iter().collect::<Option<_>>()?;
    if line.first().is_none_or(String::is_empty) {
        node.problem(problems, "name a program to run, such as [./deploy.sh]");
        return None;
    }
    Some(line)
}

fn deploy_timeout(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Duration> {
    let sound = |text: &str| {
        duration::parse(text).filter(|timeout| !timeout.is_zero() && *timeout <= MAX_TIMEOUT)
    };
    node.parsed("a duration above 0 and at most 24h, such as 10m", sound, problems)
}

pub(super) fn registry(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<MlflowRegistry> {
    let fields = node.object(&REGISTRY_FIELDS, problems)?;
    let node = fields.require("mlflow", problems)?;
    let fields = node.object(&MLFLOW_FIELDS, problems)?;
    let uri = fields.require("uri", problems).and_then(|node| base_url(&node, problems));
    let model = fields.require("model", problems).and_then(|node| name(&node, problems));
    let candidate = given(&fields, "candidate", "challenger".to_owned(), name, problems);
    let champion = given(&fields, "champion", "champion".to_owned(), name, problems);
    let poll = given(&fields, "poll", DEFAULT_POLL, poll, problems);
    let (candidate, champion) = (candidate?, champion?);
    if candidate == champion {
        let what = format!(
            "candidate and champion are both \"{candidate}\": one alias starts a rollout, the other names the \
             version that serves"
        );
        node.problem(problems, what);
        return None;
    }
    Some(MlflowRegistry { uri: uri?, model: model?, candidate, champion, poll: poll? })
}

/// Paths are added to it, so it has neither a query nor a fragment; credentials come from elsewhere.
fn base_url(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<String> {
    let plain = |text: &str| !text.contains(['?', '#', '@']);
    let sound = |text: &str| (is_url(text) && plain(text)).then(|| text.to_owned());
    let what = format!(
        "the tracking server's base URL of at most {MAX_URL} bytes, without credentials, query and \
         fragment, such as http://127.0.0.1:5000"
    );
    node.parsed(&what, sound, problems)
}

/// A registered model's name or an alias.
fn name(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<String> {
    let sound = |text: &str| {
        let fits = !text.trim().is_empty() && text.chars().count() <= MAX_MODEL;
        let plain = !text.contains(['/', ':']) && !text.chars().any(char::is_control);
        (fits && plain).then(|| text.to_owned())
    };
    node.parsed("a name of 1 to 256 characters without `/` and `:`", sound, problems)
}

fn poll(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Duration> {
    let sound =
        |text: &str| duration::parse(text).filter(|time| (MIN_POLL..=MAX_POLL).contains(time));
    node.parsed("a duration from 1s to 1h, such as 5s", sound, problems)
}
