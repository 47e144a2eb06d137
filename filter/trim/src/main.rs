//! Takes the hooks out of a built filter that it does not need.
//!
//! The SDK exports every hook of the ABI, and Envoy calls each hook that a module exports: for every
//! chunk of a body, for the end and the logging of every request. A hook that is not there costs
//! nothing, so everything is removed but what the filter uses, and the code behind it with it. So is
//! other code that is linked in and never runs ([`unreached`]).
//!
//!     trim-exports IN.wasm OUT.wasm [--keep HOOK]…

mod unreached;

use std::process::ExitCode;

use walrus::ModuleConfig;

/// What every build of the filter needs.
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
        Err(problem) => {
            eprintln!("trim-exports: {problem}");
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
    // The names have told what may go; nobody reads them afterwards.
    read.generate_name_section(false).generate_producers_section(false);
    let mut module = read.parse_file(input).map_err(|error| format!("{input}: {error}"))?;
    let there: Vec<String> = module.exports.iter().map(|export| export.name.clone()).collect();
    if let Some(missing) = kept.iter().find(|name| !there.iter().any(|export| export == *name)) {
        return Err(format!("{input} does not export {missing}, which the filter needs"));
    }
    for name in there.iter().filter(|name| !kept.contains(&name.as_str())) {
        let removed = module.exports.remove(name);
        removed.map_err(|error| format!("{input}: export {name}: {error}"))?;
    }
    let emptied = unreached::remove(&mut module);
    if emptied == 0 {
        return Err(format!("{input} names no function: it must not be stripped before"));
    }
    let bytes = module.emit_wasm();
    std::fs::write(output, &bytes).map_err(|error| format!("{output}: {error}"))?;
    let (exports, size) = (there.len(), bytes.len());
    Ok(format!(
        "{output}: {} of {exports} exports, {emptied} functions emptied, {size} bytes",
        kept.len()
    ))
}
