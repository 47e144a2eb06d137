//! Where a rollout's two versions are, read out of Istio's names of their clusters.

use canary_model::config::Rollout;
use canary_model::document::ConfigErrors;

/// What a cluster's name must look like.
const EXPECTED: &str = "Istio's name of a subset, \
     outbound|PORT|SUBSET|SERVICE.NAMESPACE.svc.cluster.local";

/// One version of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// The subset's name in the DestinationRule.
    pub name: String,
    /// The version label of its pods.
    pub version: String,
}

/// A service with two subsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The service's name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name in full.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What everybody has.
    pub stable: Subset,
    /// What is on trial.
    pub canary: Subset,
}

/// One name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cluster<'a> {
    port: u16,
    subset: &'a str,
    service: &'a str,
    namespace: &'a str,
    host: &'a str,
}

impl Place {
    /// The place of a rollout that stands at `path` in the configuration.
    pub(super) fn of(rollout: &Rollout, path: &str, problems: &mut ConfigErrors) -> Option<Self> {
        let both = [("stable", &rollout.stable), ("canary", &rollout.canary)];
        for (role, backend) in both {
            if !is_label_value(&backend.version) {
                let what = "is a pod's label here, so it must end in a letter or a digit";
                problems.add(&format!("{path}.{role}.version"), what);
            }
        }
        let [stable, canary] = both.map(|(role, backend)| {
            let cluster = cluster(&backend.cluster);
            if cluster.is_none() {
                let message = format!("expected {EXPECTED}, found \"{}\"", backend.cluster);
                problems.add(&format!("{path}.{role}.cluster"), message);
            }
            cluster
        });
        let (stable, canary) = (stable?, canary?);
        if (stable.host, stable.port) != (canary.host, canary.port) {
            let message = "must be a subset of stable's service and port";
            problems.add(&format!("{path}.canary.cluster"), message);
            return None;
        }
        let subset = |cluster: &Cluster<'_>, version: &str| Subset {
            name: cluster.subset.to_owned(),
            version: version.to_owned(),
        };
        Some(Self {
            service: stable.service.to_owned(),
            namespace: stable.namespace.to_owned(),
            host: stable.host.to_owned(),
            port: stable.port,
            stable: subset(&stable, &rollout.stable.version),
            canary: subset(&canary, &rollout.canary.version),
        })
    }
}

fn cluster(name: &str) -> Option<Cluster<'_>> {
    let mut parts = name.split('|');
    let (direction, port, subset, host) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let mut names = host.splitn(3, '.');
    let (service, namespace, rest) = (names.next()?, names.next()?, names.next()?);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let domain = rest.strip_prefix("svc.")?.split('.').all(is_dns_label);
    let fits = direction == "outbound" && parts.next().is_none() && domain;
    let named = [subset, service, namespace].into_iter().all(is_dns_label);
    (fits && named).then_some(Cluster { port, subset, service, namespace, host })
}

/// A name as DNS has it (RFC 1123): what Kubernetes lets services and namespaces be called.
pub(super) fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '-')
}

/// A label's value as Kubernetes has it, and not an empty one.
pub(super) fn is_label_value(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let found = cluster("outbound|8080|v2|scorer.default.svc.cluster.local").unwrap();
        assert_eq!((found.port, found.subset), (8080, "v2"));
        assert_eq!((found.service, found.namespace), ("scorer", "default"));
        for wrong in [
            "scorer-canary",
            "outbound|8080||scorer.default.svc.cluster.local",
            "inbound|8080|v2|scorer.default.svc.cluster.local",
            "outbound|0|v2|scorer.default.svc.cluster.local",
            "outbound|99999|v2|scorer.default.svc.cluster.local",
            "outbound|8080|v2|scorer.example.com",
            "outbound|8080|v2|scorer.default.svc.",
            "outbound|8080|v2|scorer.default.svc.cluster.local|x",
            "outbound|8080|V2|scorer.default.svc.cluster.local",
        ] {
            assert_eq!(cluster(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn labels() {
        assert!(
            is_dns_label("a") && is_dns_label("a-1") && !is_dns_label("a-") && !is_dns_label("")
        );
        assert!(is_label_value("3.1_A") && !is_label_value("3.1.") && !is_label_value(""));
    }
}
