//! Tables without lines.

use comfy_table::{CellAlignment, ContentArrangement, presets};

/// What stands where nothing is known.
pub(super) const UNKNOWN: &str = "-";

/// A table without lines, its first column to the left and the others to the right.
pub(super) struct Table(comfy_table::Table);

impl Table {
    pub(super) fn new<'c>(header: impl IntoIterator<Item = &'c str>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let mut table = Self(table);
        table.row(header);
        table
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.0.add_row(cells.into_iter().map(|cell| comfy_table::Cell::new(cell.into())));
    }

    pub(super) fn render(mut self, left_columns: usize) -> String {
        for (index, column) in self.0.column_iter_mut().enumerate() {
            let left = index < left_columns;
            column.set_cell_alignment(if left {
                CellAlignment::Left
            } else {
                CellAlignment::Right
            });
            column.set_padding((if index == 0 { 2 } else { 0 }, 3));
        }
        self.0.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}
