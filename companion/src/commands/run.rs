//! `run FILE`: everything that must be right before the first decision, then the controller.

mod finish;
mod progress;

use std::path::PathBuf;
use std::sync::Arc;

use canary_judge::counts::Pair;
use canary_model::duration;
use canary_model::redact::redacted;
use canary_rollout::action::Action;
use canary_rollout::inputs::OperatorCommand;
use canary_rollout::spec::Spec;
use canary_rollout::versions::{ReleaseVersions, VersionSources};
use tokio::sync::{mpsc, oneshot, watch};

use self::progress::ProgressSink;
use super::Context;
use super::service::{GRACE_PERIOD, Interface, until_signal};
use crate::api::board::BoardEntry;
use crate::cli::RunArgs;
use crate::controller::channels::{Channels, ServiceMode};
use crate::controller::drive::{Controller, first_status};
use crate::controller::engine::Engine;
use crate::controller::orders::{CommandRequest, QUEUE, RolloutCommand};
use crate::controller::record::Start;
use crate::controller::{preflight, releases};
use crate::envoy::EnvoyUrl;
use crate::error::{Error, Failure};
use crate::identity;
use crate::journal::{self, Journal, JournalContents};
use crate::observe::{FleetScraper, Observer, deadline_for};
use crate::report::LiveReport;
use crate::{render, rollout_file};

/// Everything that a controller needs besides its engine.
struct Prepared {
    source: String,
    spec: Spec,
    interface: Interface,
    journal: Journal,
    found: JournalContents,
    scraper: FleetScraper,
}

/// Runs the rollout to its end.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<(), Failure> {
    let prepared = prepare(context, args).await?;
    let Prepared { source, spec, interface, journal, found, scraper } = prepared;
    let (engine, under_way) = engine(args, source, spec, journal, &found, &scraper).await?;
    serve(context, args, interface, engine, scraper, under_way, None).await
}

/// Does the handover of a release that ended with all traffic in the canary's place, or goes on with one.
pub(super) async fn finish(context: &Context, args: &RunArgs) -> Result<(), Failure> {
    let prepared = prepare(context, args).await?;
    let Prepared { source, spec, interface, journal, found, scraper } = prepared;
    let released = match found.unfinished.or(found.finished) {
        Some(begin) => finish::resume(spec, journal, begin)?,
        None => finish::begin(args, source, spec, journal, &scraper).await?,
    };
    let (engine, under_way) = released;
    let first = Some(OperatorCommand::Finish);
    serve(context, args, interface, engine, scraper, under_way, first).await
}

async fn prepare(context: &Context, args: &RunArgs) -> Result<Prepared, Failure> {
    let source = rollout_file::text(args.file())?;
    let spec = rollout_file::parse(&source, &args.file().display().to_string())?;
    if spec.registry.is_some() {
        return Err(Error::NeedsServe { rollout: spec.rollout }.into());
    }
    let targets = targets(context, &spec)?;
    let interface = Interface::open(context, &args.listen, false).await?;
    let path = journal_path(args, &spec)?;
    let (journal, found) = Journal::open(&path).map_err(Error::Journal)?;
    found.notes.iter().for_each(|note| render::remark(note));
    // A controller that is killed before its exit code is out has not ended by itself.
    journal::hold(journal.lock());
    let deadline = deadline_for(context.deadline, spec.lease_seconds);
    if deadline < context.deadline {
        let cap = duration::format(deadline);
        render::message(&format!(
            "requests to Envoys: at most {cap} each, because the Envoys are scraped every second and the \
             lease must be renewed in time"
        ));
    }
    let observer = Observer::new(args.tick, deadline);
    let scraper = FleetScraper::new(observer, targets, &spec.rollout, deadline).await;
    Ok(Prepared { source, spec, interface, journal, found, scraper })
}

/// Begins the rollout, or goes on with the one that the journal holds.
async fn engine(
    args: &RunArgs,
    source: String,
    spec: Spec,
    journal: Journal,
    found: &JournalContents,
    scraper: &FleetScraper,
) -> Result<(Engine, Vec<Action>), Failure> {
    if let Some(begin) = found.unfinished {
        render::remark(&format!(
            "continuing the unfinished rollout in {}",
            journal.path().display()
        ));
        return Ok(Engine::resume(spec, journal, begin)?);
    }
    // This process holds the journal's lock, so the controller that wrote it last has ended.
    let predecessor = found.finished.map(|begin| preflight::owner(&journal, begin)).transpose()?;
    let predecessor = predecessor.flatten();
    let dead = predecessor.as_deref();
    let shown = preflight::check(scraper.fleet(), &spec.rollout, args.takeover, dead).await?;
    let given = Pair { stable: args.stable_version.clone(), canary: args.canary_version.clone() };
    let file = spec.versions.clone();
    let release = VersionSources { given, released: None, file, shown }.choose();
    if let Some(begin) = found.finished.filter(|_| args.stay || found.killed)
        && preflight::is_decided(&journal, begin, &source, &release.versions)?
    {
        render::remark(if args.stay {
            "a rollout of this file and these versions has ended already; --stay shows its result. To run \
             it again, use another --journal, or omit --stay"
        } else {
            "a rollout of this file and these versions has ended already, and its controller was killed \
             before it reported the result; nothing is done again. The next `run` starts again"
        });
        return Ok(Engine::resume(spec, journal, begin)?);
    }
    if let Some(version) = release.same() {
        return Err(Error::SameVersion {
            rollout: spec.rollout.clone(),
            version: version.to_owned(),
        }
        .into());
    }
    let start = start(&spec, &source, args.takeover, predecessor, release)?;
    let engine = Engine::begin(spec, journal, start).map_err(Error::Journal)?;
    Ok((engine, Vec::new()))
}

/// How a rollout begins, by the record that its journal begins with.
fn start(
    spec: &Spec,
    source: &str,
    takeover: bool,
    predecessor: Option<String>,
    release: ReleaseVersions,
) -> Result<Start, Error> {
    let random = getrandom::u32().map_err(|error| Error::System(error.into()))?;
    let start = Start::new(&spec.rollout, source, identity::controller(random), release);
    Ok(Start { predecessor, takeover, ..start })
}

/// Serves the interface while the controller runs, and a moment longer. `first` is a command that it is given
/// at once.
async fn serve(
    context: &Context,
    args: &RunArgs,
    interface: Interface,
    mut engine: Engine,
    scraper: FleetScraper,
    under_way: Vec<Action>,
    first: Option<OperatorCommand>,
) -> Result<(), Failure> {
    let (sender, status) = watch::channel(Arc::new(first_status(&engine)));
    let (orders, queue) = mpsc::channel(QUEUE);
    if let Some(command) = first {
        // Whether it is obeyed shows in what the controller reports.
        let (reply, _) = oneshot::channel();
        let order = RolloutCommand::Steer(command);
        let _ = orders.send(CommandRequest { order, reason: None, reply }).await;
    }
    let report = Arc::new(LiveReport::default());
    report.follow(&mut engine);
    interface.board.put(
        &engine.spec().rollout,
        BoardEntry { status: status.clone(), orders: orders.clone(), report },
    );
    let reporter = ProgressSink::new(context.output, interface.address, &engine);
    let served = interface.serve();
    let channels = Channels {
        orders: queue,
        status: sender,
        stop: until_signal()?,
        notes: Arc::new(Vec::new),
        removed: watch::channel(false).1,
        // Nothing outside starts or follows the one release of `run`.
        desk: releases::link(orders, status).1,
    };
    let service = if args.stay { ServiceMode::Stays } else { ServiceMode::Alone };
    let controller = Controller::new(engine, scraper, channels, reporter, service);
    let mut controller = controller.in_folder(rollout_file::folder(args.file())?);
    let result = match controller.run(under_way).await {
        Ok(_) => controller.conclude(),
        Err(failure) => Err(failure),
    };
    let ended = result.as_ref().map_or_else(|failure| failure.is_degraded(), |()| true);
    if ended {
        tokio::time::sleep(GRACE_PERIOD).await;
    }
    served.close().await;
    result
}

/// The Envoys: of the command line, else of the file, else of the environment.
pub(super) fn targets(context: &Context, spec: &Spec) -> Result<Vec<EnvoyUrl>, Error> {
    if context.envoys_given || spec.envoys.is_empty() {
        return context.targets().map(<[EnvoyUrl]>::to_vec);
    }
    let read = |text: &String| {
        text.parse()
            .map_err(|why| Error::Usage { what: format!("envoys: {}: {why}", redacted(text)) })
    };
    spec.envoys.iter().map(read).collect()
}

fn journal_path(args: &RunArgs, spec: &Spec) -> Result<PathBuf, Error> {
    args.journal.clone().or_else(|| journal::default_path(&spec.rollout)).ok_or_else(|| {
        let what = "neither XDG_STATE_HOME nor HOME is set; say with --journal where the journal \
                    should be";
        Error::Usage { what: what.to_owned() }
    })
}
