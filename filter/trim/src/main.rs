//! Removes the hooks that a built filter doesn't need.
//!
//! The SDK exports every hook of the ABI, and Envoy calls each hook that a module exports: for each
//! chunk of a body, and for the end and the logging of each request. A hook that isn't exported costs
//! nothing. So this tool removes all exports that the filter doesn't use, and the code that only they
//! reach.
//!
//!     trim-exports IN.wasm OUT.wasm [--keep HOOK]…

use std::process::ExitCode;

use walrus::{ModuleConfig, passes::gc};

/// The exports that every build of the filter needs.
const KEPT: [&str; 13] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_context_create",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_delete",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trim-exports: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    let [input, output, options @ ..] = arguments else {
        return Err("usage: trim-exports IN.wasm OUT.wasm [--keep HOOK]…".to_owned());
    };
    let mut kept: Vec<&str> = KEPT.to_vec();
    for option in options.chunks(2) {
        match option {
            [flag, hook] if flag == "--keep" => kept.push(hook),
            other => return Err(format!("unknown option {}", other.join(" "))),
        }
    }
    let mut read = ModuleConfig::new();
    read.generate_name_section(false).generate_producers_section(false);
    let mut module = read.parse_file(input).map_err(|error| format!("{input}: {error}"))?;
    let exported: Vec<String> = module.exports.iter().map(|export| export.name.clone()).collect();
    if let Some(missing) = kept.iter().find(|name| !exported.iter().any(|export| export == *name)) {
        return Err(format!("{input} does not export {missing}, which the filter needs"));
    }
    for name in exported.iter().filter(|name| !kept.contains(&name.as_str())) {
        let removed = module.exports.remove(name);
        removed.map_err(|error| format!("{input}: export {name}: {error}"))?;
    }
    gc::run(&mut module);
    let bytes = module.emit_wasm();
    std::fs::write(output, &bytes).map_err(|error| format!("{output}: {error}"))?;
    let (exports, size) = (exported.len(), bytes.len());
    Ok(format!("{output}: {} of {exports} exports, {size} bytes", kept.len()))
}
