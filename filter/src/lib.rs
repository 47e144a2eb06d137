//! The Wasm filter: the shell around `canary-core` inside Envoy.
//!
//! Each of Envoy's workers runs this module in a VM of its own. The root context ([`root`]) reads
//! the configuration, polls Envoy's runtime and keeps the statistics; a stream context ([`stream`])
//! follows one request. Both gather what core asks for, let it decide, and apply the answer; what
//! the workers must agree on goes through Envoy's shared data ([`shared`]). Only [`host`] calls
//! Envoy.

mod guard;
mod host;
mod memory;
mod metrics;
mod plugin;
mod root;
mod shared;
mod stream;

pub use root::Root;

/// What Envoy starts the module with. The SDK's macro writes a function without a docstring.
#[cfg(feature = "entry")]
#[allow(missing_docs)]
mod entry {
    use crate::Root;

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        proxy_wasm::set_root_context(|_| Box::new(Root::default()));
    }}
}
