//! A rollout beside the routes that lead to its two places: limits of Envoy's that come too late to be
//! judged, before a deadline, or in the middle of a stream. Pure.

use std::time::Duration;

use canary_model::config::{Config, Rollout, Timings};

use super::envoy_file::EnvoyRoute;
use super::outcomes::{SLACK, text};

/// Where a warning belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteWarningPlace {
    /// To a path of the filter's configuration.
    Filter(String),
    /// To a route, by its index.
    Route(usize),
}

/// A route and how messages call it: its file and line.
pub(crate) type NamedRoute<'r> = (&'r EnvoyRoute, String);

/// Warnings about the rollouts of a configuration on these routes.
pub(crate) fn warnings(
    config: &Config,
    routes: &[NamedRoute<'_>],
) -> Vec<(RouteWarningPlace, String)> {
    let rollouts = config.rollouts.iter().enumerate();
    let of_rollout = |(index, rollout): (usize, &Rollout)| {
        let places = [rollout.stable.cluster.as_str(), rollout.canary.cluster.as_str()];
        let leads =
            |route: &EnvoyRoute| route.clusters.iter().any(|name| places.contains(&name.as_str()));
        let own: Vec<(usize, &NamedRoute<'_>)> =
            routes.iter().enumerate().filter(|(_, (route, _))| leads(route)).collect();
        let at = |(field, message): (&str, String)| {
            (RouteWarningPlace::Filter(format!("rollouts[{index}].{field}")), message)
        };
        let mut found: Vec<_> = age_below_limits(rollout, &own).into_iter().map(at).collect();
        found.extend(deadlines_beyond(rollout, &own).into_iter().map(at));
        found.extend(cut_streams(rollout, &own));
        found
    };
    rollouts.flat_map(of_rollout).collect()
}

type Routes<'a, 'r> = [(usize, &'a NamedRoute<'r>)];

/// A request that Envoy ends has failed when it does; the judge must not have looked before.
fn age_below_limits(rollout: &Rollout, routes: &Routes<'_, '_>) -> Option<(&'static str, String)> {
    let limits = routes.iter().flat_map(|(_, (route, name))| {
        [("timeout", route.timeout), ("per_try_timeout", route.per_try)]
            .into_iter()
            .filter_map(move |(field, limit)| Some((field, limit?, name)))
    });
    let (field, longest, name) = limits.max_by_key(|(_, limit, _)| *limit)?;
    let (age, enough) = (rollout.outcome_age, longest.saturating_add(SLACK));
    let message = format!(
        "{} is less than 2 s longer than the {field} of {} of the route at {name}: a request that hangs until \
         Envoy ends it there reaches its age before it has failed, and isn't judged. Set outcome_age to {} or \
         more, or a deadline in `failure.overdue` and a {field} below it",
        text(age),
        text(longest),
        text(enough)
    );
    (age < enough).then_some(("outcome_age", message))
}

/// A deadline that can't pass, because Envoy ends the request before.
fn deadlines_beyond(rollout: &Rollout, routes: &Routes<'_, '_>) -> Vec<(&'static str, String)> {
    let timeouts = routes.iter().filter_map(|(_, (route, name))| Some((route.timeout?, name)));
    let Some((shortest, name)) = timeouts.min_by_key(|(timeout, _)| *timeout) else {
        return Vec::new();
    };
    let overdue = &rollout.failure.overdue;
    let deadlines = [
        ("failure.overdue.answer", overdue.answer),
        ("failure.overdue.first_byte", overdue.first_byte),
    ];
    let beyond = |(field, deadline): (&'static str, Option<Duration>)| {
        let deadline = deadline.filter(|deadline| *deadline >= shortest)?;
        let message = format!(
            "a request never gets {} old: the route at {name} ends it after {}. Set a shorter deadline, or a \
             longer timeout there",
            text(deadline),
            text(shortest)
        );
        Some((field, message))
    };
    deadlines.into_iter().filter_map(beyond).collect()
}

/// Routes that cut off every stream that takes longer than their timeout.
fn cut_streams(rollout: &Rollout, routes: &Routes<'_, '_>) -> Vec<(RouteWarningPlace, String)> {
    let why = match () {
        () if rollout.failure.sse.is_some() => "sse",
        () if rollout.timings != Timings::default() => "timings",
        () => return Vec::new(),
    };
    let cuts = |(index, (route, _)): &(usize, &NamedRoute<'_>)| {
        let timeout = text(route.timeout?);
        let whose = if route.by_default { ", Envoy's default," } else { "" };
        let message = format!(
            "`{why}` of rollout \"{}\" says that answers are streams, and a timeout of {timeout}{whose} cuts off \
             each one that takes longer. Set `timeout: 0s`, an `idle_timeout`, and `retry_policy: \
             {{per_try_timeout: {timeout}}}` for answers that never begin",
            rollout.name
        );
        Some((RouteWarningPlace::Route(*index), message))
    };
    routes.iter().filter_map(cuts).collect()
}
