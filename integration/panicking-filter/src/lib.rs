//! The filter with a fault, for the tests of what happens when a VM dies: a request with the header
//! `x-panic` kills the VM that gets it, and the runtime key `panic.poller` kills whichever VM reads
//! it. All else is the filter itself, unchanged.

use canary_filter::Root;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};

/// What Envoy starts the module with. The SDK's macro writes a function without a docstring.
#[allow(missing_docs)]
mod entry {
    use super::{FaultyRoot, LogLevel};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|_| Box::new(FaultyRoot::default()));
    }}
}

/// What no filter may do.
#[allow(clippy::panic)]
fn die(why: &str) {
    panic!("the test wants it: {why}");
}

#[derive(Default)]
struct FaultyRoot(Root);

impl Context for FaultyRoot {
    fn on_http_call_response(&mut self, token: u32, headers: usize, size: usize, trailers: usize) {
        let body = self.get_http_call_response_body(0, size).unwrap_or_default();
        if body.windows(12).any(|part| part == b"panic.poller") {
            die("the poller shall be gone");
        }
        self.0.on_http_call_response(token, headers, size, trailers);
    }
}

impl RootContext for FaultyRoot {
    fn on_configure(&mut self, size: usize) -> bool {
        self.0.on_configure(size)
    }

    fn on_tick(&mut self) {
        self.0.on_tick();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        self.0.create_http_context(id).map(|stream| Box::new(FaultyStream(stream)) as _)
    }

    fn get_type(&self) -> Option<ContextType> {
        self.0.get_type()
    }
}

struct FaultyStream(Box<dyn HttpContext>);

impl Context for FaultyStream {}

impl HttpContext for FaultyStream {
    fn on_http_request_headers(&mut self, count: usize, end: bool) -> Action {
        if self.get_http_request_header_bytes("x-panic").is_some() {
            die("a marked request");
        }
        self.0.on_http_request_headers(count, end)
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        self.0.on_http_request_body(size, end)
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        self.0.on_http_request_trailers(count)
    }

    fn on_http_response_headers(&mut self, count: usize, end: bool) -> Action {
        self.0.on_http_response_headers(count, end)
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        self.0.on_http_response_body(size, end)
    }

    fn on_http_response_trailers(&mut self, count: usize) -> Action {
        self.0.on_http_response_trailers(count)
    }
}
