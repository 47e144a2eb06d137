//! Whether a release of a served rollout may begin after the last one.

use canary_rollout::state::{Phase, State};

use crate::controller::engine::Engine;

/// Why no release may begin after the last one; `None` if one may.
pub fn refusal(last: Option<&Engine>) -> Option<String> {
    let last = last?;
    all_in_canarys_place(last.state()).then(|| {
        let version = last.versions().canary.unwrap_or_else(|| "the new version".to_owned());
        format!(
            "all users are in the canary's place, on {version}: put {version} into stable's place and run \
             `canaryctl finish {}` first",
            last.spec().rollout
        )
    })
}

/// Whether the canary's place has all traffic after a release's end.
fn all_in_canarys_place(state: &State) -> bool {
    state.phase() == Phase::Healthy && !state.is_finished()
}
