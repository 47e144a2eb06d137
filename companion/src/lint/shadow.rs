//! Rollouts that never get a request because an earlier one gets them all.

use canary_model::config::Config;
use canary_model::document::ConfigError;
use canary_model::matching::{Authority, Match};

/// A warning for each rollout that an earlier one shadows.
pub(crate) fn warnings(config: &Config) -> Vec<ConfigError> {
    let shadowed = config.rollouts.iter().enumerate().filter_map(|(index, later)| {
        let mut earlier = config.rollouts.iter().take(index);
        let earlier = earlier.find(|earlier| covers(&earlier.matches, &later.matches))?;
        Some((index, earlier.name.clone()))
    });
    let warning = |(index, earlier): (usize, String)| ConfigError {
        path: format!("rollouts[{index}]"),
        message: format!(
            "never gets a request: the earlier rollout \"{earlier}\" matches all of them, and the \
             first match wins. Move the more specific rollout up"
        ),
    };
    shadowed.map(warning).collect()
}

/// Whether every request that the second matches is matched by the first. Destructured, so that a new
/// part of a match must be considered here.
fn covers(first: &Match, second: &Match) -> bool {
    let Match { authorities, path_prefixes, headers, request_json } = first;
    let hosts = authorities.is_empty()
        || !second.authorities.is_empty()
            && second
                .authorities
                .iter()
                .all(|host| authorities.iter().any(|wider| covers_host(wider, host)));
    let paths = path_prefixes.is_empty()
        || !second.path_prefixes.is_empty()
            && second
                .path_prefixes
                .iter()
                .all(|path| path_prefixes.iter().any(|wider| path.starts_with(wider)));
    // Whether one condition implies another isn't decided here: only the same conditions cover.
    let headers = headers.iter().all(|header| second.headers.contains(header));
    let body = request_json.is_none() || *request_json == second.request_json;
    hosts && paths && headers && body
}

fn covers_host(wider: &Authority, host: &Authority) -> bool {
    match (wider, host) {
        (Authority::Exact(wider), Authority::Exact(host)) => wider == host,
        (Authority::Exact(_), Authority::Suffix(_)) => false,
        (Authority::Suffix(_), Authority::Exact(host)) => wider.matches(host.as_bytes()),
        (Authority::Suffix(wider), Authority::Suffix(host)) => host.ends_with(wider.as_str()),
    }
}
