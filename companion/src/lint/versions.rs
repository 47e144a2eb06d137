//! What holds between a rollout file and the filter's configuration, if both are given. Pure.

use canary_model::config::Config;
use canary_model::document::ConfigError;
use canary_rollout::spec::Spec;

/// A warning where a rollout file names versions of a rollout with an affinity and no salt: the salt then
/// follows the canary's version, so a label moves clients between the versions.
pub(crate) fn warning(spec: &Spec, configuration: &Config) -> Option<ConfigError> {
    let canary = spec.versions.canary.as_deref()?;
    let named = |rollout: &&canary_model::config::Rollout| rollout.name == spec.rollout;
    let rollout = configuration.rollouts.iter().find(named)?;
    if rollout.affinity.is_empty() || !rollout.salt_is_default {
        return None;
    }
    let message = format!(
        "the filter's configuration of \"{}\" has an affinity and no salt, so the salt follows the canary's \
         version: with version {canary} other clients see the canary than those that its configuration \
         draws. Set `salt` there, and change it when other clients should go first",
        spec.rollout
    );
    Some(ConfigError { path: "versions".to_owned(), message })
}
