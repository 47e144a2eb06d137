//! What to do about each failure: every hint that is printed, in one place.
//!
//! A command in a hint stands between backticks and works as printed, once its words in capitals are
//! replaced. The tests below parse each one, and `tests/cli/hints.rs` runs them.

use super::Error;
use crate::journal::JournalError;

impl Error {
    /// What to do next; `None` if the message says it all.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoEnvoy => {
                "name an admin interface with --envoy http://127.0.0.1:9901 or \
                 --envoy unix:///run/envoy/admin.sock, or set CANARYCTL_ENVOYS"
            }
            Self::Unreachable { .. } => {
                "check that Envoy runs and that this is the address of its admin interface \
                 (`admin: address:` in its bootstrap)"
            }
            Self::NoAnswer { .. } => {
                "Envoy is busy, or this is not its admin interface; allow more time with \
                 --request-timeout 30s"
            }
            Self::UnexpectedResponse { .. } => {
                "check that this is the address of Envoy's admin interface, not of one of its \
                 listeners"
            }
            Self::NoAdminLayer { .. } => {
                "add a layer to Envoy's bootstrap and restart Envoy: layered_runtime: {layers: \
                 [{name: admin, admin_layer: {}}]}"
            }
            Self::UnknownRollout { known, .. } if known.is_empty() => {
                "no canary filter has started on this Envoy; its log says why (a rejected \
                 configuration, a missing .wasm file)"
            }
            Self::UnknownRollout { known, .. } => {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                return Some(format!("this Envoy's rollouts: {}", names.join(", ")));
            }
            Self::SameVersion { .. } => {
                "name the new version with `canaryctl run -f FILE --canary-version VERSION`, or in the file: \
                 versions: {canary: \"VERSION\"}"
            }
            Self::NothingToFinish { rollout, .. } => {
                return Some(format!("see where it is with `canaryctl get rollout {rollout}`"));
            }
            Self::NeedsServe { .. } => "run it with `canaryctl serve FILE`, or remove `registry:`",
            Self::OtherOwner { rollout, .. } => return Some(other_owner(rollout)),
            Self::Overridden { .. } => {
                "a runtime layer above the admin layer sets this key: make the admin layer the last \
                 one, or change the key in that layer"
            }
            Self::GuardTripped { rollout, .. } => return Some(guard_tripped(rollout)),
            Self::NotInForce { .. } => {
                "see Envoy's log; its admin interface shows the filter's polls at \
                 /stats?filter=wasmcustom.canary.filter"
            }
            Self::Refused { .. } => {
                "a proxy in front of Envoy's admin interface must allow POST /runtime_modify"
            }
            Self::Journal(error) => journal(error),
            Self::OtherFile { rollout, envoys, .. } => return Some(other_file(rollout, envoys)),
            Self::Listen { .. } => "choose another address, such as --listen 127.0.0.1:0",
            Self::NoController { .. } => {
                "start one with `canaryctl run -f FILE`, or name a running one with --controller URL \
                 or CANARYCTL_CONTROLLER"
            }
            Self::Usage { .. }
            | Self::NotHere { .. }
            | Self::RefusedByController { .. }
            | Self::Late { .. }
            | Self::Stopped(_)
            | Self::Degraded { .. }
            | Self::Output(_)
            | Self::System(_) => return None,
        };
        Some(hint.to_owned())
    }
}

const fn journal(error: &JournalError) -> &'static str {
    match error {
        JournalError::Locked { .. } => {
            "each rollout has one controller; steer the running one with `canaryctl promote NAME`, \
             `canaryctl pause NAME`, `canaryctl resume NAME` or `canaryctl abort NAME`"
        }
        JournalError::Broken { .. } => {
            "keep this file for analysis, and start with a new one: `canaryctl run -f FILE --journal \
             OTHER`"
        }
        _ => {
            "no decision takes effect without its record: free some space, or choose another place \
             with --journal FILE. A weight that was set returns to stable when its lease ends"
        }
    }
}

fn other_owner(rollout: &str) -> String {
    format!(
        "steer the rollout through its owner, send everything back to stable with \
         `canaryctl abort {rollout}`, or repeat the command with --takeover"
    )
}

fn guard_tripped(rollout: &str) -> String {
    format!(
        "see what failed with `canaryctl get rollout {rollout}`; a new epoch clears the guard: \
         `canaryctl set weight {rollout} PERCENT --reset-guard`"
    )
}

/// The old controller is gone, but its owner key is still in the Envoys: only a takeover starts anew.
fn other_file(rollout: &str, envoys: &[String]) -> String {
    let envoys: String = envoys.iter().map(|url| format!(" --envoy {url}")).collect();
    format!(
        "continue the unfinished rollout with the file that started it; or end it with \
         `canaryctl abort {rollout}{envoys}` and start the new file with `canaryctl run -f FILE \
         --journal OTHER --takeover`"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    /// An error of each kind that has a hint.
    fn all() -> Vec<Error> {
        let text = || "x".to_owned();
        let url = || "http://a:1".to_owned();
        let rollout = || "scorer".to_owned();
        let io = || io::Error::other("x");
        let path = || PathBuf::from("/x");
        vec![
            Error::NoEnvoy,
            Error::Unreachable { url: url(), cause: text() },
            Error::NoAnswer { url: url(), request: text(), seconds: 1.0 },
            Error::NoAdminLayer { url: url() },
            Error::Refused { url: url(), status: 403, body: text() },
            Error::UnknownRollout { url: url(), rollout: rollout(), known: BTreeSet::new() },
            Error::UnknownRollout { url: url(), rollout: rollout(), known: [text()].into() },
            Error::OtherOwner { url: url(), rollout: rollout(), owner: text() },
            Error::Overridden { url: url(), key: text(), written: text(), shown: text() },
            Error::GuardTripped { url: url(), rollout: rollout() },
            Error::NotInForce { url: url(), seconds: 1.0, why: text() },
            Error::Journal(JournalError::Locked { path: path(), pid: None }),
            Error::Journal(JournalError::Broken { path: path(), line: 1, cause: text() }),
            Error::Journal(JournalError::Io { path: path(), what: "open", cause: io() }),
            Error::OtherFile {
                journal: text(),
                why: text(),
                rollout: rollout(),
                envoys: vec![url(), url()],
            },
            Error::Listen { address: text(), cause: io() },
            Error::NoController { url: url(), cause: text() },
        ]
    }

    #[test]
    fn every_command_in_a_hint_is_one_that_canaryctl_understands() {
        let mut commands = 0;
        for error in all() {
            let hint = error.hint().unwrap_or_else(|| panic!("no hint for {error}"));
            for command in hint.split('`').skip(1).step_by(2) {
                let words = command.replace("NAME", "scorer").replace("PERCENT", "5");
                if !words.starts_with("canaryctl ") {
                    continue;
                }
                commands += 1;
                let parsed = Cli::try_parse_from(words.split_whitespace());
                assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
            }
            // Every option that a hint names exists.
            for option in hint.split_whitespace().filter(|word| word.starts_with("--")) {
                let option = option.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                let mut pages = vec![Cli::try_parse_from(["canaryctl", "--help"])];
                pages.push(Cli::try_parse_from(["canaryctl", "run", "--help"]));
                pages.push(Cli::try_parse_from(["canaryctl", "set", "weight", "--help"]));
                let known = pages
                    .into_iter()
                    .any(|page| page.err().is_some_and(|help| help.to_string().contains(option)));
                assert!(known, "{option} in {hint}");
            }
        }
        assert!(commands >= 11, "{commands}");
    }
}
