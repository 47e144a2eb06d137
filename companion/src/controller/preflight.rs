//! What the fleet and the journal must be like before a rollout begins. Nothing is changed.

use canary_judge::counts::Pair;

use super::record::{JournalRecord, Start};
use crate::envoy::{Admin, EnvoyReply, Fleet};
use crate::error::{Error, Failure};
use crate::journal::{self, Journal};
use crate::observe::scrape::scrape;
use crate::observe::{FleetView, Scrapes};
use crate::rollout_file::{self, without_secrets};

/// Checks that some Envoy answers, that those that do have the rollout, and that nobody else drives it.
/// `ended` is an owner whose controller has ended. Gives the versions' labels.
///
/// # Errors
/// What is not as it must be, for each Envoy.
pub async fn check(
    fleet: &Fleet,
    rollout: &str,
    takeover: bool,
    ended: Option<&str>,
) -> Result<Pair<Option<String>>, Failure> {
    let reports = fleet.each(async |admin: &Admin| scrape(admin, rollout).await).await;
    let (mut observed, mut errors) = (Scrapes::new(), Vec::new());
    for EnvoyReply { url, result } in reports {
        match result {
            Ok(answer) => drop(observed.insert(url, answer)),
            Err(error) => errors.push(error),
        }
    }
    let unknown = |error: &Error| matches!(error, Error::UnknownRollout { .. });
    if observed.is_empty() || errors.iter().any(unknown) {
        let (unknown, others): (Vec<_>, Vec<_>) = errors.into_iter().partition(unknown);
        return Err(Failure::refused(if unknown.is_empty() { others } else { unknown }));
    }
    let owned = observed.iter().filter_map(|(url, one)| {
        let (url, rollout) = (url.clone(), rollout.to_owned());
        let owner = one.runtime.owner.value().filter(|owner| ended != Some(owner))?.clone();
        Some(Error::OtherOwner { url, rollout, owner })
    });
    let owned: Vec<Error> = owned.filter(|_| !takeover).collect();
    if !owned.is_empty() {
        return Err(Failure::refused(owned));
    }
    let view = FleetView::new(rollout, &observed, None);
    Ok(Pair { stable: view.stable.version, canary: view.canary.version })
}

/// As whom the controller wrote that began the rollout at a position of a journal.
///
/// # Errors
/// Where the journal can't be read.
pub fn owner(journal: &Journal, begin: u64) -> Result<Option<String>, Error> {
    Ok(start(journal, begin)?.map(|start| start.owner))
}

/// How the rollout at a position of a journal began; `None` if no rollout begins there.
///
/// # Errors
/// Where the journal can't be read.
pub fn start(journal: &Journal, begin: u64) -> Result<Option<Start>, Error> {
    let first = journal::records::<JournalRecord>(journal.path(), begin)?.next().transpose()?;
    Ok(match first {
        Some(JournalRecord::Start(start)) => Some(start),
        _ => None,
    })
}

/// Whether the finished rollout of a journal was this one: the same plan for the same versions. A
/// controller with --stay may be restarted by a supervisor, and must not take a version that has all traffic
/// back to the first step for that.
///
/// # Errors
/// Where the journal can't be read.
pub fn is_decided(
    journal: &Journal,
    begin: u64,
    source: &str,
    versions: &Pair<Option<String>>,
) -> Result<bool, Error> {
    let Some(start) = start(journal, begin)? else { return Ok(false) };
    // Journals hold files without their secrets, so files are compared without them.
    let spec = |file: &str| rollout_file::recorded(&without_secrets(file));
    let same = spec(&start.file).is_some_and(|then| spec(source) == Some(then));
    // After the handover, stable has the canary's version.
    let stable = &versions.stable;
    let stable = *stable == start.versions.stable || *stable == start.versions.canary;
    Ok(same && stable && start.versions.canary == versions.canary)
}
