//! `get rollout NAME [-w]`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::status::current;
use super::{Context, conclude, split};
use crate::envoy::Fleet;
use crate::error::{Error, Failure};
use crate::observe::fleet_view::requests_between;
use crate::observe::scrape::scrape;
use crate::observe::{FleetView, MeasuredShare, Scrapes};
use crate::render::{self, EnvoyState, Room, Screen};

/// How long lies between the two readings that measure the canary's share, without a controller.
pub(super) const MEASURE_FOR: Duration = Duration::from_secs(1);

/// Shows a rollout once; with an interval again and again, until it is interrupted or its reader has gone.
/// Names are resolved again each time, and Envoys that fail in between are asked again.
pub(crate) async fn run(
    context: &Context,
    rollout: &str,
    interval: Option<Duration>,
) -> Result<(), Failure> {
    if context.targets().is_err() {
        return from_controller(context, rollout, interval).await;
    }
    let mut screen = Screen::default();
    let mut said = BTreeSet::new();
    let mut controlled = context.ask_controller(rollout).await?;
    let mut earlier = RolloutReadings::take(context, rollout).await?;
    if earlier.scrapes.is_empty() {
        return conclude(earlier.errors, earlier.envoys.len());
    }
    let mut share = MeasuredShare::default();
    earlier.measure(&mut share, None);
    let mut pause = MEASURE_FOR;
    loop {
        tokio::time::sleep(pause).await;
        let now = RolloutReadings::take(context, rollout).await?;
        now.measure(&mut share, Some(&earlier));
        let mut view = FleetView::new(rollout, &now.scrapes, Some(&earlier.scrapes));
        let by_controller = controlled.as_ref().map(|status| status.weight.measured);
        view.measured = by_controller.map_or(share.share(), |percent| percent.map(|p| p / 100.0));
        let room = Room::on(&context.output);
        screen.show(
            &context.output,
            || render::rollout(&view, &now.envoys, controlled.as_ref()),
            |paint| {
                let envoys = render::rollout_text(&view, &now.envoys, paint);
                let lines = room.lines.saturating_sub(envoys.lines().count());
                let room = Room { lines, ..room };
                let controller =
                    controlled.as_ref().map(|status| render::progress(status, paint, room));
                format!("{envoys}{}", controller.unwrap_or_default())
            },
        )?;
        for new in view.warnings.iter().filter(|warning| said.insert((*warning).clone())) {
            screen.leave();
            render::remark(new);
        }
        let Some(interval) = interval else {
            return conclude(now.errors, now.envoys.len());
        };
        earlier = now;
        pause = interval;
        controlled = context.ask_controller(rollout).await?;
    }
}

/// Shows what the controller knows, where no Envoy is named.
async fn from_controller(
    context: &Context,
    rollout: &str,
    interval: Option<Duration>,
) -> Result<(), Failure> {
    let mut screen = Screen::default();
    loop {
        let status = match current(context, rollout).await {
            Err(Error::NoController { .. }) if !context.controller_given => {
                return Err(Error::NoEnvoy.into());
            }
            status => status?,
        };
        screen.show(
            &context.output,
            || render::controlled(&status),
            |paint| render::status_text(&status, paint, Room::on(&context.output)),
        )?;
        let Some(interval) = interval else { return Ok(()) };
        tokio::time::sleep(interval).await;
    }
}

/// One reading of every Envoy.
struct RolloutReadings {
    scrapes: Scrapes,
    errors: Vec<Error>,
    envoys: Vec<EnvoyState>,
}

impl RolloutReadings {
    async fn take(context: &Context, rollout: &str) -> Result<Self, Error> {
        let fleet = Fleet::resolve(context.targets()?, context.deadline).await;
        let replies = fleet.each(async |admin| scrape(admin, rollout).await).await;
        let envoys = EnvoyState::from_replies(&replies);
        let (scrapes, errors) = split(replies);
        Ok(Self { scrapes: scrapes.into_iter().collect(), errors, envoys })
    }

    /// Adds the requests since an earlier reading to the measured share.
    fn measure(&self, share: &mut MeasuredShare, earlier: Option<&Self>) {
        let requests = earlier.map(|earlier| requests_between(&earlier.scrapes, &self.scrapes));
        let weight = self.scrapes.values().next().and_then(|one| one.gauges.in_force);
        share.add(Instant::now(), weight, requests.unwrap_or_default());
    }
}
