//! What `set weight` writes, decided from what the Envoys said before. Pure.

use std::collections::BTreeSet;

use canary_model::runtime::{Lease, RolloutRuntime, Setting, Update, WeightValue};
use canary_model::weight::Weight;

use crate::envoy::EnvoyReply;
use crate::error::{Error, Failure};
use crate::observe::Gauges;

/// What is asked for.
pub(super) struct WeightRequest {
    pub(super) rollout: String,
    pub(super) weight: Weight,
    pub(super) lease: Option<Lease>,
    /// Who asks, as an owner key would name them.
    pub(super) me: String,
    pub(super) takeover: bool,
    pub(super) reset_guard: bool,
}

/// What one Envoy says before.
pub(super) struct Before {
    pub(super) rollouts: BTreeSet<String>,
    pub(super) gauges: Gauges,
    pub(super) runtime: RolloutRuntime,
    /// The version of the canary there, if it is known.
    pub(super) canary: Option<String>,
}

/// The one update for all Envoys.
///
/// # Errors
/// If an Envoy has no such rollout, or another owner and the wish isn't a takeover, or if the canary's
/// version is unknown or not the same everywhere and the weight is above 0. Nothing is changed then.
pub(super) fn decide(
    wish: &WeightRequest,
    before: &[EnvoyReply<Before>],
) -> Result<Update, Failure> {
    let mut refusals: Vec<Error> = Vec::new();
    for report in before {
        if let Ok(one) = &report.result {
            refusals.extend(refusal(wish, &report.url, one));
        }
    }
    if !refusals.is_empty() {
        // The stronger reason gives the exit code: a wrong name before a wrong owner.
        refusals.sort_by_key(|error| !matches!(error, Error::UnknownRollout { .. }));
        return Err(Failure::refused(refusals));
    }
    let version = canary_version(wish, before).map_err(|error| Failure::refused(vec![error]))?;
    Ok(update(wish, version, before))
}

/// The version that the weight is for; `None` only for weight 0.
fn canary_version<'b>(
    wish: &WeightRequest,
    before: &'b [EnvoyReply<Before>],
) -> Result<Option<&'b str>, Error> {
    let replies = before.iter().filter_map(|reply| reply.result.as_ref().ok());
    let versions: BTreeSet<&str> = replies.filter_map(|one| one.canary.as_deref()).collect();
    let mut versions = versions.into_iter();
    let what = match (versions.next(), versions.next()) {
        (Some(version), None) => return Ok(Some(version)),
        _ if wish.weight == Weight::ZERO || before.iter().all(|reply| reply.result.is_err()) => {
            return Ok(None);
        }
        (Some(one), Some(other)) => format!(
            "the Envoys run different versions of the canary of \"{}\", {one} and {other}; a weight above \
             0 is for one version: set it on the Envoys of one version at a time, with --envoy",
            wish.rollout
        ),
        (None, _) => format!(
            "the canary's version of \"{}\" is unknown: the filter has counted no canary yet, or several, \
             and Envoy's /config_dump doesn't show its configuration; a weight above 0 is for one version",
            wish.rollout
        ),
    };
    Err(Error::Usage { what })
}

fn refusal(wish: &WeightRequest, url: &str, one: &Before) -> Option<Error> {
    let (url, rollout) = (url.to_owned(), wish.rollout.clone());
    if !one.rollouts.contains(&rollout) {
        return Some(Error::UnknownRollout { url, rollout, known: one.rollouts.clone() });
    }
    let owner = one.runtime.owner.value().filter(|owner| **owner != wish.me);
    let owner = owner.filter(|_| !wish.takeover)?.clone();
    Some(Error::OtherOwner { url, rollout, owner })
}

/// A weight above 0 releases the kill switch. A lease that wasn't asked for is removed: it was the
/// promise of an earlier weight and must not run out under this one.
fn update(wish: &WeightRequest, version: Option<&str>, before: &[EnvoyReply<Before>]) -> Update {
    let rollout = wish.rollout.as_str();
    let mut update = Update::new().weight(rollout, &WeightValue::new(wish.weight, version));
    if wish.weight > Weight::ZERO {
        update = update.enabled(rollout, true);
    }
    update = match &wish.lease {
        Some(lease) => update.lease(rollout, lease),
        None => update.remove(rollout, Setting::Lease),
    };
    if wish.takeover {
        update = update.owner(rollout, &wish.me);
    }
    if wish.reset_guard {
        update = update.epoch(rollout, next_epoch(before));
    }
    update
}

/// An epoch that no Envoy has now.
fn next_epoch(before: &[EnvoyReply<Before>]) -> u64 {
    let seen = before.iter().filter_map(|report| report.result.as_ref().ok());
    let epochs = seen.flat_map(|one| [one.runtime.epoch.value().copied(), one.gauges.epoch]);
    epochs.flatten().max().map_or(1, |epoch| epoch.checked_add(1).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use canary_model::runtime::Snapshot;

    use super::*;

    fn wish(weight: &str) -> WeightRequest {
        WeightRequest {
            rollout: "scorer".to_owned(),
            weight: Weight::parse_percent(weight).unwrap(),
            lease: None,
            me: "ann@host".to_owned(),
            takeover: false,
            reset_guard: false,
        }
    }

    fn before(rollouts: &[&str], entries: &str) -> EnvoyReply<Before> {
        let answer = format!("{{\"entries\":{{{entries}}}}}");
        let snapshot = Snapshot::read(answer.as_bytes(), |_| true).unwrap();
        let one = Before {
            rollouts: rollouts.iter().map(|name| (*name).to_owned()).collect(),
            gauges: Gauges { epoch: Some(6), ..Gauges::default() },
            runtime: RolloutRuntime::new(&snapshot, "scorer"),
            canary: Some("3.2".to_owned()),
        };
        EnvoyReply { url: "http://a:1".to_owned(), result: Ok(one) }
    }

    fn silent() -> EnvoyReply<Before> {
        EnvoyReply { url: "http://b:1".to_owned(), result: Err(Error::NoEnvoy) }
    }

    fn body(wish: &WeightRequest, before: &[EnvoyReply<Before>]) -> String {
        decide(wish, before).unwrap().form_body().unwrap()
    }

    #[test]
    fn one_update_says_it_all() {
        let plain = [before(&["scorer"], ""), silent()];
        assert_eq!(
            body(&wish("5"), &plain),
            "canary.scorer.enabled=100&canary.scorer.lease=&canary.scorer.weight=5%403.2"
        );
        assert_eq!(body(&wish("0"), &plain), "canary.scorer.lease=&canary.scorer.weight=0%403.2");
        let lease = Some(Lease::new(30, "n").unwrap());
        let leased = WeightRequest { lease, reset_guard: true, takeover: true, ..wish("5") };
        assert_eq!(
            body(&leased, &plain),
            "canary.scorer.enabled=100&canary.scorer.epoch=7&canary.scorer.lease=30%3An\
             &canary.scorer.owner=ann%40host&canary.scorer.weight=5%403.2"
        );
    }

    #[test]
    fn a_weight_is_for_one_version() {
        let of = |version: Option<&str>| {
            let mut reply = before(&["scorer"], "");
            reply.result.as_mut().unwrap().canary = version.map(str::to_owned);
            reply
        };
        let unknown = [of(None)];
        assert_eq!(body(&wish("0"), &unknown), "canary.scorer.lease=&canary.scorer.weight=0");
        let refused = decide(&wish("5"), &unknown).unwrap_err();
        assert!(refused.exit.code() == 2 && refused.errors[0].to_string().contains("is unknown"));
        let refused = decide(&wish("5"), &[of(Some("3.2")), of(Some("3.3"))]).unwrap_err();
        assert!(refused.errors[0].to_string().contains("3.2 and 3.3"), "{refused:?}");
        let known = [of(None), of(Some("3.3"))];
        assert!(body(&wish("5"), &known).ends_with("weight=5%403.3"));
    }

    #[test]
    fn one_envoy_that_refuses_refuses_for_all() {
        let exit = |wish: &WeightRequest, before: &[EnvoyReply<Before>]| {
            decide(wish, before).map_err(|failure| failure.exit.code())
        };
        let owned = r#""canary.scorer.owner":{"final_value":"bob@host"}"#;
        let mine = r#""canary.scorer.owner":{"final_value":"ann@host"}"#;
        let plain = || before(&["scorer"], "");
        assert_eq!(exit(&wish("5"), &[plain(), before(&["other"], "")]), Err(2));
        assert_eq!(exit(&wish("5"), &[plain(), before(&["scorer"], owned)]), Err(1));
        assert_eq!(exit(&wish("5"), &[before(&["scorer"], owned), before(&[], "")]), Err(2));
        assert!(decide(&wish("5"), &[before(&["scorer"], mine)]).is_ok());
        let takeover = WeightRequest { takeover: true, ..wish("5") };
        assert!(decide(&takeover, &[before(&["scorer"], owned)]).is_ok());
    }
}
