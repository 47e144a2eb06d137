//! `render`: the manifests for where a rollout shall run.

use std::path::Path;

use canary_model::document::ConfigError;
use serde_json::{Value, json};

use crate::cli::{ControllerPlace, ExtensionKind, RenderIstio, Service};
use crate::error::{Error, Failure};
use crate::istio::{self, Asked, Extension, Images, Istio, RenderError, Section, Where};
use crate::render::Output;
use crate::rollout_file;
use crate::yaml::{self, Document};

/// `render istio -f FILE`.
pub(super) fn istio(output: &Output, args: &RenderIstio) -> Result<(), Failure> {
    let source = rollout_file::text(&args.file)?;
    let rollout = rollout_file::parse(&source, &args.file.display().to_string())?.rollout;
    let read = match &args.filter {
        Some(file) => given(file, &rollout, source, args)?,
        None => least(&rollout, source, args)?,
    };
    let sections = read.sections();
    let items = || sections.iter().flat_map(|section| &section.documents).collect::<Vec<_>>();
    let list = || json!({"apiVersion": "v1", "kind": "List", "items": items()});
    let manifests = manifests(&sections)?;
    Ok(output.print(list, |_| manifests)?)
}

/// By the configuration in a file, whose faults are told with their lines.
fn given(file: &Path, rollout: &str, source: String, args: &RenderIstio) -> Result<Istio, Failure> {
    let name = file.display();
    let usage = |what: String| Error::Usage { what };
    let filter = rollout_file::text(file)?;
    let document = Document::read(&filter).map_err(|error| usage(format!("{name}: {error}")))?;
    let asked = asked(&document.value, rollout, args);
    istio::read(rollout, source, document.value.clone(), asked).map_err(|faulty| match faulty {
        RenderError::Arguments(what) => usage(what).into(),
        RenderError::Filter(problems) => {
            let place = |problem: &ConfigError| {
                usage(format!("{name}:{}: {problem}", document.line(&problem.path)))
            };
            Failure::refused(problems.iter().map(place).collect())
        }
    })
}

/// By the least configuration, made of the arguments.
fn least(rollout: &str, source: String, args: &RenderIstio) -> Result<Istio, Failure> {
    let default = || Service { name: format!("{rollout}.default"), port: 8080 };
    let Service { name, port } = args.service.clone().unwrap_or_else(default);
    let host = format!("{name}.svc.cluster.local");
    let filter = istio::filter_of(rollout, &host, port, [&args.stable, &args.canary]);
    let asked = asked(&filter, rollout, args);
    let usage = |what: String| Error::Usage { what };
    istio::read(rollout, source, filter, asked).map_err(|faulty| match faulty {
        RenderError::Arguments(what) => usage(what).into(),
        RenderError::Filter(problems) => {
            let told = |problem: &ConfigError| {
                usage(format!("--service, --stable and --canary make no configuration: {problem}"))
            };
            Failure::refused(problems.iter().map(told).collect())
        }
    })
}

fn asked(filter: &Value, rollout: &str, args: &RenderIstio) -> Asked {
    let image = |given: &Option<String>, role: &str| {
        given.clone().unwrap_or_else(|| example_image(filter, rollout, role))
    };
    Asked {
        gateway: args.gateway.clone(),
        selector: args.selector.clone(),
        images: Images {
            wasm: args.wasm.clone(),
            sha256: args.wasm_sha256.clone(),
            canaryctl: args.canaryctl_image.clone(),
            stable: image(&args.stable_image, "stable"),
            canary: image(&args.canary_image, "canary"),
        },
        extension: match args.extension {
            ExtensionKind::WasmPlugin => Extension::WasmPlugin,
            ExtensionKind::TrafficExtension => Extension::TrafficExtension,
        },
        controller: match args.run_in {
            ControllerPlace::Pods => Where::Pods,
            ControllerPlace::Sidecar => Where::Sidecar,
        },
    }
}

/// An image that stands for the right one, called after the service and the version.
fn example_image(filter: &Value, rollout: &str, role: &str) -> String {
    let rollouts = filter.get("rollouts").and_then(Value::as_array);
    let named = |one: &&Value| one.get("name").and_then(Value::as_str) == Some(rollout);
    let backend = rollouts.and_then(|list| list.iter().find(named)).and_then(|one| one.get(role));
    let text = |field: &str| backend.and_then(|backend| backend.get(field)).and_then(Value::as_str);
    let host = text("cluster").and_then(|cluster| cluster.rsplit('|').next()).unwrap_or(rollout);
    let service = host.split('.').next().unwrap_or(rollout);
    format!("registry.example.com/{service}:{}", text("version").unwrap_or("latest"))
}

/// All of it as YAML, each section under what it is for.
fn manifests(sections: &[Section]) -> Result<String, Error> {
    let mut text = String::new();
    for section in sections {
        text.push_str("---\n");
        section.about.iter().for_each(|line| text.push_str(&format!("# {line}\n")));
        for (at, document) in section.documents.iter().enumerate() {
            if at > 0 {
                text.push_str("---\n");
            }
            text.push_str(&yaml::write(document)?);
        }
    }
    Ok(text)
}
