//! What a benchmark found: cells with their medians and targets, as a table and as JSON.

mod sheet;

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

pub use sheet::{Row, Sheet};

/// What a cell's median must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BenchTarget {
    /// Met if the median is not above this.
    AtMost(f64),
    /// Met if the median is not below this.
    AtLeast(f64),
}

impl BenchTarget {
    fn limit(self) -> f64 {
        let (Self::AtMost(limit) | Self::AtLeast(limit)) = self;
        limit
    }
}

/// What was measured of one thing.
#[derive(Clone, Debug)]
struct Cell {
    name: String,
    unit: &'static str,
    /// The measured values, in ascending order.
    values: Vec<f64>,
    target: Option<BenchTarget>,
}

/// All that a benchmark has to say.
#[derive(Clone, Debug)]
pub struct BenchReport {
    bench: &'static str,
    machine: String,
    cells: Vec<Cell>,
    sheets: Vec<Sheet>,
    notes: Vec<String>,
}

impl BenchReport {
    /// A report without cells yet. `circumstances` are whatever a reader must know of the machine
    /// beside its name.
    #[must_use]
    pub fn new(bench: &'static str, circumstances: &str) -> Self {
        let machine = format!("{}{circumstances}", super::process::machine());
        Self { bench, machine, cells: Vec::new(), sheets: Vec::new(), notes: Vec::new() }
    }

    /// Adds what was measured of one thing; its median is held against the target.
    ///
    /// # Panics
    /// Where nothing was measured: a cell without a figure would pass for a good one.
    pub fn cell(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        mut values: Vec<f64>,
        target: Option<BenchTarget>,
    ) {
        let name = name.into();
        assert!(!values.is_empty() && values.iter().all(|value| value.is_finite()), "{name}");
        values.sort_by(f64::total_cmp);
        self.cells.push(Cell { name, unit, values, target });
    }

    /// Adds a table with columns of its own.
    pub fn sheet(&mut self, sheet: Sheet) {
        self.sheets.push(sheet);
    }

    /// Adds a line below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Whether every target was met.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.cells.iter().all(|cell| cell.met() != Some(false))
            && self.sheets.iter().all(Sheet::all_met)
    }

    /// The report as JSON for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let sheets = self.sheets.iter().flat_map(Sheet::to_json);
        let cells: Vec<Value> = self.cells.iter().map(Cell::to_json).chain(sheets).collect();
        json!({"bench": self.bench, "machine": self.machine, "cells": cells})
    }
}

impl Cell {
    fn met(&self) -> Option<bool> {
        let median = quantile(&self.values, 0.5);
        self.target.map(|target| match target {
            BenchTarget::AtMost(limit) => median <= limit,
            BenchTarget::AtLeast(limit) => median >= limit,
        })
    }

    fn to_json(&self) -> Value {
        let at = |share| quantile(&self.values, share);
        let target = self.target.map(BenchTarget::limit);
        json!({
            "name": self.name, "unit": self.unit, "median": at(0.5), "min": at(0.0), "max": at(1.0),
            "n": self.values.len(), "target": target, "met": self.met(),
        })
    }

    fn row(&self) -> [String; 7] {
        let at = |share| figure(quantile(&self.values, share));
        let target = match self.target {
            Some(BenchTarget::AtMost(limit)) => format!("≤ {}", figure(limit)),
            Some(BenchTarget::AtLeast(limit)) => format!("≥ {}", figure(limit)),
            None => String::new(),
        };
        let met = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let name = if self.unit.is_empty() {
            self.name.clone()
        } else {
            format!("{}, {}", self.name, self.unit)
        };
        let quartiles = format!("{} – {}", at(0.25), at(0.75));
        let range = format!("{} – {}", at(0.0), at(1.0));
        [name, at(0.5), quartiles, range, self.values.len().to_string(), target, met.to_owned()]
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.bench, self.machine)?;
        if !self.cells.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_header(["", "median", "quartiles", "range", "n", "target", ""]);
            table.add_rows(self.cells.iter().map(Cell::row));
            for column in table.column_iter_mut().skip(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            writeln!(f, "{table}")?;
        }
        self.sheets.iter().try_for_each(|sheet| write!(f, "\n{sheet}"))?;
        if !self.sheets.is_empty() {
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// The value below which this share of the sorted values lies, linear between neighbors
/// (Hyndman and Fan 1996, type 7).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// Four digits are enough for whoever compares.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BenchReport {
        let mut report = BenchReport::new("speed", ", at night");
        report.cell("ratio", "", vec![1.3, 1.0, 1.1], Some(BenchTarget::AtMost(1.1)));
        report.cell("rate", "1/s", vec![4.0, 2.0], Some(BenchTarget::AtLeast(3.0)));
        report.cell("alone", "ms", vec![7.0], None);
        report
    }

    #[test]
    fn the_median_decides() {
        assert!(report().all_met());
        for missed in [BenchTarget::AtMost(2.9), BenchTarget::AtLeast(3.1)] {
            let mut report = report();
            report.cell("missed", "", vec![3.0], Some(missed));
            assert!(!report.all_met(), "{missed:?}");
        }
    }

    #[test]
    fn json_as_promised() {
        let json = report().to_json();
        assert_eq!(json["bench"], "speed");
        assert!(json["machine"].as_str().unwrap().ends_with(", at night"));
        let ratio = json!({"name": "ratio", "unit": "", "median": 1.1, "min": 1.0, "max": 1.3,
            "n": 3, "target": 1.1, "met": true});
        assert_eq!(json["cells"][0], ratio);
        assert_eq!(json["cells"][1]["median"], 3.0);
        assert_eq!(
            (&json["cells"][2]["target"], &json["cells"][2]["met"]),
            (&Value::Null, &Value::Null)
        );
    }

    #[test]
    fn quantiles() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            [0.0, 0.25, 0.5, 1.0].map(|share| quantile(&values, share)),
            [1.0, 1.75, 2.5, 4.0]
        );
        assert_eq!(quantile(&[5.0], 0.75), 5.0);
    }

    #[test]
    fn the_table_says_what_was_missed() {
        let mut report = report();
        report.cell("missed", "ms", vec![3.0], Some(BenchTarget::AtMost(2.0)));
        report.note("seen at night");
        let text = report.to_string();
        assert!(text.contains("missed, ms") && text.contains("≤ 2") && text.contains("MISSED"));
        assert!(text.contains("1.100") && text.contains("≥ 3") && text.contains("seen at night"));
    }
}
