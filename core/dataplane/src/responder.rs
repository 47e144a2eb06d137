//! Which version answered a request that was sent to the canary: the canary, or stable, because the kill
//! switch diverted the request or because stable rescued it.

use canary_model::config::Rollout;
use canary_model::role::Role;

use crate::host::Response;

/// Which version answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responder {
    /// The role that was chosen.
    Chosen,
    /// Stable, because the kill switch closed the canary's route.
    KillSwitch,
    /// Stable, after the canary had failed.
    Rescue,
}

/// What Envoy knows about the upstream that answered a canary request.
#[derive(Clone, Debug, Default)]
pub struct UpstreamInfo {
    /// The cluster of the route (`xds.cluster_name`).
    pub cluster: Option<Vec<u8>>,
    /// How often the request was sent (`upstream.request_attempt_count`).
    pub attempts: Option<u64>,
    /// The role in the metadata of the endpoint that answered.
    pub role: Option<Vec<u8>>,
}

/// The suffix of the aggregate cluster of a rescue, after the canary's cluster.
const RESCUE_SUFFIX: &[u8] = b"-rescued";

/// Asks which version answered, as far as it matters: only behind the aggregate of a rescue can it be
/// another endpoint than the route's cluster says.
pub fn upstream_info(rollout: &Rollout, response: &impl Response) -> UpstreamInfo {
    let cluster = response.attribute(&["xds", "cluster_name"]);
    if !cluster.as_deref().is_some_and(|cluster| is_rescue(rollout, cluster)) {
        return UpstreamInfo { cluster, ..UpstreamInfo::default() };
    }
    let metadata = ["xds", "upstream_host_metadata", "filter_metadata", "canary", "role"];
    let role = response.attribute(&metadata);
    // If the endpoint doesn't say which role it has, the number of attempts tells.
    let attempts = match role {
        Some(_) => None,
        None => response.attribute_u64(&["upstream", "request_attempt_count"]),
    };
    UpstreamInfo { cluster, attempts, role }
}

/// Which version answered a request that was chosen for the canary.
pub fn responder(rollout: &Rollout, upstream: &UpstreamInfo) -> Responder {
    let Some(cluster) = upstream.cluster.as_deref() else {
        return Responder::Chosen;
    };
    if cluster == rollout.stable.cluster.as_bytes() {
        return Responder::KillSwitch;
    }
    let retried = upstream.attempts.is_some_and(|attempts| attempts > 1);
    let by = |role: Role| upstream.role.as_deref() == Some(role.as_str().as_bytes());
    // If the canary has no healthy endpoint, stable answers the first attempt.
    let by_stable = by(Role::Stable) || (retried && !by(Role::Canary));
    if is_rescue(rollout, cluster) && by_stable {
        return Responder::Rescue;
    }
    Responder::Chosen
}

/// Whether a cluster is the canary's aggregate with stable behind it.
pub fn is_rescue(rollout: &Rollout, cluster: &[u8]) -> bool {
    cluster.strip_suffix(RESCUE_SUFFIX) == Some(rollout.canary.cluster.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use canary_model::config::Config;

    fn rollout() -> Rollout {
        let config = json!({"rollouts": [{"name": "r",
            "stable": {"version": "1", "cluster": "s"},
            "canary": {"version": "2", "cluster": "c"}}]});
        Config::parse(config.to_string().as_bytes()).unwrap().rollouts.remove(0)
    }

    #[test]
    fn who_answered() {
        let rollout = rollout();
        let upstream = |cluster: &str, attempts, role: Option<&str>| {
            let bytes = |text: &str| text.as_bytes().to_vec();
            responder(
                &rollout,
                &UpstreamInfo { cluster: Some(bytes(cluster)), attempts, role: role.map(bytes) },
            )
        };
        assert_eq!(upstream("c", None, None), Responder::Chosen);
        assert_eq!(upstream("s", None, None), Responder::KillSwitch);
        assert_eq!(upstream("c-rescued", Some(1), Some("canary")), Responder::Chosen);
        assert_eq!(upstream("c-rescued", Some(1), Some("stable")), Responder::Rescue);
        assert_eq!(upstream("c-rescued", Some(1), None), Responder::Chosen);
        assert_eq!(upstream("c-rescued", Some(2), Some("stable")), Responder::Rescue);
        assert_eq!(upstream("c-rescued", Some(2), Some("canary")), Responder::Chosen);
        assert_eq!(upstream("c-rescued", Some(2), None), Responder::Rescue);
        assert_eq!(responder(&rollout, &UpstreamInfo::default()), Responder::Chosen);
    }
}
