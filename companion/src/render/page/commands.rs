//! The buttons: which commands make sense in a phase, and what each one does, in words. The controller
//! decides; what it refuses is shown in the dialog.

use canary_rollout::state::Phase;

use super::Steering;
use crate::controller::status::Status;

/// A button that opens the dialog of a command.
#[derive(Clone, Copy)]
pub(super) struct CommandButton {
    /// Names the button in the document.
    pub(super) id: &'static str,
    /// The command in the API's path.
    pub(super) verb: &'static str,
    pub(super) full: bool,
    /// The button's text, also of the dialog's button.
    pub(super) label: &'static str,
    /// What will happen when it is carried out, in a sentence.
    pub(super) effect: &'static str,
    /// Whether it takes the new version away from users, or skips checks.
    pub(super) danger: bool,
}

const PROMOTE: CommandButton = CommandButton {
    id: "promote",
    verb: "promote",
    full: false,
    label: "Promote",
    effect: "Ends this step's pause. The step's other conditions still have to hold.",
    danger: false,
};
const PROMOTE_FULL: CommandButton = CommandButton {
    id: "promote-full",
    verb: "promote",
    full: true,
    label: "Promote fully",
    effect: "Sends all traffic to the canary now, without waiting for any step or condition.",
    danger: true,
};
const PAUSE: CommandButton = CommandButton {
    id: "pause",
    verb: "pause",
    full: false,
    label: "Pause",
    effect: "Holds the rollout at its weight. It can still be rolled back.",
    danger: false,
};
const RESUME: CommandButton = CommandButton {
    id: "resume",
    verb: "resume",
    full: false,
    label: "Resume",
    effect: "Goes on after a pause.",
    danger: false,
};
const ABORT: CommandButton = CommandButton {
    id: "abort",
    verb: "abort",
    full: false,
    label: "Abort",
    effect: "Sends all traffic back to stable. While stable's place is being replaced, it sends all traffic to \
             the canary's place instead, and pauses.",
    danger: true,
};
const RETRY: CommandButton = CommandButton {
    id: "retry",
    verb: "retry",
    full: false,
    label: "Retry",
    effect: "Starts the rollout again with its first step.",
    danger: false,
};

const START: CommandButton = CommandButton {
    id: "start",
    verb: "start",
    full: false,
    label: "Start",
    effect: "Starts a release with the file's first step.",
    danger: false,
};

/// The commands of a rollout of which no release has begun.
pub(super) fn first_commands(steering: Steering) -> Vec<CommandButton> {
    if steering == Steering::Releases { vec![START] } else { Vec::new() }
}

const FINISH: CommandButton = CommandButton {
    id: "finish",
    verb: "finish",
    full: false,
    label: "Finish",
    effect: "Hands the traffic over to stable's place, which has to run the new version by now. The new stable \
             is judged on the way.",
    danger: false,
};

/// The commands that make sense now, most likely first.
pub(super) fn commands(status: &Status, steering: Steering) -> Vec<CommandButton> {
    if steering == Steering::ReadOnly {
        return Vec::new();
    }
    let start = first_commands(steering);
    let mut commands = in_phase(status, start);
    // A measurement is never promoted.
    commands.retain(|one| !(status.measures && one.full));
    commands
}

fn in_phase(status: &Status, start: Vec<CommandButton>) -> Vec<CommandButton> {
    // After the handover, all traffic is in stable's place and both places run the new version.
    let handed_over = status.weight.set == Some(0.0);
    match status.phase {
        Phase::Pending | Phase::Deploying | Phase::Promoting => vec![ABORT],
        Phase::Progressing => vec![PAUSE, PROMOTE, PROMOTE_FULL, ABORT],
        // A pause in the middle of the handover: no step has a weight of 100 %.
        Phase::Paused if status.weight.set == Some(100.0) => vec![FINISH, PROMOTE_FULL, ABORT],
        Phase::Paused => vec![PROMOTE, RESUME, PROMOTE_FULL, ABORT],
        Phase::Finalizing => vec![FINISH, PROMOTE_FULL, ABORT],
        Phase::Healthy if handed_over => start,
        Phase::Healthy => vec![FINISH, ABORT],
        Phase::Degraded => [vec![RETRY], start].concat(),
        // With `afterwards: keep`, the canary still has its weight.
        Phase::Measured if !handed_over => [vec![ABORT], start].concat(),
        Phase::Measured => start,
        Phase::Aborting => Vec::new(),
    }
}
