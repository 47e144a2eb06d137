//! `render`: prints deployment manifests for Istio.

use std::path::Path;

use canary_model::document::ConfigError;
use serde_json::json;

use crate::cli::{ControllerPlace, ExtensionKind, RenderIstio, Service};
use crate::error::{Error, Failure};
use crate::istio::{
    self, ControllerLocation, Extension, Images, Istio, Options, RenderError, RolloutText, Section,
};
use crate::render::Output;
use crate::rollout_file;
use crate::yaml::{self, Document};

/// `render istio -f FILE…`.
pub(super) fn istio(output: &Output, args: &RenderIstio) -> Result<(), Failure> {
    let files = args.files.iter().map(|file| {
        let text = rollout_file::text(file)?;
        let rollout = rollout_file::parse(&text, &file.display().to_string())?.rollout;
        Ok(RolloutText { rollout, text })
    });
    let files = files.collect::<Result<Vec<_>, Failure>>()?;
    let istio = match (&args.filter, files.as_slice()) {
        (Some(filter), _) => with_filter(filter, files, args)?,
        (None, [only]) => {
            let rollout = only.rollout.clone();
            without_filter(&rollout, files, args)?
        }
        (None, _) => {
            let what = "several rollout files need --filter FILE: the filter's configuration says which \
                        requests belong to which rollout";
            return Err(Error::Usage { what: what.to_owned() }.into());
        }
    };
    let sections = istio.sections();
    let items = || sections.iter().flat_map(|section| &section.documents).collect::<Vec<_>>();
    let list = || json!({"apiVersion": "v1", "kind": "List", "items": items()});
    let manifests = manifests(&sections)?;
    Ok(output.print(list, |_| manifests)?)
}

/// With the configuration in a file, whose problems are reported with their lines.
fn with_filter(file: &Path, files: Vec<RolloutText>, args: &RenderIstio) -> Result<Istio, Failure> {
    let name = file.display();
    let usage = |what: String| Error::Usage { what };
    let filter = rollout_file::text(file)?;
    let document = Document::read(&filter).map_err(|error| usage(format!("{name}: {error}")))?;
    istio::read(files, document.value.clone(), options(args)).map_err(|error| match error {
        RenderError::Arguments(what) => usage(what).into(),
        RenderError::Filter(problems) => {
            let located = |problem: &ConfigError| {
                usage(format!("{name}:{}: {problem}", document.line(&problem.path)))
            };
            Failure::refused(problems.iter().map(located).collect())
        }
    })
}

/// With a minimal configuration, made of the arguments.
fn without_filter(
    rollout: &str,
    files: Vec<RolloutText>,
    args: &RenderIstio,
) -> Result<Istio, Failure> {
    let default = || Service { name: format!("{rollout}.default"), port: 8080 };
    let Service { name, port } = args.service.clone().unwrap_or_else(default);
    let host = format!("{name}.svc.cluster.local");
    let filter = istio::minimal_filter(rollout, &host, port, [&args.stable, &args.canary]);
    let usage = |what: String| Error::Usage { what };
    istio::read(files, filter, options(args)).map_err(|error| match error {
        RenderError::Arguments(what) => usage(what).into(),
        RenderError::Filter(problems) => {
            let explained = |problem: &ConfigError| {
                usage(format!(
                    "--service, --stable and --canary don't make a valid configuration: {problem}"
                ))
            };
            Failure::refused(problems.iter().map(explained).collect())
        }
    })
}

fn options(args: &RenderIstio) -> Options {
    Options {
        gateway: args.gateway.clone(),
        selector: args.selector.clone(),
        images: Images {
            wasm: args.wasm.clone(),
            sha256: args.wasm_sha256.clone(),
            canaryctl: args.canaryctl_image.clone(),
            stable: args.stable_image.clone(),
            canary: args.canary_image.clone(),
        },
        extension: match args.extension {
            ExtensionKind::WasmPlugin => Extension::WasmPlugin,
            ExtensionKind::TrafficExtension => Extension::TrafficExtension,
        },
        controller: match args.run_in {
            ControllerPlace::Pods => ControllerLocation::Pods,
            ControllerPlace::Sidecar => ControllerLocation::Sidecar,
        },
    }
}

/// All documents as YAML, each section below a comment that says what it is for.
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
