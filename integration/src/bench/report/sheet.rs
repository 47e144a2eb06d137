//! A table with columns of its own, for benchmarks whose figures are more than a median and its spread.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// One table of a report.
#[derive(Clone, Debug)]
pub struct Sheet {
    title: &'static str,
    about: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

/// A line of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name of what was measured.
    pub name: String,
    /// The text under each column after the name.
    pub cells: Vec<String>,
    /// Whether the targets were met; `None` where there is none.
    pub met: Option<bool>,
    /// The same figures for programs: an object.
    pub figures: Value,
}

impl Sheet {
    /// A table without rows; `about` appears below the title; `columns` are those between the name and
    /// "met".
    #[must_use]
    pub fn new(title: &'static str, about: &'static str, columns: &[&'static str]) -> Self {
        Self { title, about, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// Where it has another number of cells than the table has columns.
    pub fn row(&mut self, row: Row) {
        assert_eq!(row.cells.len(), self.columns.len(), "{}", row.name);
        self.rows.push(row);
    }

    pub(super) fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }

    pub(super) fn to_json(&self) -> impl Iterator<Item = Value> {
        self.rows.iter().map(|row| {
            let mut cell = json!({"sheet": self.title, "name": row.name, "met": row.met});
            for (name, figure) in row.figures.as_object().into_iter().flatten() {
                cell[name] = figure.clone();
            }
            cell
        })
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let header = [""].into_iter().chain(self.columns.iter().copied()).chain([""]);
        table.set_header(header);
        for row in &self.rows {
            let met = match row.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let cells = row.cells.iter().map(String::as_str);
            table.add_row([row.name.as_str()].into_iter().chain(cells).chain([met]));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{}\n{}\n{table}", self.title, self.about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_json_and_verdict() {
        let mut sheet = Sheet::new("Speeds", "of a person", &["km/h"]);
        let row = |name: &str, met| Row {
            name: name.to_owned(),
            cells: vec!["7".to_owned()],
            met,
            figures: json!({"speed": 7}),
        };
        sheet.row(row("walking", Some(true)));
        sheet.row(row("standing", None));
        assert!(sheet.all_met());
        sheet.row(row("flying", Some(false)));
        assert!(!sheet.all_met());
        let text = sheet.to_string();
        assert!(
            text.starts_with("Speeds\nof a person\n")
                && text.contains("km/h")
                && text.contains("MISSED")
        );
        let cell = json!({"sheet": "Speeds", "name": "flying", "met": false, "speed": 7});
        assert_eq!(sheet.to_json().last(), Some(cell));
    }
}
