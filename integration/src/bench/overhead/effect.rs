//! How soon a weight takes effect that is set over the admin, at the default interval and at any
//! moment within it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bench::{BenchReport, BenchTarget};
use crate::{ClientRequest, Rig, Running};

const INTERVAL: Duration = Duration::from_millis(250);
const TARGET: BenchTarget = BenchTarget::AtMost(150.0);
/// Between two looks at the gauge; a look costs the main thread about a millisecond.
const LOOK: Duration = Duration::from_millis(4);
const DEADLINE: Duration = Duration::from_secs(20);

/// Sets the weight to 100 % this many times, and measures until the canary answers and until the gauge
/// says so.
pub(super) async fn measure(repeats: u32, report: &mut BenchReport) {
    let rig = Rig::new().start().await;
    let (mut answers, mut gauges) = (Vec::new(), Vec::new());
    for repeat in 0..repeats {
        eprint!("\reffect: {} of {repeats} ", repeat + 1);
        rig.runtime_modify(&[("canary.demo.weight", "0")]).await;
        rig.weight_in_force(0).await;
        rig.all_go_to(rig.stable().version()).await;
        sleep(INTERVAL.mul_f64(phase(repeat))).await;
        let start = Instant::now();
        let (answer, gauge, ()) = tokio::join!(
            until(start, async || by_canary(&rig).await),
            until(start, async || in_force(&rig).await),
            rig.runtime_modify(&[("canary.demo.weight", "100")]),
        );
        answers.push(answer);
        gauges.push(gauge);
    }
    eprintln!();
    report.cell("weight set to first canary answer", "ms", answers, Some(TARGET));
    report.cell("weight set to weight_ppm", "ms", gauges, Some(TARGET));
}

/// Where in an interval the n-th push falls: multiples of the golden ratio leave no part of it out.
fn phase(number: u32) -> f64 {
    (f64::from(number) * 0.618_033_988_75).fract()
}

/// Milliseconds from the start until the condition holds.
async fn until(start: Instant, holds: impl AsyncFn() -> bool) -> f64 {
    while !holds().await {
        assert!(start.elapsed() < DEADLINE, "the weight never took effect");
        sleep(LOOK).await;
    }
    start.elapsed().as_secs_f64() * 1e3
}

/// On a connection of its own each time: whichever worker gets it.
async fn by_canary(rig: &Running) -> bool {
    rig.request(ClientRequest::get("/")).await.version() == Some(rig.canary().version())
}

async fn in_force(rig: &Running) -> bool {
    rig.stat("demo.weight_ppm").await == 1_000_000
}
