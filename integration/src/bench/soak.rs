//! Whether anything grows: an hour at steady load, with configurations pushed, and one release after the
//! other of four versions in turn, each with an epoch and windows of its own.
//!
//! Everything is real: Envoy, the full module, `canaryctl serve`. Simulated are the clients, the upstreams,
//! which answer at once and all alike, and the deploying of a version, which does nothing.

mod bound;
mod course;
mod flatness;
mod releases;
mod samples;
mod site;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval};

use self::course::tell_courses;
use self::releases::EndedRelease;
use self::samples::SoakSample;
use self::site::SoakSite;
use super::BenchTarget::{AtLeast, AtMost};
use super::{BenchReport, BenchRun};

/// The versions that are released in turn. The first two are those of Envoy's configuration.
const VERSIONS: [&str; 4] = ["1.0.0", "2.0.0", "3.0.0", "4.0.0"];
/// Requests that the clients send.
const PER_SECOND: f64 = 300.0;
const SECOND: Duration = Duration::from_secs(1);
/// Shorter runs end while caches still fill, so memory isn't judged.
const SETTLES_WITHIN: Duration = Duration::from_secs(20 * 60);

/// How long it runs, and how often what is done.
struct SoakExtent {
    time: Duration,
    /// The time from one release's start to the next one's.
    slot: Duration,
    /// Seconds between two samples.
    sample: u32,
    /// Seconds between two pushed configurations.
    push: u32,
}

impl SoakExtent {
    fn new(run: &BenchRun) -> Self {
        let minutes = |minutes: u32| 60 * SECOND * minutes;
        if run.quick {
            let time = run.minutes.map_or(180 * SECOND, minutes);
            return Self { time, slot: 18 * SECOND, sample: 1, push: 5 };
        }
        Self { time: minutes(run.minutes.unwrap_or(60)), slot: 18 * SECOND, sample: 5, push: 10 }
    }

    /// How many releases begin in that time.
    fn releases(&self) -> u32 {
        u32::try_from(self.time.as_secs() / self.slot.as_secs()).expect("not that many")
    }

    fn settles(&self) -> bool {
        self.time >= SETTLES_WITHIN
    }
}

/// Runs it for an hour, or for a first impression.
pub(super) fn run(run: &BenchRun) -> BenchReport {
    let extent = SoakExtent::new(run);
    let minutes = extent.time.as_secs_f64() / 60.0;
    let circumstances = format!("; {minutes} minutes at {PER_SECOND} requests a second, 2 workers");
    let mut report = BenchReport::new("soak", &circumstances);
    Runtime::new().expect("a runtime").block_on(soak(&extent, &mut report));
    if !extent.settles() {
        report.note(
            "A subset: in so short a time, caches still fill and versions turn up for the first time, so \
             whether memory and files grow isn't judged. That takes 20 minutes or more.",
        );
    }
    report
}

async fn soak(extent: &SoakExtent, report: &mut BenchReport) {
    let mut site = SoakSite::start().await;
    let (samples, releases) = watch(&mut site, extent).await;
    let ran = site.end_traffic().await;
    tell_releases(&releases, extent, report);
    tell_requests(&site, ran, report);
    tell_pushes(&site, report).await;
    let rollout = site.envoy.configuration()["rollouts"][0].clone();
    let documented = bound::documented(&rollout, &VERSIONS);
    tell_statistics(&samples, &documented, report);
    tell_courses(&samples, documented.len(), extent.settles(), report);
    let (each, most) = (bound::of_a_version(&rollout).len(), bound::most_ever(&rollout));
    report.note(format!(
        "Documented: {each} statistics of a version in a role, 5 of the rollout and 5 of the filter, so 2 · {} · \
         {each} + 10 = {} here; with the 32 versions that a role may have and `other`, never more than {most}.",
        VERSIONS.len(),
        documented.len(),
    ));
}

/// Samples and pushes while releases come and go, until they are over.
async fn watch(site: &mut SoakSite, extent: &SoakExtent) -> (Vec<SoakSample>, Vec<EndedRelease>) {
    let (state, controller) = (site.state(), Arc::clone(&site.controller));
    let mut samples = Vec::new();
    let releases = releases::in_turn(&controller, &state, extent);
    tokio::pin!(releases);
    let mut seconds = interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut second = 0;
    loop {
        tokio::select! {
            biased;
            ended = &mut releases => return (samples, ended),
            _ = seconds.tick() => {}
        }
        if second % extent.push == extent.push - 1 {
            site.push();
        }
        if second % extent.sample == 0 {
            site.take();
            samples.push(SoakSample::take(&site.envoy, &site.controller, &state).await);
            eprint!("\rsoak: {second} of {} s ", extent.time.as_secs());
        }
        second += 1;
    }
}

#[allow(clippy::cast_precision_loss)]
fn tell_releases(releases: &[EndedRelease], extent: &SoakExtent, report: &mut BenchReport) {
    eprintln!();
    let (healthy, otherwise): (Vec<_>, Vec<_>) =
        releases.iter().partition(|release| release.otherwise.is_none());
    let planned = f64::from(extent.releases());
    report.cell(
        "releases that ended Healthy",
        "",
        vec![healthy.len() as f64],
        Some(AtLeast(planned)),
    );
    let others = vec![otherwise.len() as f64];
    report.cell("releases that ended otherwise", "", others, Some(AtMost(0.0)));
    for release in &otherwise {
        let (version, end) = (release.version, release.otherwise.as_deref().unwrap_or_default());
        report.note(format!("The release of {version} after {:.0?}: {end}", release.took));
    }
    let took: Vec<f64> = healthy.iter().map(|release| release.took.as_secs_f64()).collect();
    if !took.is_empty() {
        report.cell("a release, from its start to Healthy", "s", took, None);
    }
    let of_all = || releases.iter().map(|release| &release.epochs_and_windows);
    let epochs: BTreeSet<u64> = of_all().flatten().map(|(epoch, _)| *epoch).collect();
    let all = releases.len() as f64;
    report.cell("epochs", "", vec![epochs.len() as f64], Some(AtLeast(all)));
    let windows: Vec<f64> = of_all().map(|both| both.len() as f64).collect();
    if !windows.is_empty() {
        report.cell("windows in a release", "", windows, Some(AtLeast(3.0)));
    }
}

#[allow(clippy::cast_precision_loss)]
fn tell_requests(site: &SoakSite, ran: Duration, report: &mut BenchReport) {
    let seen = &site.seen;
    let rate = seen.requests as f64 / ran.as_secs_f64();
    report.cell("requests sent", "1/s", vec![rate], Some(AtLeast(0.97 * PER_SECOND)));
    report.cell("failed requests", "", vec![seen.failed as f64], Some(AtMost(0.0)));
    for failure in &seen.first_failures {
        report.note(format!("Requests failed: {failure}"));
    }
    let answered = seen.by_version.iter().map(|count| *count as f64).collect();
    report.cell("requests that a version answered", "", answered, Some(AtLeast(1.0)));
}

#[allow(clippy::cast_precision_loss)]
async fn tell_pushes(site: &SoakSite, report: &mut BenchReport) {
    let counters = site.envoy.admin().json("/stats?filter=config_reload$&format=json").await;
    let counters = counters["stats"].as_array().map_or(&[][..], Vec::as_slice);
    let reload = counters.iter().filter_map(|counter| counter["value"].as_u64()).sum::<u64>();
    // The first one came with the start.
    let taken = reload.saturating_sub(1) as f64;
    let target = Some(AtLeast(f64::from(site.pushes)));
    report.cell("pushed configurations that Envoy took", "", vec![taken], target);
    let refused = site.envoy.stat("filter.config_rejected").await as f64;
    report.cell("configurations that the filter refused", "", vec![refused], Some(AtMost(0.0)));
}

/// Whether the statistics are those that the documentation says.
#[allow(clippy::cast_precision_loss)]
fn tell_statistics(
    samples: &[SoakSample],
    documented: &BTreeSet<String>,
    report: &mut BenchReport,
) {
    let seen: BTreeSet<String> =
        samples.iter().flat_map(|sample| sample.filter_statistics.clone()).collect();
    let undocumented: Vec<&String> = seen.difference(documented).collect();
    let missing: Vec<&String> = documented.difference(&seen).collect();
    for (what, names) in [
        ("statistics of the filter that aren't documented", undocumented),
        ("documented statistics that never appeared", missing),
    ] {
        report.cell(what, "", vec![names.len() as f64], Some(AtMost(0.0)));
        if let Some(name) = names.first() {
            report.note(format!("{what}: {name} and {} others", names.len() - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_two_hundred_releases() {
        let run =
            |quick, minutes| SoakExtent::new(&BenchRun { quick, minutes, ..BenchRun::default() });
        assert_eq!((run(false, None).releases(), run(false, None).settles()), (200, true));
        assert_eq!((run(true, None).releases(), run(true, None).settles()), (10, false));
        assert_eq!(run(false, Some(30)).releases(), 100);
        assert!(run(false, Some(20)).settles() && !run(false, Some(19)).settles());
    }
}
