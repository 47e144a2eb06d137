//! The hosts of VirtualServices: which ones Istio accepts, and which rollouts each of them has.

use canary_model::config::Rollout;
use canary_model::document::ConfigErrors;
use canary_model::matching::Authority;

use super::DeployedRollout;

/// The hosts that share a list of rollouts, and so one VirtualService.
#[derive(Clone, Debug)]
pub(super) struct HostGroup<'a> {
    /// As a VirtualService writes them: `scorer.example.com`, `*.example.com` or `*`.
    pub(super) hosts: Vec<String>,
    /// The rollouts whose `match` covers these hosts, in the order of the filter's configuration.
    pub(super) rollouts: Vec<&'a DeployedRollout>,
}

/// Refuses the authorities of a rollout at `path` that no VirtualService can have as its hosts.
pub(super) fn check(rollout: &Rollout, path: &str, problems: &mut ConfigErrors) {
    let authorities = &rollout.matches.authorities;
    for (at, authority) in authorities.iter().enumerate() {
        let path = |at: usize| format!("{path}.match.authorities[{at}]");
        let host = written(authority);
        if let Some(expected) = fault(&host) {
            problems.add(&path(at), format!("Istio accepts {expected}, found \"{host}\""));
        }
        let earlier = authorities.iter().take(at);
        let covering = earlier.enumerate().find(|(_, other)| overlap(other, authority));
        if let Some((other, found)) = covering {
            let (found, at_other) = (written(found), path(other));
            let message = format!(
                "overlaps with \"{found}\" at {at_other}, and Istio refuses overlapping hosts in one \
                 VirtualService; remove the narrower of the two"
            );
            problems.add(&path(at), message);
        }
    }
}

/// A host for each authority of the rollouts, with all the rollouts that get its requests. Envoy picks
/// the most specific host first and only then a route, so each host needs the routes of every rollout
/// whose pattern covers it.
pub(super) fn groups(rollouts: &[DeployedRollout]) -> Vec<HostGroup<'_>> {
    let mut groups: Vec<HostGroup<'_>> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let any = |one: &DeployedRollout| one.rollout.matches.authorities.is_empty();
    let named = rollouts.iter().flat_map(|one| one.rollout.matches.authorities.iter().map(Some));
    let hosts = named.chain(rollouts.iter().any(any).then_some(None));
    for authority in hosts {
        let host = authority.map_or_else(|| "*".to_owned(), written);
        if seen.contains(&host) {
            continue;
        }
        seen.push(host.clone());
        let covered = |one: &&DeployedRollout| {
            let mut patterns = one.rollout.matches.authorities.iter();
            any(one) || authority.is_some_and(|host| patterns.any(|pattern| covers(pattern, host)))
        };
        let rollouts: Vec<&DeployedRollout> = rollouts.iter().filter(covered).collect();
        match groups.iter_mut().find(|group| same(&group.rollouts, &rollouts)) {
            Some(group) => group.hosts.push(host),
            None => groups.push(HostGroup { hosts: vec![host], rollouts }),
        }
    }
    groups
}

fn same(one: &[&DeployedRollout], other: &[&DeployedRollout]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.rollout.name == other.rollout.name)
}

/// An authority as a VirtualService's host.
fn written(authority: &Authority) -> String {
    match authority {
        Authority::Exact(host) => host.clone(),
        Authority::Suffix(suffix) => format!("*{suffix}"),
    }
}

/// What Istio would accept instead of this host; `None` if it accepts the host itself.
fn fault(host: &str) -> Option<&'static str> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let labels: Vec<&str> = name.split('.').collect();
    if host.len() > 255 || !labels.iter().all(|label| super::names::is_dns_label(label)) {
        return Some(
            "host names whose parts have letters, digits and -, and begin and end with a letter or digit",
        );
    }
    if labels.len() < 2 && name == host {
        return Some(
            "a host name with a dot, because it completes one without a dot to the name of a service",
        );
    }
    let numeric = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
    let address = host.parse::<std::net::Ipv4Addr>().is_ok();
    if labels.last().is_some_and(numeric) && !address {
        return Some("a host name whose last part isn't a number");
    }
    None
}

/// Whether every host of `inner` is one of `outer`.
fn covers(outer: &Authority, inner: &Authority) -> bool {
    match (outer, inner) {
        (Authority::Exact(outer), Authority::Exact(inner)) => outer == inner,
        (Authority::Exact(_), Authority::Suffix(_)) => false,
        (outer @ Authority::Suffix(_), Authority::Exact(inner)) => outer.matches(inner.as_bytes()),
        (Authority::Suffix(outer), Authority::Suffix(inner)) => inner.ends_with(outer.as_str()),
    }
}

fn overlap(one: &Authority, other: &Authority) -> bool {
    covers(one, other) || covers(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_istio_accepts() {
        let longest = format!("{}.example.com", "a".repeat(63));
        for host in ["a.example.com", "*.example.com", "*.com", "10.0.0.1", "a-1.b2.c", &longest] {
            assert_eq!(fault(host), None, "{host}");
        }
        let too_long = format!("{}.example.com", "a".repeat(64));
        for host in [
            "[::1]",
            "::1",
            "_x.example.com",
            "*._x.example.com",
            "localhost",
            "a..b",
            "a.example.com.",
            "-a.example.com",
            "a-.example.com",
            "a.example.1",
            "a~b.example.com",
            &too_long,
        ] {
            assert!(fault(host).is_some(), "{host}");
        }
    }
}
