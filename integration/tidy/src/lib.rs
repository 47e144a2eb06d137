//! Holds the workspace to its house rules. Each check returns its findings, one line each; the tests
//! in `tests/tidy.rs` assert that there are none.
//!
//! Like the `tidy` test of TigerBeetle, it reads the sources as text and syntax; it builds nothing.

pub mod dependencies;
pub mod documents;
pub mod imports;
pub mod names;
pub mod sizes;
pub mod source;
