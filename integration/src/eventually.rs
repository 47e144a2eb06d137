//! Waiting for a condition instead of sleeping: as short as it can be, as long as it must be.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a condition may take. Generous: it only costs time when the test fails.
const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Probes until the value satisfies `holds`, and returns it.
///
/// # Panics
/// After 20 seconds, with what was waited for and the last value seen.
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
    let start = Instant::now();
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
