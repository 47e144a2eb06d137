//! What must be right before a release of a served rollout begins, and which versions it is about.

use canary_judge::counts::Pair;
use canary_rollout::state::{Phase, State};

use crate::controller::engine::Engine;

/// Which versions a release is about, by DESIGN 9.1: what is given, else for stable what was released last,
/// else what the Envoys show.
pub fn versions(
    given: Pair<Option<String>>,
    released: Option<&str>,
    shown: Pair<Option<String>>,
) -> Result<Pair<Option<String>>, String> {
    let stable = given.stable.or_else(|| released.map(str::to_owned)).or(shown.stable);
    let canary = given.canary.or(shown.canary);
    match (&stable, &canary) {
        (Some(stable), Some(canary)) if stable == canary => Err(format!(
            "the canary's version would be {canary}, as stable's is; name another one with \
             --canary-version"
        )),
        _ => Ok(Pair { stable, canary }),
    }
}

/// Why no release may begin after the last one; `None` if one may.
pub fn refusal(last: Option<&Engine>) -> Option<String> {
    let last = last?;
    all_in_canarys_place(last.state()).then(|| {
        let version = last.versions().canary.as_deref().unwrap_or("the new version");
        format!(
            "all users are in the canary's place, on {version}: put {version} into stable's place and run \
             `canaryctl finish {}` first",
            last.spec().rollout
        )
    })
}

/// Whether the canary's place has all traffic after a release's end.
fn all_in_canarys_place(state: &State) -> bool {
    state.phase() == Phase::Healthy
}
