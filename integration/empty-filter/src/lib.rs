//! A filter that does nothing, with every hook that the SDK exports: what it costs to have any
//! filter at all.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

struct EmptyRoot;
struct EmptyStream;

impl Context for EmptyRoot {}

impl RootContext for EmptyRoot {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(EmptyStream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for EmptyStream {}
impl HttpContext for EmptyStream {}

/// What Envoy starts the module with. The SDK's macro writes a function without a docstring.
#[allow(missing_docs)]
mod entry {
    use super::EmptyRoot;

    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(EmptyRoot));
    }}
}
