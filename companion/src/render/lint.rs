//! `lint`: findings as text and as JSON.

use serde::Serialize;

use crate::lint::{CheckedFile, Content, Finding, Level};

/// The JSON of `lint`: every finding, and what each file is.
#[derive(Serialize)]
pub(crate) struct LintJson<'c> {
    ok: bool,
    findings: Vec<&'c Finding>,
    files: &'c [CheckedFile],
}

/// The JSON of `lint`: every finding, and what each file is.
pub(crate) fn lint_json(checked: &[CheckedFile]) -> LintJson<'_> {
    let findings = checked.iter().flat_map(|file| &file.findings).collect();
    LintJson { ok: checked.iter().all(|file| file.errors() == 0), findings, files: checked }
}

/// `FILE:LINE: PATH: message` for each finding, and a line for each file that is accepted.
pub(crate) fn lint_text(checked: &[CheckedFile]) -> String {
    let mut text = String::new();
    for file in checked {
        for Finding { file, level, line, path, message } in &file.findings {
            let level = if *level == Level::Warning { "warning: " } else { "" };
            let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
            text += &format!("{file}:{line}: {level}{path}{message}\n");
        }
        if let Some(content) = &file.content {
            text += &format!("{}: ok{}\n", file.file, described(content));
        }
    }
    text
}

fn described(content: &Content) -> String {
    match content {
        Content::Filter { .. } => String::new(),
        Content::Envoy { rollouts, routes } => {
            let rollouts = match rollouts.as_slice() {
                [] => "no rollouts".to_owned(),
                names => format!("rollouts: {}", names.join(", ")),
            };
            format!(
                "; Envoy's, of which only the filter and the routes were read: {rollouts}; routes: {routes}"
            )
        }
        Content::Rollout { can_abort, manual: false } => {
            format!("; can abort: {}", can_abort.join(", "))
        }
        Content::Rollout { can_abort, manual: true } if can_abort.is_empty() => {
            "; manual: no metric can abort this rollout, only the guard and an operator".to_owned()
        }
        Content::Rollout { can_abort, manual: true } => {
            format!("; manual is set; can abort: {}", can_abort.join(", "))
        }
    }
}
