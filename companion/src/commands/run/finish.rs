//! `finish` without a controller: the handover of a release that has ended, from its journal or, if there is
//! none, from what the Envoys show.

use canary_judge::counts::Pair;
use canary_model::runtime::WeightValue;
use canary_model::weight::Weight;
use canary_rollout::action::Action;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;
use canary_rollout::versions::ReleaseVersions;

use super::start;
use crate::cli::RunArgs;
use crate::commands::split;
use crate::controller::engine::Engine;
use crate::controller::preflight;
use crate::controller::record::Start;
use crate::envoy::Admin;
use crate::error::{Error, Failure};
use crate::journal::Journal;
use crate::observe::scrape::scrape;
use crate::observe::{FleetScraper, Scrape};

/// Goes on with the journal's last rollout, which must have all traffic in the canary's place.
pub(super) fn resume(
    spec: Spec,
    journal: Journal,
    begin: u64,
) -> Result<(Engine, Vec<Action>), Failure> {
    let rollout = spec.rollout.clone();
    let (engine, under_way) = Engine::resume(spec, journal, begin)?;
    let state = engine.state();
    let why = match state.phase() {
        Phase::Healthy if state.is_finished() => {
            "the new version runs in both places already".to_owned()
        }
        Phase::Healthy => return Ok((engine, under_way)),
        _ if state.is_finalizing() => return Ok((engine, under_way)),
        phase => format!("its journal says that it is {phase}"),
    };
    Err(Error::NothingToFinish { rollout, why }.into())
}

/// Begins where a release ended whose journal isn't here: every Envoy that answers shows 100 % for the
/// canary's version.
pub(super) async fn begin(
    args: &RunArgs,
    source: String,
    spec: Spec,
    journal: Journal,
    scraper: &FleetScraper,
) -> Result<(Engine, Vec<Action>), Failure> {
    let rollout = spec.rollout.clone();
    let fleet = scraper.fleet();
    let versions = preflight::check(fleet, &rollout, args.takeover, None).await?;
    let replies = fleet.each(async |admin: &Admin| scrape(admin, &rollout).await).await;
    let (scrapes, _) = split(replies);
    let canary = versions.canary.as_deref();
    if let Some(why) = scrapes.iter().find_map(|(url, one)| not_released(url, one, canary)) {
        return Err(Error::NothingToFinish { rollout, why }.into());
    }
    let release = ReleaseVersions { named: Pair::default(), versions };
    let start = Start { released: true, ..start(&spec, &source, args.takeover, None, release)? };
    let engine = Engine::begin(spec, journal, start).map_err(Error::Journal)?;
    Ok((engine, Vec::new()))
}

/// What an Envoy shows instead of 100 % for the canary's version, if it does.
fn not_released(url: &str, scrape: &Scrape, canary: Option<&str>) -> Option<String> {
    let wanted = WeightValue::new(Weight::FULL, Some(canary.unwrap_or("its version")));
    let shown = scrape.runtime.weight.value();
    if shown == Some(&wanted) && scrape.gauges.in_force == Some(Weight::FULL) {
        return None;
    }
    let shown = shown.map_or_else(|| "no weight".to_owned(), |weight| format!("weight {weight}"));
    Some(format!("{url} shows {shown}, not all traffic in the canary's place ({wanted})"))
}
