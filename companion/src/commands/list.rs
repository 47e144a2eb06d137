//! `list`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, conclude, look, split};
use crate::envoy::Fleet;
use crate::error::Failure;
use crate::render::{self, EnvoyState};
use crate::view::{Observed, View};

/// Shows every rollout of every Envoy, each summed over the Envoys that have it. As JSON, a list of what
/// `get rollout` gives for each.
pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let controlled = match context.controller.list().await {
        Err(error) if context.controller_given => return Err(error.into()),
        controlled => controlled.unwrap_or_default(),
    };
    if context.targets().is_err() && !controlled.is_empty() {
        let json = || controlled.iter().map(render::controlled).collect::<Vec<_>>();
        context.output.print(json, |paint| render::controlled_text(&controlled, paint))?;
        return Ok(());
    }
    let fleet = Fleet::resolve(context.targets()?, context.deadline).await;
    let reports = fleet.each(async |admin| look::all(admin).await).await;
    let envoys = EnvoyState::of(&reports);
    let (answers, errors) = split(reports);
    if answers.is_empty() {
        return conclude(errors, envoys.len());
    }
    let mut by_rollout: BTreeMap<String, Observed> = BTreeMap::new();
    for (url, rollouts) in answers {
        for (rollout, seen) in rollouts {
            by_rollout.entry(rollout).or_default().insert(url.clone(), seen);
        }
    }
    let views: Vec<View> =
        by_rollout.iter().map(|(rollout, seen)| View::of(rollout, seen, None)).collect();
    let states: Vec<Vec<EnvoyState>> =
        views.iter().map(|view| of(view, &by_rollout, &envoys)).collect();
    let status = |view: &View| controlled.iter().find(|status| status.rollout == view.rollout);
    let each = || views.iter().zip(&states);
    let json = || {
        each().map(|(view, envoys)| render::rollout(view, envoys, status(view))).collect::<Vec<_>>()
    };
    context.output.print(json, |paint| render::list_text(&views, paint))?;
    if views.is_empty() {
        render::remark("no rollouts: no canary filter has started on these Envoys");
    }
    let remarks: BTreeSet<&String> = views.iter().flat_map(|view| &view.remarks).collect();
    remarks.into_iter().for_each(|remark| render::remark(remark));
    conclude(errors, envoys.len())
}

/// The Envoys that have a rollout, and those that could not be asked.
fn of(view: &View, seen: &BTreeMap<String, Observed>, envoys: &[EnvoyState]) -> Vec<EnvoyState> {
    let has =
        |url: &str| seen.get(&view.rollout).is_some_and(|observed| observed.contains_key(url));
    envoys.iter().filter(|one| one.error.is_some() || has(&one.url)).cloned().collect()
}
