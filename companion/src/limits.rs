//! The operating system's limits on this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as the system allows. Usually that is 1,024 at first, for programs that
/// would fail with more; a fleet needs one for each Envoy. If it can't be raised, a large fleet's last Envoys are
/// reported as out of reach, with the system's reason.
pub fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
