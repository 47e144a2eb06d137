//! Showing a result again and again: over the last one on a terminal, below it elsewhere.

use serde::Serialize;

use super::{Output, Paint};
use crate::error::Error;

/// What stands on the screen from the last showing.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    lines: usize,
    /// Whether something else was written below it.
    left: bool,
}

impl Screen {
    /// Shows a result in place of the last one: drawn over it on a terminal; else a JSON document a
    /// line, or texts with an empty line between them.
    pub(crate) fn show<J: Serialize>(
        &mut self,
        output: &Output,
        json: impl FnOnce() -> J,
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Error> {
        let (redraws, before) = (output.redraws() && !self.left, self.lines);
        let mut lines = 0;
        output.print(json, |paint| {
            let text = text(paint);
            lines = text.lines().count();
            match before {
                0 => text,
                // Up to the first line of the last showing, and clear from there.
                _ if redraws => format!("\u{1b}[{before}F\u{1b}[J{text}"),
                _ => format!("\n{text}"),
            }
        })?;
        (self.lines, self.left) = (lines, false);
        Ok(())
    }

    /// Leaves the last showing as it stands: something else was written below it.
    pub(crate) fn leave(&mut self) {
        self.left = true;
    }
}
