//! `get rollout NAME [-w]`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Context, conclude, look, split};
use crate::envoy::Fleet;
use crate::error::{Error, Failure};
use crate::render::{self, EnvoyState, Screen};
use crate::view::{Observed, View};

/// Shows a rollout once; with an interval again and again, until it is interrupted or nobody reads any
/// more. Names are resolved anew for each look, and Envoys that fail in between are asked again.
pub(crate) async fn run(
    context: &Context,
    rollout: &str,
    interval: Option<Duration>,
) -> Result<(), Failure> {
    if context.targets().is_err() {
        return from_controller(context, rollout, interval).await;
    }
    let mut earlier: Option<Look> = None;
    let mut screen = Screen::default();
    let mut said = BTreeSet::new();
    loop {
        let controlled = context.ask_controller(rollout).await?;
        let now = Look::take(context, rollout).await?;
        if earlier.is_none() && now.observed.is_empty() {
            return conclude(now.errors, now.envoys.len());
        }
        let view = View::of(rollout, &now.observed, earlier.as_ref().map(|look| &look.observed));
        screen.show(
            &context.output,
            || render::rollout(&view, &now.envoys, controlled.as_ref()),
            |paint| {
                let controller = controlled.as_ref().map(|status| render::progress(status, paint));
                let envoys = render::rollout_text(&view, &now.envoys, paint);
                format!("{envoys}{}", controller.unwrap_or_default())
            },
        )?;
        for new in view.remarks.iter().filter(|remark| said.insert((*remark).clone())) {
            screen.leave();
            render::remark(new);
        }
        let Some(interval) = interval else {
            return conclude(now.errors, now.envoys.len());
        };
        earlier = Some(now);
        tokio::time::sleep(interval).await;
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
        let status = match context.controller.status(rollout).await {
            Err(Error::NoController { .. }) if !context.controller_given => {
                return Err(Error::NoEnvoy.into());
            }
            status => status?,
        };
        screen.show(
            &context.output,
            || render::controlled(&status),
            |paint| render::status_text(&status, paint),
        )?;
        let Some(interval) = interval else { return Ok(()) };
        tokio::time::sleep(interval).await;
    }
}

/// One look at every Envoy.
struct Look {
    observed: Observed,
    errors: Vec<Error>,
    envoys: Vec<EnvoyState>,
}

impl Look {
    async fn take(context: &Context, rollout: &str) -> Result<Self, Error> {
        let fleet = Fleet::resolve(context.targets()?, context.deadline).await;
        let reports = fleet.each(async |admin| look::at(admin, rollout).await).await;
        let envoys = EnvoyState::of(&reports);
        let (observed, errors) = split(reports);
        Ok(Self { observed: observed.into_iter().collect(), errors, envoys })
    }
}
