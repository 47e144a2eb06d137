//! Shell completion, with the names of rollouts: the shell asks `canaryctl` itself.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Command;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, EnvCompleter, Shells};
use reqwest::Url;

use crate::api::access::Token;
use crate::api::client::{CONTROLLER_VARIABLE, Client};
use crate::journal;

/// The environment variable by which a shell's script asks for completions.
const ASK_VARIABLE: &str = "CANARYCTL_COMPLETE";
/// The longest that a press of the tab key waits for a controller.
const CONTROLLER_WITHIN: Duration = Duration::from_millis(300);
/// The most journals that are listed.
const MAX_NAMES: usize = 1_000;

/// Answers a shell that asks for completions; false if none does.
pub(crate) fn answer(command: fn() -> Command) -> bool {
    let args = std::env::args_os();
    let folder = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(ASK_VARIABLE);
    // A shell shows no error while somebody types: no answer is the best answer then.
    asked.try_complete(args, folder.as_deref()).unwrap_or(true)
}

/// The shells that there are scripts for.
pub(crate) fn shells() -> Vec<&'static str> {
    Shells::builtins().names().collect()
}

/// The script that makes a shell ask; `None` for an unknown shell.
pub(crate) fn script(shell: &str) -> Option<String> {
    let shells = Shells::builtins();
    let shell: &dyn EnvCompleter = shells.completer(shell)?;
    let mut script = Vec::new();
    let name = "canaryctl";
    shell.write_registration(ASK_VARIABLE, name, name, name, &mut script).ok()?;
    Some(String::from_utf8_lossy(&script).into_owned())
}

/// The rollouts whose journals are in the default folder, and those of the controller, if one answers
/// soon.
pub(crate) fn rollout_names() -> Vec<CompletionCandidate> {
    let mut names: BTreeSet<String> = journals().into_iter().collect();
    names.extend(controlled().unwrap_or_default());
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn journals() -> Vec<String> {
    let Some(entries) = journal::default_folder().and_then(|at| std::fs::read_dir(at).ok()) else {
        return Vec::new();
    };
    // Earlier releases are in `NAME.TIME.jsonl`; names have no dots.
    let name = |file: std::ffi::OsString| {
        Some(file.to_str()?.strip_suffix(".jsonl")?.split('.').next()?.to_owned())
    };
    entries.flatten().take(MAX_NAMES).filter_map(|entry| name(entry.file_name())).collect()
}

fn controlled() -> Option<Vec<String>> {
    let url = std::env::var(CONTROLLER_VARIABLE).ok().and_then(|url| Url::parse(&url).ok());
    let client = Client::new(url.as_ref(), Token::find(None).ok()?).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let list = async { tokio::time::timeout(CONTROLLER_WITHIN, client.list()).await };
    let rollouts = runtime.block_on(list).ok()?.ok()?;
    Some(rollouts.into_iter().map(|status| status.rollout).collect())
}
