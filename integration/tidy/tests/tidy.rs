//! The house rules, as tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use canary_tidy::{dependencies, documents, imports, names, sizes, source};

fn rust() -> Vec<source::RustFile> {
    source::rust(&source::root()).unwrap()
}

#[track_caller]
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn no_file_is_over_400_lines() {
    none(sizes::long_files(&rust()));
}

#[test]
fn no_function_is_over_70_lines() {
    none(sizes::long_functions(&rust()));
}

#[test]
fn no_docstring_is_three_words_or_fewer() {
    none(sizes::short_docstrings(&rust()));
}

#[test]
fn no_modules_import_each_other_in_a_cycle() {
    none(imports::cycles(&rust()));
}

#[test]
fn each_type_name_has_one_meaning() {
    none(names::duplicate_types(&rust()));
}

#[test]
fn no_retired_name_comes_back() {
    none(names::retired_names(&rust()));
}

#[test]
fn every_path_in_a_document_exists() {
    none(documents::dead_paths(&source::root()).unwrap());
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    none(documents::missing_tests(&source::root(), &rust()).unwrap());
}

#[test]
fn every_module_is_on_the_map() {
    none(documents::unmapped_modules(&source::root(), &rust()).unwrap());
}

#[test]
fn no_snapshot_waits_for_review() {
    none(documents::pending_snapshots(&source::root()).unwrap());
}

#[test]
fn crates_depend_only_on_layers_below_them() {
    none(dependencies::wrong_layers(&dependencies::metadata(&source::root()).unwrap()));
}

#[test]
fn every_dependency_has_an_allowed_license_and_source() {
    let root = source::root();
    none(dependencies::not_allowed(&root, &dependencies::metadata(&root).unwrap()).unwrap());
}
