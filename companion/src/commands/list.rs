//! `list`: all rollouts of all Envoys, a line each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use canary_rollout::state::Phase;

use super::get::MEASURE_FOR;
use super::{Context, conclude, split};
use crate::controller::status::Status;
use crate::envoy::Fleet;
use crate::error::{Error, Failure};
use crate::observe::fleet_view::requests_between;
use crate::observe::scrape::scrape_all;
use crate::observe::{FleetView, MeasuredShare, Scrapes};
use crate::render::{self, EnvoyState};

/// Shows every rollout of every Envoy, each summed over the Envoys that have it. As JSON, a list of what
/// `get rollout` gives for each.
pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let (controlled, answered) = match context.controller.list().await {
        Err(error) if context.controller_given => return Err(error.into()),
        Err(_) => (Vec::new(), false),
        Ok(controlled) => (controlled, true),
    };
    if context.targets().is_err() && answered {
        let json = || controlled.iter().map(render::controlled).collect::<Vec<_>>();
        context.output.print(json, |paint| render::controlled_text(&controlled, paint))?;
        return Ok(());
    }
    let first = AllReadings::take(context).await?;
    if first.by_rollout.is_empty() && !first.errors.is_empty() && first.answered == 0 {
        return conclude(first.errors, first.envoys.len());
    }
    tokio::time::sleep(MEASURE_FOR).await;
    let AllReadings { by_rollout, envoys, errors, .. } = AllReadings::take(context).await?;
    let status = |rollout: &str| controlled.iter().find(|status| status.rollout == rollout);
    let views: Vec<FleetView> = by_rollout
        .iter()
        .map(|(rollout, now)| view(rollout, now, first.by_rollout.get(rollout), status(rollout)))
        .collect();
    let states: Vec<Vec<EnvoyState>> =
        views.iter().map(|view| envoys_of(view, &by_rollout, &envoys)).collect();
    let each = || views.iter().zip(&states);
    let json = || {
        each()
            .map(|(view, envoys)| render::rollout(view, envoys, status(&view.rollout)))
            .collect::<Vec<_>>()
    };
    let phases: Vec<Option<Phase>> =
        views.iter().map(|view| status(&view.rollout).map(|status| status.phase)).collect();
    context.output.print(json, |paint| render::list_text(&views, &phases, paint))?;
    if views.is_empty() {
        render::remark("no rollouts: no canary filter has started on these Envoys");
    }
    let warnings: BTreeSet<&String> = views.iter().flat_map(|view| &view.warnings).collect();
    warnings.into_iter().for_each(|warning| render::remark(warning));
    conclude(errors, envoys.len())
}

/// The Envoys that have a rollout, and those that could not be asked.
fn envoys_of(
    view: &FleetView,
    seen: &BTreeMap<String, Scrapes>,
    envoys: &[EnvoyState],
) -> Vec<EnvoyState> {
    let has =
        |url: &str| seen.get(&view.rollout).is_some_and(|observed| observed.contains_key(url));
    envoys.iter().filter(|one| one.error.is_some() || has(&one.url)).cloned().collect()
}

/// One reading of every Envoy.
struct AllReadings {
    by_rollout: BTreeMap<String, Scrapes>,
    envoys: Vec<EnvoyState>,
    errors: Vec<Error>,
    answered: usize,
}

impl AllReadings {
    async fn take(context: &Context) -> Result<Self, Error> {
        let fleet = Fleet::resolve(context.targets()?, context.deadline).await;
        let replies = fleet.each(async |admin| scrape_all(admin).await).await;
        let envoys = EnvoyState::from_replies(&replies);
        let (answers, errors) = split(replies);
        let answered = answers.len();
        let mut by_rollout: BTreeMap<String, Scrapes> = BTreeMap::new();
        for (url, rollouts) in answers {
            for (rollout, scrape) in rollouts {
                by_rollout.entry(rollout).or_default().insert(url.clone(), scrape);
            }
        }
        Ok(Self { by_rollout, envoys, errors, answered })
    }
}

/// One rollout; the share is the controller's if there is one, otherwise that between the readings.
fn view(
    rollout: &str,
    now: &Scrapes,
    earlier: Option<&Scrapes>,
    controlled: Option<&Status>,
) -> FleetView {
    let mut view = FleetView::new(rollout, now, earlier);
    view.measured = match (controlled, earlier) {
        (Some(status), _) => status.weight.measured.map(|percent| percent / 100.0),
        (None, None) => None,
        (None, Some(earlier)) => {
            let weight = |scrapes: &Scrapes| scrapes.values().next()?.gauges.in_force;
            let mut share = MeasuredShare::default();
            share.add(Instant::now(), weight(earlier), Default::default());
            share.add(Instant::now(), weight(now), requests_between(earlier, now));
            share.share()
        }
    };
    view
}
