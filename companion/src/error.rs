//! Every failure: its message, its exit code, and what to do about it.

mod hint;

use std::collections::BTreeSet;
use std::time::Duration;
use std::{fmt, io};

use canary_model::duration;

use crate::journal::JournalError;

/// A reason as the end of a message; nothing without one.
fn after_colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// The exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: failed or degraded; some of several Envoys failed; another owner holds the rollout.
    Failed,
    /// 2: usage, invalid input, unknown rollout.
    Usage,
    /// 3: it took longer than allowed.
    TimedOut,
    /// 4: can't reach or use what it needs.
    Unavailable,
}

impl Exit {
    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::TimedOut => 3,
            Self::Unavailable => 4,
        }
    }
}

/// One failure: what and where. [`Error::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid argument or file.
    #[error("{what}")]
    Usage {
        /// What was found and what was expected.
        what: String,
    },
    /// Neither `--envoy` nor the environment names an Envoy.
    #[error("no Envoy given")]
    NoEnvoy,
    /// No connection, or the name has no address.
    #[error("{url}: can't connect: {cause}")]
    Unreachable {
        /// The admin interface that was asked for.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// A connection, but no answer in time.
    #[error("{url}: no answer to {request} within {seconds} s")]
    NoAnswer {
        /// The admin interface that was asked.
        url: String,
        /// What it was asked for.
        request: String,
        /// The deadline, in seconds.
        seconds: f64,
    },
    /// A response that Envoy's admin interface doesn't give.
    #[error("{url}: {mismatch}")]
    UnexpectedResponse {
        /// The address that was asked.
        url: String,
        /// How the response differs from Envoy's.
        mismatch: String,
    },
    /// Envoy has no layer for runtime changes.
    #[error("{url}: Envoy refuses runtime changes: its layered_runtime has no admin layer")]
    NoAdminLayer {
        /// The URL of Envoy's admin interface.
        url: String,
    },
    /// Envoy refused an update.
    #[error("{url}: Envoy answered {status} to the update: {body}")]
    Refused {
        /// The URL of Envoy's admin interface.
        url: String,
        /// The HTTP status of the response.
        status: u16,
        /// The beginning of the response.
        body: String,
    },
    /// No filter on this Envoy has such a rollout.
    #[error("{url}: no rollout \"{rollout}\"")]
    UnknownRollout {
        /// The URL of Envoy's admin interface.
        url: String,
        /// The name that was asked for.
        rollout: String,
        /// The rollouts that this Envoy has.
        known: BTreeSet<String>,
    },
    /// The canary's version is stable's.
    #[error(
        "version {version} is stable's version of \"{rollout}\" already; a canary needs another one"
    )]
    SameVersion {
        /// The name of the rollout.
        rollout: String,
        /// The version of both roles.
        version: String,
    },
    /// A file with a registry, which `run` doesn't watch.
    #[error("the file of \"{rollout}\" has a registry, which `run` doesn't watch")]
    NeedsServe {
        /// The name of the rollout.
        rollout: String,
    },
    /// Nothing that `finish` could hand over.
    #[error("nothing to finish of \"{rollout}\": {why}")]
    NothingToFinish {
        /// The name of the rollout.
        rollout: String,
        /// What was found instead of all traffic in the canary's place.
        why: String,
    },
    /// Another owner holds the rollout.
    #[error("{url}: rollout \"{rollout}\" is driven by {owner}")]
    OtherOwner {
        /// The URL of Envoy's admin interface.
        url: String,
        /// The name of the rollout.
        rollout: String,
        /// What the owner key says.
        owner: String,
    },
    /// The update was accepted, but the merged runtime shows another value.
    #[error("{url}: {key} was set to {written}, but the runtime shows {shown}")]
    Overridden {
        /// The URL of Envoy's admin interface.
        url: String,
        /// The runtime key in question.
        key: String,
        /// The value that was written.
        written: String,
        /// What is in force instead.
        shown: String,
    },
    /// The weight is set, and a fail-safe keeps it from coming into force.
    #[error("{url}: the weight is set but not in force: the guard has tripped in this epoch")]
    GuardTripped {
        /// The URL of Envoy's admin interface.
        url: String,
        /// The name of the rollout.
        rollout: String,
    },
    /// The weight is set, but the filter doesn't follow it.
    #[error("{url}: the weight is set but not in force after {seconds} s: {why}")]
    NotInForce {
        /// The URL of Envoy's admin interface.
        url: String,
        /// How long was waited, in seconds.
        seconds: f64,
        /// What the filter's statistics say about it.
        why: String,
    },
    /// A journal can't be used.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// A journal holds an unfinished rollout that this file did not begin.
    #[error("{journal}: {why}")]
    OtherFile {
        /// The path of the journal.
        journal: String,
        /// How the files differ.
        why: String,
        /// The name of the rollout.
        rollout: String,
        /// The Envoys that the file names.
        envoys: Vec<String>,
    },
    /// The controller can't listen on its address.
    #[error("can't listen on {address}: {cause}")]
    Listen {
        /// The address to listen on.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// No controller answers at this URL.
    #[error("no controller at {url}: {cause}")]
    NoController {
        /// Where it was looked for.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// The controller runs another rollout.
    #[error("{url}: {cause}")]
    NotHere {
        /// The URL of the controller.
        url: String,
        /// Its answer, in its own words.
        cause: String,
    },
    /// The controller refused a command, or the request.
    #[error("{url}: {cause}")]
    RefusedByController {
        /// The URL of the controller.
        url: String,
        /// Its answer, in its own words.
        cause: String,
    },
    /// The controller did not answer in time, or the rollout did not end in time.
    #[error("{what}")]
    Late {
        /// What was waited for.
        what: String,
    },
    /// The controller was asked to stop.
    #[error("stopped before the end: {0}")]
    Stopped(LeftBehind),
    /// The rollout was rolled back.
    #[error("rollout \"{rollout}\" is Degraded{}", after_colon(.reason))]
    Degraded {
        /// The name of the rollout.
        rollout: String,
        /// Why it was rolled back; empty if it was said already.
        reason: String,
    },
    /// The result could not be written.
    #[error("can't write the result: {0}")]
    Output(io::Error),
    /// An error of the operating system.
    #[error("{0}")]
    System(io::Error),
}

/// What a controller leaves in the Envoys when it is stopped before the rollout's end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LeftBehind {
    /// No weight was changed.
    Nothing,
    /// A weight that a lease ends.
    Leased {
        /// The weight, in percent.
        percent: f64,
        /// The lease, in seconds.
        lease_seconds: u32,
    },
    /// A weight that stays: stable is being replaced, and no lease returns traffic to it.
    Unleased {
        /// The weight, in percent.
        percent: f64,
    },
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no weight was changed"),
            Self::Unleased { percent } => write!(
                f,
                "the weight stays at {percent} % without a lease, because stable is being replaced; \
                 `canaryctl run` with the same file continues"
            ),
            Self::Leased { percent, lease_seconds } => {
                let lease = duration::format(Duration::from_secs((*lease_seconds).into()));
                write!(
                    f,
                    "the weight stays at {percent} %; unless `canaryctl run` continues the \
                     rollout, the lease returns all traffic to stable within {lease}"
                )
            }
        }
    }
}

impl Error {
    /// The same failure for somebody else who waited for the same answer of an Envoy.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Unreachable { url, cause } => {
                Self::Unreachable { url: url.clone(), cause: cause.clone() }
            }
            Self::NoAnswer { url, request, seconds } => {
                let (url, request) = (url.clone(), request.clone());
                Self::NoAnswer { url, request, seconds: *seconds }
            }
            Self::UnexpectedResponse { url, mismatch } => {
                Self::UnexpectedResponse { url: url.clone(), mismatch: mismatch.clone() }
            }
            other => Self::Usage { what: other.to_string() },
        }
    }

    /// What this failure means for the exit code where it stands alone.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. }
            | Self::NoEnvoy
            | Self::UnknownRollout { .. }
            | Self::OtherFile { .. }
            | Self::NeedsServe { .. }
            | Self::NotHere { .. } => Exit::Usage,
            Self::Journal(JournalError::Locked { .. }) => Exit::Failed,
            Self::Journal(_) | Self::Listen { .. } | Self::NoController { .. } => Exit::Unavailable,
            Self::Unreachable { .. }
            | Self::UnexpectedResponse { .. }
            | Self::NoAdminLayer { .. }
            | Self::Refused { .. } => Exit::Unavailable,
            Self::NoAnswer { .. } | Self::NotInForce { .. } | Self::Late { .. } => Exit::TimedOut,
            Self::OtherOwner { .. }
            | Self::SameVersion { .. }
            | Self::NothingToFinish { .. }
            | Self::RefusedByController { .. }
            | Self::Stopped(_)
            | Self::Degraded { .. }
            | Self::Overridden { .. }
            | Self::GuardTripped { .. }
            | Self::Output(_)
            | Self::System(_) => Exit::Failed,
        }
    }
}

/// How a command failed: the exit code and all errors that led to it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code of the process.
    pub exit: Exit,
    /// The errors, in order.
    pub errors: Vec<Error>,
    /// Whether a change was refused as a whole: no Envoy was touched.
    pub untouched: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { exit: error.exit(), errors: vec![error], untouched: false }
    }
}

impl Failure {
    /// The failure of some of `total` Envoys; `None` where none failed. All failing alike keep
    /// their common exit code; everything else is a partial failure.
    pub fn of_some(errors: Vec<Error>, total: usize) -> Option<Self> {
        let first = errors.first()?.exit();
        let alike = errors.len() >= total && errors.iter().all(|error| error.exit() == first);
        let exit = if alike { first } else { Exit::Failed };
        Some(Self { exit, errors, untouched: false })
    }

    /// A change that was refused before anything was done, for the reason of its first error.
    pub fn refused(errors: Vec<Error>) -> Self {
        let exit = errors.first().map_or(Exit::Failed, Error::exit);
        Self { exit, errors, untouched: true }
    }

    /// All errors as one sentence.
    pub fn sentence(&self) -> String {
        self.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Whether this says how a rollout ended, rather than that something went wrong.
    pub fn is_degraded(&self) -> bool {
        self.errors.iter().all(|error| matches!(error, Error::Degraded { .. }))
    }

    /// Whether the only trouble is that nobody reads the result any more (`canaryctl … | head -1`).
    pub fn nobody_reads(&self) -> bool {
        let broken = |error: &Error| matches!(error, Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        self.errors.iter().all(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Error {
        Error::Unreachable { url: "http://a:1".to_owned(), cause: "refused".to_owned() }
    }

    #[test]
    fn several_failures_make_one_exit_code() {
        let code =
            |errors, total| Failure::of_some(errors, total).map(|failure| failure.exit.code());
        assert_eq!(code(vec![], 2), None);
        assert_eq!(code(vec![unreachable()], 1), Some(4));
        assert_eq!(code(vec![unreachable(), unreachable()], 2), Some(4));
        assert_eq!(code(vec![unreachable()], 2), Some(1));
        assert_eq!(code(vec![unreachable(), Error::NoEnvoy], 2), Some(1));
    }
}
