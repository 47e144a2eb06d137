//! `check-istio FILE…`: holds manifests against the CustomResourceDefinitions in `$ISTIO_CRDS`.

use std::fs;
use std::process::ExitCode;

use canary_integration::crds::{Checked, Crds, documents};
use serde_json::Value;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("check-istio: {problem}");
            ExitCode::from(2)
        }
    }
}

/// Whether all of Istio's own resources in the files are right.
fn run() -> Result<bool, String> {
    let read = |file: &str| fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let definitions = std::env::var("ISTIO_CRDS")
        .map_err(|_| "ISTIO_CRDS must name Istio's file of CustomResourceDefinitions")?;
    let crds =
        Crds::read(&read(&definitions)?).map_err(|error| format!("{definitions}: {error}"))?;
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        return Err("which manifests?".to_owned());
    }
    let mut right = true;
    for file in &files {
        for manifest in documents(&read(file)?).map_err(|error| format!("{file}: {error}"))? {
            right &= told(file, &manifest, crds.check(&manifest));
        }
    }
    Ok(right)
}

/// Says what came of one manifest; whether that is right.
fn told(file: &str, manifest: &Value, checked: Checked) -> bool {
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    let (api, kind) = (text("/apiVersion"), text("/kind"));
    let name = format!("{file}: {kind} {}", text("/metadata/name"));
    match checked {
        Checked::Against(faults) if faults.is_empty() => println!("{name}: ok"),
        Checked::Against(faults) => {
            faults.iter().for_each(|fault| println!("{name}: {fault}"));
            return false;
        }
        Checked::Unknown if api.contains("istio.io/") => {
            println!("{name}: no definition of {api} {kind}");
            return false;
        }
        Checked::Unknown => println!("{name}: not Istio's, not checked"),
    }
    true
}
