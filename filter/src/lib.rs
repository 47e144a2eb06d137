//! The Wasm filter: the shell around `canary-dataplane` inside Envoy.
//!
//! Each of Envoy's workers runs this module in its own VM. The root context ([`root`]) hands the data
//! plane its configuration, ticks and poll answers; a stream context ([`stream`]) hands it one
//! request. Both let [`configured`] carry out what it returns. Only [`host`] calls Envoy.

mod configured;
mod host;
mod root;
mod stream;

pub use root::Root;

/// The module's entry point, which Envoy calls first. (The SDK's macro writes a function without a
/// docstring.)
#[cfg(feature = "entry")]
#[allow(missing_docs)]
mod entry {
    use crate::Root;

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        proxy_wasm::set_root_context(|_| Box::new(Root::default()));
    }}
}
