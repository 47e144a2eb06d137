//! The controller's page and the written report: HTML from typed data, by templates that escape everything
//! they are given. Pure.
//!
//! The page and the report of a rollout are the same view. The page gets its charts' data and its changes
//! from the controller; the report has the data, the script and the styles inside one file.

mod assets;
mod charts;
mod commands;
mod detail;
mod effects;
mod list;
mod metrics;
mod steps;
mod tone;

use askama::Template;

pub(crate) use assets::asset;
pub(crate) use charts::history_part;
pub(crate) use list::ListedRollout;

use self::assets::Inline;
use self::detail::{DetailPage, UnstartedPage};
use self::list::ListPage;
use crate::controller::status::Status;
use crate::report::RolloutReport;

/// What every page has: its title, and where its script and styles come from.
struct Shell {
    title: String,
    /// The heading; the rollout's name on its page.
    heading: String,
    /// Names this version of the assets in their paths.
    fingerprint: &'static str,
    /// Whether a controller keeps it up to date.
    live: bool,
    rollout: Option<String>,
    /// Script and styles of a page that stands alone.
    inline: Option<Inline>,
}

impl Shell {
    fn live(title: String, rollout: Option<&str>) -> Self {
        let heading = rollout.unwrap_or_default().to_owned();
        let rollout = rollout.map(str::to_owned);
        let fingerprint = assets::fingerprint();
        Self { title, heading, fingerprint, live: true, rollout, inline: None }
    }
}

/// Which commands the page offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steering {
    /// None: the controller only shows.
    ReadOnly,
    /// Those of a release that the controller runs once.
    OneRelease,
    /// Also those that start releases.
    Releases,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    shell: Shell,
    next: &'a str,
    wrong: bool,
}

/// The page that asks for the token. `next` is the path to go on with.
pub(crate) fn login(next: &str, wrong: bool) -> String {
    let mut shell = Shell::live("canaryctl: log in".to_owned(), None);
    shell.live = false;
    rendered(&LoginPage { shell, next, wrong })
}

/// The list of all rollouts.
pub(crate) fn list(rollouts: &[ListedRollout]) -> String {
    rendered(&ListPage::new(rollouts))
}

/// The page of one rollout as it is now.
pub(crate) fn rollout(status: &Status, report: &RolloutReport, steering: Steering) -> String {
    rendered(&DetailPage::live(status, report, steering))
}

/// The page of a rollout that has no release yet.
pub(crate) fn unstarted(status: &Status, steering: Steering) -> String {
    rendered(&UnstartedPage::new(status, steering))
}

/// One rollout as a file that stands alone.
pub(crate) fn report(report: &RolloutReport) -> String {
    rendered(&DetailPage::written(report))
}

/// The templates write into memory, which can't fail.
fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}
