//! What the configuration dump says about a rollout: the configuration in force, and a pushed one that
//! Envoy refuses. Pure.
//!
//! After a refused push, the ECDS dump shows the refused configuration, not the one in force. Two
//! statistics tell them apart: the push's version (if the source has versions), and the time of the
//! last successful update, which is before the push if Envoy refused it.

use crate::envoy::{ConfigDump, ConfiguredRollout, Push, PushedRollouts, Stats};

/// The longest text of a refusal that is shown, in characters.
const LONGEST: usize = 300;

/// What an Envoy's configuration says about one rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The rollout as the configuration in force has it; `None` if the dump doesn't show that one.
    pub in_force: Option<ConfiguredRollout>,
    /// A pushed configuration that Envoy refuses now, while it keeps the one before; in Envoy's words
    /// where it gives any, at most 300 characters.
    pub refused: Option<String>,
}

impl Configuration {
    /// The configuration of a rollout.
    pub fn new(dump: &ConfigDump, stats: &Stats, rollout: &str) -> Self {
        let in_force = dump.pushed.iter().filter(|pushed| is_in_force(pushed.push.as_ref(), stats));
        let mut found =
            in_force.flat_map(|pushed| &pushed.rollouts).filter(|one| one.name == rollout);
        let first = found.next();
        // If two filters disagree about the versions, neither is taken at its word.
        let agreed = |first: &&ConfiguredRollout| {
            found.all(|other| (&other.stable, &other.canary) == (&first.stable, &first.canary))
        };
        let in_force = first.filter(agreed).cloned();
        Self { in_force, refused: refused(dump, stats) }
    }
}

/// Whether Envoy took a push: it has the push's version, and its last successful update isn't older.
fn is_in_force(push: Option<&Push>, stats: &Stats) -> bool {
    let Some(push) = push else { return true };
    let stat =
        |name: &str| format!("extension_config_discovery.http_filter.{}.{name}", push.filter);
    let version = stats.texts.get(&stat("version_text"));
    let updated = stats.numbers.get(&stat("update_time")).copied();
    version.is_none_or(|running| *running == push.version)
        && updated.zip(push.received_ms).is_none_or(|(updated, received)| received <= updated)
}

fn refused(dump: &ConfigDump, stats: &Stats) -> Option<String> {
    let by_ecds = dump.pushed.iter().find_map(|pushed| {
        let push = pushed.push.as_ref().filter(|push| !is_in_force(Some(push), stats))?;
        Some(describe(push, pushed))
    });
    let text = by_ecds.or_else(|| dump.listener_errors.first().cloned())?;
    Some(crate::text::shortened(&text, LONGEST))
}

/// Envoy keeps no reason for a refusal by ECDS; what was refused tells an operator where to look.
fn describe(push: &Push, pushed: &PushedRollouts) -> String {
    let versions = pushed.rollouts.iter().map(|one| format!("{} {}", one.name, one.canary));
    let versions: Vec<String> = versions.collect();
    let what = if versions.is_empty() {
        "which can't be read".to_owned()
    } else {
        format!("with the canary {}", versions.join(", "))
    };
    format!(
        "the configuration pushed for filter \"{}\", {what}, is refused and the one before stays in \
         force; Envoy's log says why",
        push.filter
    )
}

#[cfg(test)]
mod tests {
    use canary_model::weight::Weight;

    use super::*;

    fn pushed(version: &str, received_ms: Option<u64>, canary: &str) -> PushedRollouts {
        let push = Push { filter: "canary".to_owned(), version: version.to_owned(), received_ms };
        let rollout = ConfiguredRollout {
            name: "scorer".to_owned(),
            stable: "3.1".to_owned(),
            canary: canary.to_owned(),
            weight: Weight::ZERO,
            ..ConfiguredRollout::default()
        };
        PushedRollouts { push: Some(push), rollouts: vec![rollout] }
    }

    fn stats(version: &str, update_time: u64) -> Stats {
        let name = |last: &str| format!("extension_config_discovery.http_filter.canary.{last}");
        Stats {
            texts: [(name("version_text"), version.to_owned())].into(),
            numbers: [(name("update_time"), update_time)].into(),
            ..Stats::default()
        }
    }

    fn read(pushed: Vec<PushedRollouts>, stats: &Stats) -> (Option<String>, bool) {
        let dump = ConfigDump { pushed, listener_errors: Vec::new() };
        let configuration = Configuration::new(&dump, stats, "scorer");
        (configuration.in_force.map(|one| one.canary), configuration.refused.is_some())
    }

    #[test]
    fn a_refused_push_is_named_and_says_nothing_about_what_is_in_force() {
        let version = |text: &str| Some(text.to_owned());
        let accepted = || pushed("1", Some(1_000), "3.2");
        assert_eq!(read(vec![accepted()], &stats("1", 1_000)), (version("3.2"), false));
        assert_eq!(read(vec![accepted()], &Stats::default()), (version("3.2"), false));
        let other_version = pushed("2", None, "3.3");
        assert_eq!(read(vec![other_version.clone()], &stats("1", 1_000)), (None, true));
        assert_eq!(read(vec![other_version, accepted()], &stats("1", 1_000)).0, version("3.2"));
        let from_a_file = pushed("", Some(1_001), "3.3");
        assert_eq!(read(vec![from_a_file], &stats("", 1_000)), (None, true));
        assert_eq!(read(vec![], &stats("", 1_000)), (None, false));
    }

    #[test]
    fn filters_that_disagree_say_nothing() {
        let (one, other) = (pushed("1", None, "3.2"), pushed("1", None, "3.3"));
        assert_eq!(read(vec![one, other], &stats("1", 0)), (None, false));
    }

    #[test]
    fn a_refusal_is_told_in_at_most_300_characters() {
        let errors = vec!["x".repeat(2_000)];
        let dump = ConfigDump { pushed: Vec::new(), listener_errors: errors };
        let refused = Configuration::new(&dump, &Stats::default(), "scorer").refused.unwrap();
        assert!(refused.chars().count() <= LONGEST && refused.ends_with('…'), "{refused}");
    }
}
