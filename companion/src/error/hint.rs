//! What to do about each failure.

use super::Error;
use crate::journal::JournalError;

impl Error {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoEnvoy => {
                "name its admin interface with --envoy http://127.0.0.1:9901 or \
                 --envoy unix:///run/envoy/admin.sock, or set CANARYCTL_ENVOYS"
            }
            Self::Unreachable { .. } => {
                "check that Envoy runs and that this is the address of its admin interface \
                 (`admin: address:` in its bootstrap)"
            }
            Self::NoAnswer { .. } => {
                "Envoy is busy or this is not its admin interface; --request-timeout gives it longer"
            }
            Self::UnexpectedResponse { .. } => {
                "check that this is the address of Envoy's admin interface and not of one of its \
                 listeners"
            }
            Self::NoAdminLayer { .. } => {
                "add a layer to Envoy's bootstrap and restart it: layered_runtime: {layers: [{name: \
                 admin, admin_layer: {}}]}"
            }
            Self::UnknownRollout { known, .. } if known.is_empty() => {
                "no canary filter has started on this Envoy; its log says why (a refused \
                 configuration, a missing .wasm)"
            }
            Self::UnknownRollout { known, .. } => {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                return Some(format!("rollouts there: {}", names.join(", ")));
            }
            Self::OtherOwner { .. } => {
                "steer it through its owner, stop it at once with `canaryctl abort`, or take it \
                 over with --takeover"
            }
            Self::Overridden { .. } => {
                "a runtime layer above the admin layer sets this key; make admin the last layer or \
                 change it there"
            }
            Self::GuardTripped { rollout, .. } => {
                return Some(format!(
                    "look at what failed with `canaryctl get rollout {rollout}`; a new epoch clears \
                     the guard: `canaryctl set weight {rollout} PERCENT --reset-guard`"
                ));
            }
            Self::NotInForce { .. } => {
                "see Envoy's log; `/stats?filter=wasmcustom.canary.filter` shows the filter's polls"
            }
            Self::Refused { .. } => {
                "whatever stands before Envoy's admin interface must let POST /runtime_modify through"
            }
            Self::Journal(JournalError::Locked { .. }) => {
                "one rollout has one controller: steer it with `canaryctl promote|pause|resume|abort`"
            }
            Self::Journal(JournalError::Broken { .. }) => {
                "keep the file for a look, and begin with another --journal"
            }
            Self::Journal(_) => {
                "no decision is carried out without its record; make room or give another place \
                 with --journal. A weight that was set falls back to stable when its lease runs out"
            }
            Self::OtherFile { .. } => {
                "an unfinished rollout goes on with the file that began it; or stop it with \
                 `canaryctl abort` and begin with another --journal"
            }
            Self::Listen { .. } => "give another address with --listen, such as 127.0.0.1:0",
            Self::NoController { .. } => {
                "start one with `canaryctl run FILE`, or say where it is with --controller URL"
            }
            Self::Usage { .. }
            | Self::NotHere { .. }
            | Self::RefusedByController { .. }
            | Self::Late { .. }
            | Self::Stopped(_)
            | Self::Degraded { .. }
            | Self::Output(_)
            | Self::System(_) => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}
