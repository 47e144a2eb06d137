//! Waiting for a condition instead of sleeping: as short as it can be, as long as it must be.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a condition may take. Generous: it only costs time when the test fails.
const DEADLINE: Duration = Duration::from_secs(20);
/// The environment variable that scales every wait limit of the tests, for slow machines: `3` waits three
/// times as long.
const FACTOR: &str = "CANARY_TEST_WAIT_FACTOR";
/// The unit of the longest waits.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// A wait limit as this machine needs it: scaled by `CANARY_TEST_WAIT_FACTOR`.
///
/// # Panics
/// If the variable isn't a positive number.
#[must_use]
pub fn wait_limit(limit: Duration) -> Duration {
    let Ok(text) = std::env::var(FACTOR) else { return limit };
    let factor = text.parse().ok().filter(|factor| *factor > 0.0 && *factor <= 1_000.0);
    limit.mul_f64(factor.unwrap_or_else(|| panic!("{FACTOR}={text}: expected a positive number")))
}

/// Probes until the value satisfies `holds`, and returns it.
///
/// # Panics
/// After 20 seconds (see [`wait_limit`]), with what was waited for and the last value seen.
pub async fn eventually<T: Debug>(
    what: &str,
    probe: impl AsyncFnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    within(DEADLINE, what, probe, holds).await
}

/// The same with another deadline.
///
/// # Panics
/// When the deadline has passed, with what was waited for and the last value seen.
pub async fn within<T: Debug>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let (start, deadline) = (Instant::now(), wait_limit(deadline));
    loop {
        let value = probe().await;
        if holds(&value) {
            return value;
        }
        assert!(
            start.elapsed() < deadline,
            "not within {deadline:?}: {what}; last seen: {value:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}
