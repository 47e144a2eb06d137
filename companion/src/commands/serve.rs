//! `serve PATH…`: one controller for the rollouts of many files.

use std::time::{Duration, SystemTime};

use canary_rollout::action::Notification;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use tokio::task::LocalSet;

use super::Context;
use super::service::{Interface, print_event, until_signal};
use crate::cli::ServeArgs;
use crate::controller::channels::Reporter;
use crate::controller::status::Status;
use crate::error::{Error, Failure};
use crate::journal::{self, timestamp};
use crate::observe::{Observer, SCRAPE_WITHIN};
use crate::render::{self, Output, messages};
use crate::serve::managed::Surroundings;
use crate::serve::supervisor::Supervisor;

/// Serves until a signal stops it.
pub(crate) async fn run(context: &Context, args: &ServeArgs) -> Result<(), Failure> {
    let folder = args.state.clone().or_else(journal::default_folder).ok_or_else(|| {
        let what = "neither XDG_STATE_HOME nor HOME is set; say with --state where the journals \
                    should be";
        Error::Usage { what: what.to_owned() }
    })?;
    let interface = Interface::open(context, &args.listen, true).await?;
    let stop = until_signal()?;
    let deadline = context.deadline.min(SCRAPE_WITHIN);
    let surroundings = Surroundings {
        observer: Observer::new(args.tick, deadline),
        targets: context.targets().unwrap_or_default().to_vec(),
        targets_win: context.envoys_given,
        deadline,
        folder,
        public_url: args.public_url.as_ref().map(ToString::to_string),
    };
    render::message(&format!(
        "interface: http://{}   journals: {}",
        interface.address,
        surroundings.folder.display()
    ));
    let (board, paths) = (interface.board.clone(), args.paths.clone());
    let reporter = ServeLog { output: context.output };
    let supervisor = Supervisor::new(surroundings, paths, board, reporter, stop.clone());
    let served = interface.serve();
    LocalSet::new().run_until(supervisor.run()).await;
    served.close().await;
    render::message(
        "stopped; unless `canaryctl serve` goes on, leases return the traffic of unfinished rollouts to \
         stable",
    );
    Ok(())
}

/// The log of all rollouts: a line, or a JSON document, per event.
#[derive(Clone, Debug)]
struct ServeLog {
    output: Output,
}

impl Reporter for ServeLog {
    fn describe(&self, event: &RolloutEvent, spec: &Spec) -> String {
        messages::event(event, spec)
    }

    fn happened(
        &mut self,
        events: &[RolloutEvent],
        spec: &Spec,
        status: &Status,
    ) -> Result<(), Error> {
        let at = timestamp(SystemTime::now());
        for event in events {
            // A log that nobody reads any more must not end a rollout.
            let _ = print_event(&self.output, &at, event, &messages::event(event, spec), status);
        }
        Ok(())
    }

    fn looked(&mut self, _: &Status) -> Result<(), Error> {
        Ok(())
    }

    fn shows_reason(&self) -> bool {
        true
    }

    fn undelivered(&mut self, notice: &Notification, spec: &Spec, within: Duration) {
        let text = messages::undelivered(notice, spec, within);
        self.remark(&format!("{}: {text}", spec.rollout));
    }

    fn inform(&mut self, text: &str) {
        render::message(text);
    }

    fn remark(&mut self, text: &str) {
        render::remark(text);
    }
}
