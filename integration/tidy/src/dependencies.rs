//! What the workspace depends on: its own layers, and the licenses and sources of everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde::Deserialize;

/// Which workspace crates a workspace crate may depend on, directly or not; a crate that is missing here may depend on
/// all.
const LAYERS: &[(&str, &[&str])] = &[
    ("canary-model", &[]),
    ("canary-dataplane", &["canary-model"]),
    ("canary-judge", &["canary-model"]),
    ("canary-rollout", &["canary-judge", "canary-model"]),
    ("canary-filter", &["canary-dataplane", "canary-model"]),
    ("canaryctl", &["canary-dataplane", "canary-judge", "canary-model", "canary-rollout"]),
];

/// The parts of deny.toml that this holds the dependencies to; `cargo deny` reads the rest.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    unknown_registry: String,
    unknown_git: String,
}

/// What cargo knows of the workspace and its dependencies.
///
/// # Errors
/// cargo's own message.
pub fn metadata(root: &Path) -> Result<Metadata, String> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root.join("Cargo.toml")).other_options(["--locked".to_owned()]);
    command.exec().map_err(|error| format!("cargo metadata: {error}"))
}

/// Dependencies of workspace crates on layers that they must not know. Development dependencies don't count.
pub fn wrong_layers(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for (name, allowed) in LAYERS {
        let Some(package) =
            metadata.workspace_packages().into_iter().find(|package| package.name == *name)
        else {
            found.push(format!("the workspace has no crate {name}"));
            continue;
        };
        let needed = needed_by(metadata, &package.id);
        let workspace =
            metadata.workspace_packages().into_iter().filter(|other| needed.contains(&other.id));
        let wrong = workspace
            .filter(|other| other.id != package.id && !allowed.contains(&other.name.as_str()));
        found.extend(wrong.map(|other| format!("{name} must not depend on {}", other.name)));
    }
    found
}

fn needed_by(metadata: &Metadata, package: &PackageId) -> BTreeSet<PackageId> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let edges: BTreeMap<&PackageId, Vec<&PackageId>> = nodes
        .map(|node| {
            let normal = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            (&node.id, normal.map(|dep| &dep.pkg).collect())
        })
        .collect();
    let mut needed = BTreeSet::new();
    let mut open = vec![package];
    while let Some(package) = open.pop() {
        if needed.insert(package.clone()) {
            open.extend(edges.get(package).into_iter().flatten());
        }
    }
    needed
}

/// Dependencies whose license or source deny.toml doesn't allow.
///
/// # Errors
/// A message if deny.toml can't be read.
pub fn not_allowed(root: &Path, metadata: &Metadata) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(root.join("deny.toml"))
        .map_err(|error| format!("reading deny.toml: {error}"))?;
    let deny: Deny = toml::from_str(&text).map_err(|error| format!("deny.toml: {error}"))?;
    if [&deny.sources.unknown_registry, &deny.sources.unknown_git]
        .iter()
        .any(|rule| *rule != "deny")
    {
        return Err("deny.toml: unknown registries and git sources must be denied".to_owned());
    }
    let allowed: BTreeSet<&str> = deny.licenses.allow.iter().map(String::as_str).collect();
    Ok(metadata.packages.iter().filter_map(|package| complaint(package, &allowed)).collect())
}

fn complaint(package: &Package, allowed: &BTreeSet<&str>) -> Option<String> {
    let name = format!("{} {}", package.name, package.version);
    if package.source.as_ref().is_some_and(|source| !source.is_crates_io()) {
        return Some(format!("{name} does not come from crates.io"));
    }
    let Some(license) = &package.license else {
        return Some(format!("{name} states no license"));
    };
    let parsed = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX);
    let fits = parsed.is_ok_and(|expression| {
        expression.evaluate(|requirement| {
            requirement.license.id().is_some_and(|id| allowed.contains(id.name))
        })
    });
    (!fits).then(|| format!("{name} has the license {license}, which deny.toml does not allow"))
}
