//! Where a rollout's two versions are, as Istio's names of their clusters say.

use canary_model::config::Rollout;
use canary_model::document::ConfigErrors;

use super::names::{is_dns_label, is_label_value};

/// What a cluster's name must look like, for error messages.
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
pub struct Destination {
    /// The Kubernetes service's name, without its namespace.
    pub service: String,
    /// The namespace that the service is in.
    pub namespace: String,
    /// Its host name, `SERVICE.NAMESPACE.svc.DOMAIN`.
    pub host: String,
    /// Its port, which both versions share.
    pub port: u16,
    /// The subset of the stable version.
    pub stable: Subset,
    /// The subset of the canary version.
    pub canary: Subset,
}

/// The parts of Istio's name of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ClusterName<'a> {
    port: u16,
    subset: &'a str,
    service: &'a str,
    namespace: &'a str,
    host: &'a str,
}

impl Destination {
    /// Reads the two clusters of the rollout at `path` in the configuration.
    pub(super) fn new(rollout: &Rollout, path: &str, problems: &mut ConfigErrors) -> Option<Self> {
        let both = [("stable", &rollout.stable), ("canary", &rollout.canary)];
        for (role, backend) in both {
            if !is_label_value(&backend.version) {
                let what =
                    "becomes the value of a pod's label, so it must end with a letter or digit";
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
        let subset = |cluster: &ClusterName<'_>, version: &str| Subset {
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

    /// Both subsets, each with the role that it has in the filter's configuration.
    pub(super) fn subsets(&self) -> [(&'static str, &Subset); 2] {
        [("stable", &self.stable), ("canary", &self.canary)]
    }
}

fn cluster(name: &str) -> Option<ClusterName<'_>> {
    let mut parts = name.split('|');
    let (direction, port, subset, host) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let mut names = host.splitn(3, '.');
    let (service, namespace, rest) = (names.next()?, names.next()?, names.next()?);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let domain = rest.strip_prefix("svc.")?.split('.').all(is_dns_label);
    let fits = direction == "outbound" && parts.next().is_none() && domain;
    let named = [subset, service, namespace].into_iter().all(is_dns_label);
    (fits && named).then_some(ClusterName { port, subset, service, namespace, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_cluster_name() {
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
}
