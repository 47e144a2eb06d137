//! Empties functions that are linked in but never run.
//!
//! A linker keeps whatever a table of methods names. The SDK's traits have their hostcalls as
//! default methods, so every context drags all of them in, gRPC and all; and std's own panic hook,
//! which the SDK replaces before anything else happens, drags in standard error, paths and
//! backtraces. Emptied they still trap if they were ever called, which is what a panic ends in anyway.

use std::collections::HashSet;

use rustc_demangle::demangle;
use walrus::{
    FunctionId, FunctionKind, InstrLocId, Module,
    ir::{Call, Instr, Unreachable, Visitor, dfs_in_order},
    passes::gc,
};

/// Functions that nothing reaches, or that only tell of a panic what the trap behind them says, too:
/// what std would print at a panic or without memory if the SDK had set no hook, the text that broken
/// string slicing is refused with (Rust's lints keep it out of the filter), and contexts of TCP streams.
const NEVER_RUN: [&str; 4] = [
    "std::panicking::default_hook",
    "std::alloc::default_alloc_error_hook",
    "core::str::slice_error_fail_rt",
    "proxy_wasm::dispatcher::Dispatcher::create_stream_context",
];

/// Empties them, and removes what only they needed. Answers with their number.
pub(crate) fn remove(module: &mut Module) -> usize {
    gc::run(module);
    let mut emptied = 0;
    loop {
        let called = called(module);
        let never = module.funcs.iter().filter(|function| {
            // Without the compiler's hash at the end.
            let name = format!("{:#}", demangle(function.name.as_deref().unwrap_or_default()));
            let method = is_default_method(&name) && !called.contains(&function.id());
            (method || NEVER_RUN.contains(&name.as_str())) && !is_empty(&function.kind)
        });
        let never: Vec<FunctionId> = never.map(|function| function.id()).collect();
        if never.is_empty() {
            return emptied;
        }
        emptied += never.len();
        never.into_iter().for_each(|function| empty(module, function));
        gc::run(module);
    }
}

/// A method of the SDK's traits that calls the host. The SDK itself calls the others: the hooks, and
/// what makes contexts.
fn is_default_method(name: &str) -> bool {
    let Some(method) = name
        .strip_prefix("proxy_wasm::traits::")
        .and_then(|name| name.split_once("::"))
        .map(|(_, method)| method)
    else {
        return false;
    };
    !["on_", "create_", "get_type"].iter().any(|kept| method.starts_with(kept))
}

/// The functions that some function calls by name, not through a table.
fn called(module: &Module) -> HashSet<FunctionId> {
    struct Calls(HashSet<FunctionId>);
    impl<'instr> Visitor<'instr> for Calls {
        fn visit_call(&mut self, call: &Call) {
            self.0.insert(call.func);
        }
    }
    let mut calls = Calls(HashSet::new());
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut calls, function, function.entry_block());
    }
    calls.0
}

fn is_empty(kind: &FunctionKind) -> bool {
    match kind {
        FunctionKind::Local(local) => {
            matches!(&*local.block(local.entry_block()).instrs, [(Instr::Unreachable(_), _)])
        }
        FunctionKind::Import(_) | FunctionKind::Uninitialized(_) => true,
    }
}

fn empty(module: &mut Module, function: FunctionId) {
    if let FunctionKind::Local(local) = &mut module.funcs.get_mut(function).kind {
        let entry = local.entry_block();
        let trap = Instr::Unreachable(Unreachable {});
        local.block_mut(entry).instrs = vec![(trap, InstrLocId::default())];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_emptied_is_told_by_its_name() {
        for name in [
            "proxy_wasm::traits::Context::get_shared_data",
            "proxy_wasm::traits::HttpContext::send_http_response",
        ] {
            assert!(is_default_method(name), "{name}");
        }
        for name in [
            "proxy_wasm::traits::Context::on_done",
            "proxy_wasm::traits::RootContext::create_http_context",
            "proxy_wasm::traits::RootContext::get_type",
            "proxy_wasm::hostcalls::get_shared_data",
            "canary_filter::host::shared",
        ] {
            assert!(!is_default_method(name), "{name}");
        }
    }
}
