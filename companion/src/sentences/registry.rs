//! What a registry asks for and waits for, in words.

use canary_rollout::registry::{AliasMove, NoStart, RegistryDecision, WriteBack};
use canary_rollout::spec::MlflowRegistry;

/// What a look at the registry found.
#[derive(Debug)]
pub(crate) struct RegistryView<'v> {
    /// The registry, as the rollout file has it.
    pub(crate) registry: &'v MlflowRegistry,
    /// Why it could not be asked.
    pub(crate) unreachable: Option<&'v str>,
    /// What its aliases ask for; `None` if that could not be decided.
    pub(crate) decision: Option<&'v RegistryDecision>,
    /// Why the candidate's release was refused.
    pub(crate) not_started: Option<&'v str>,
    /// Results that the registry doesn't have yet.
    pub(crate) pending: &'v [WriteBack],
    /// Why it doesn't have them.
    pub(crate) undelivered: Option<&'v str>,
    /// Results that it refused, with its words.
    pub(crate) refused: &'v [(WriteBack, String)],
}

/// What operators should know of a registry; `None` if all is well.
pub(crate) fn registry(view: &RegistryView<'_>) -> Option<String> {
    let mut said: Vec<String> = view.unreachable.into_iter().map(str::to_owned).collect();
    said.extend(view.decision.and_then(|decision| asked_for(view, decision)));
    for one in view.pending {
        let why = view.undelivered.map(|why| format!(" ({why})")).unwrap_or_default();
        said.push(format!("still to be written back: {}{why}", written(view, one)));
    }
    for (one, why) in view.refused {
        said.push(format!("not written back: {}, because {why}", written(view, one)));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

fn asked_for(view: &RegistryView<'_>, decision: &RegistryDecision) -> Option<String> {
    let MlflowRegistry { candidate: alias, champion, model, .. } = view.registry;
    match decision {
        RegistryDecision::Start { candidate, .. } => {
            let why = view.not_started?;
            Some(format!("version {candidate} has the alias {alias}, but it can't start: {why}"))
        }
        RegistryDecision::Wait(moves) if moves.is_empty() => None,
        RegistryDecision::Wait(moves) => {
            let moved = moves.iter().map(|one| match one {
                AliasMove::Candidate(version) => format!("{alias} is now version {version}"),
                AliasMove::Champion(version) => format!("{champion} is now version {version}"),
            });
            let moved: Vec<String> = moved.collect();
            let moved = moved.join(" and ");
            Some(format!("{moved} in the registry, which counts after this release's end"))
        }
        RegistryDecision::Nothing(NoStart::NotAVersion(version)) => Some(format!(
            "{model} {version} in the registry can't be a version's label, so it can't be released"
        )),
        RegistryDecision::Nothing(_) => None,
    }
}

fn written(view: &RegistryView<'_>, one: &WriteBack) -> String {
    let (version, outcome) = (&one.release.version, one.release.outcome.as_str());
    match &one.champion {
        Some(to) => {
            let alias = &view.registry.champion;
            format!("version {version} is {outcome}, {alias} is version {to}")
        }
        None => format!("version {version} is {outcome}"),
    }
}

/// What a rollout waits for, with what its registry asks for meanwhile.
pub(crate) fn joined(waits: Option<String>, registry: Option<String>) -> Option<String> {
    let all: Vec<String> = waits.into_iter().chain(registry).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Where people see a rollout, for the tag of its version.
pub(crate) fn report_link(public_url: &str, rollout: &str) -> String {
    format!("{}/rollouts/{rollout}", public_url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use canary_rollout::registry::{ReleaseOutcome, ReleaseResult};

    use super::*;

    fn said(
        decision: &RegistryDecision,
        not_started: Option<&str>,
        pending: &[WriteBack],
    ) -> String {
        let registry = MlflowRegistry {
            uri: "http://r:5000".to_owned(),
            model: "scorer".to_owned(),
            candidate: "challenger".to_owned(),
            champion: "champion".to_owned(),
            poll: Duration::from_secs(5),
        };
        let view = RegistryView {
            registry: &registry,
            unreachable: None,
            decision: Some(decision),
            not_started,
            pending,
            undelivered: Some("503 Service Unavailable"),
            refused: &[],
        };
        super::registry(&view).unwrap_or_default()
    }

    #[test]
    fn what_waits_is_said() {
        let idle = RegistryDecision::Nothing(NoStart::NoCandidate);
        assert_eq!(said(&idle, None, &[]), "");
        let start = RegistryDecision::Start { candidate: "4".to_owned(), champion: None };
        let refused = said(&start, Some("one is under way"), &[]);
        assert_eq!(
            refused,
            "version 4 has the alias challenger, but it can't start: one is under way"
        );
        let moved = RegistryDecision::Wait(vec![AliasMove::Candidate("5".to_owned())]);
        assert_eq!(
            said(&moved, None, &[]),
            "challenger is now version 5 in the registry, which counts after this release's end"
        );
        let release = ReleaseResult {
            version: "3".to_owned(),
            stable: None,
            outcome: ReleaseOutcome::Healthy,
            reason: String::new(),
            ended_at: "2026-11-27T00:00:00Z".to_owned(),
        };
        let pending = WriteBack { number: 1, release, champion: Some("3".to_owned()) };
        assert_eq!(
            said(&idle, None, &[pending]),
            "still to be written back: version 3 is healthy, champion is version 3 (503 Service Unavailable)"
        );
    }
}
