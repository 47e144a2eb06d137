//! The clocks by which the controller takes its steps.

use std::time::{Duration, SystemTime};

use canary_rollout::HostClocks;

/// The host's clocks: the time since boot for durations, and the time of day for people.
pub fn now() -> HostClocks {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(boot.tv_nsec).unwrap_or(0);
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    HostClocks { monotonic: Duration::new(seconds, nanos), unix: unix.as_secs() }
}
