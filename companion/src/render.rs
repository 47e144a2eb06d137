//! Everything that users read, made from typed data: sentences ([`messages`]), tables, JSON, HTML and
//! charts. No module below this one knows any of it; only errors and their hints live elsewhere, in
//! [`crate::error`].

mod envoys;
mod figures;
mod history;
mod json;
mod lint;
mod measures;
pub(crate) mod messages;
mod output;
pub(crate) mod page;
mod plan;
mod screen;
mod status;
mod table;

pub(crate) use envoys::{aborted_text, held_text, list_text, rollout_text, set_text};
pub(crate) use history::{history_json, history_text};
pub(crate) use json::{aborted, controlled, list_line, report_json, rollout, served, set};
pub(crate) use lint::{lint_json, lint_text};
pub(crate) use output::{EnvoyState, Format, Output, Paint, clap_colors, message, remark, report};
pub(crate) use plan::{PlannedAge, plan_json, plan_text, replayed_json, replayed_text};
pub(crate) use screen::{Screen, rows};
pub(crate) use status::{controlled_text, progress, status_text, status_text_within, steered_text};
