//! Each check finds a planted fault: a check that finds nothing proves nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use canary_tidy::source::RustFile;
use canary_tidy::{documents, imports, names, sizes};

fn file(path: &str, text: &str) -> RustFile {
    RustFile {
        path: path.to_owned(),
        text: text.to_owned(),
        syntax: syn::parse_file(text).unwrap(),
    }
}

#[test]
fn a_cycle_of_imports_through_a_third_module() {
    let cyclic = [
        file("core/model/src/one.rs", "use crate::two::Two; pub struct One(Two);"),
        file("core/model/src/two.rs", "pub struct Two(super::three::Three);"),
        file("core/model/src/three/part.rs", "use crate::one::One;"),
        file("core/model/src/three.rs", "mod part; pub struct Three;"),
    ];
    assert_eq!(imports::cycles(&cyclic).len(), 3);
    let tests_only = [
        file("core/model/src/one.rs", "use crate::two::Two;"),
        file("core/model/src/two.rs", "#[cfg(test)] mod tests { use crate::one::One; }"),
    ];
    assert_eq!(imports::cycles(&tests_only), Vec::<String>::new());
}

#[test]
fn a_type_name_with_two_meanings() {
    let sources = [
        file("core/model/src/one.rs", "pub struct Report; #[cfg(test)] struct Case;"),
        file("companion/src/two.rs", "enum Report {} struct Case;"),
    ];
    assert_eq!(
        names::duplicate_types(&sources),
        ["Report is defined in core/model/src/one.rs:1 and companion/src/two.rs:1"]
    );
}

#[test]
fn a_retired_name_of_a_type_a_function_or_a_field() {
    let text = "struct Seen { dear: bool }\nimpl Seen { fn hear(&self) {} }\nimpl Of for Seen { fn of() {} }";
    let found = names::retired_names(&[file("filter/src/one.rs", text)]);
    let named = |name: &str| found.iter().any(|finding| finding.contains(name));
    assert!(named("type `Seen`") && named("field `dear`") && named("function `hear`"), "{found:?}");
    assert!(!named("`of`"), "a trait names its methods: {found:?}");
}

#[test]
fn what_is_too_long_or_says_too_little() {
    let lines = |count| "    let _ = 1;\n".repeat(count);
    let long = file("filter/src/long.rs", &format!("fn long() {{\n{}}}\n", lines(399)));
    let tested = file(
        "filter/src/tested.rs",
        &format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(400)),
    );
    assert_eq!(
        sizes::long_files(&[long, tested]),
        ["filter/src/long.rs: 401 lines without tests, at most 400"]
    );
    let fits = file("filter/src/fits.rs", &format!("fn fits() {{\n{}}}\n", lines(68)));
    assert_eq!(sizes::long_functions(&[fits]), Vec::<String>::new());
    let over = file("filter/src/over.rs", &format!("impl T {{ fn over() {{\n{}}} }}\n", lines(69)));
    assert_eq!(
        sizes::long_functions(&[over]),
        ["filter/src/over.rs:1: over has 71 lines, at most 70"]
    );
    let docs = "/// Of what.\nstruct A;\n/// Long enough\n/// in two lines.\nstruct B;\n\
                #[derive(clap::Args)]\nstruct C {\n    /// A help text\n    c: u8,\n}\n";
    assert_eq!(
        sizes::short_docstrings(&[file("filter/src/docs.rs", docs)]),
        ["filter/src/docs.rs:1: the docstring \"Of what.\" says too little"]
    );
}

#[test]
fn a_dead_path_and_a_module_that_is_not_on_the_map() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("core/model/src")).unwrap();
    fs::write(root.path().join("core/model/src/weight.rs"), "").unwrap();
    let map = "See `core/model/src/weight.rs`, ./core/gone.rs and [a link](docs/NONE.md#part).\n";
    fs::write(root.path().join("ARCHITECTURE.md"), map).unwrap();
    assert_eq!(
        documents::dead_paths(root.path()).unwrap(),
        [
            "ARCHITECTURE.md:1: core/gone.rs does not exist",
            "ARCHITECTURE.md:1: docs/NONE.md does not exist"
        ]
    );
    let sources = [file("core/model/src/weight.rs", ""), file("core/model/src/role.rs", "")];
    assert_eq!(
        documents::unmapped_modules(root.path(), &sources).unwrap(),
        ["ARCHITECTURE.md does not name core/model/src/role"]
    );
}

#[test]
fn a_snapshot_that_waits_for_review() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("page.snap.new"), "").unwrap();
    assert_eq!(
        documents::pending_snapshots(root.path()).unwrap(),
        ["page.snap.new: review the snapshot, then rename or delete it"]
    );
}

#[test]
fn a_test_that_the_threat_model_names_and_nobody_wrote() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("docs")).unwrap();
    let named = "`signals::holds`, `signals::gone` and `other::holds`, but not `signals`\n";
    fs::write(root.path().join("docs/SECURITY.md"), named).unwrap();
    let sources = [file("integration/tests/envoy/signals.rs", "async fn holds() {}")];
    assert_eq!(
        documents::missing_tests(root.path(), &sources).unwrap(),
        [
            "docs/SECURITY.md: the test signals::gone does not exist",
            "docs/SECURITY.md: the test other::holds does not exist"
        ]
    );
}
