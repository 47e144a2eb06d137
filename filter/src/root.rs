//! The root context of one configuration in one VM: configuration, ticks and poll answers.

use std::{rc::Rc, time::Duration};

use canary_dataplane::host::Host;
use canary_dataplane::worker::{FilterWorker, PollAnswer};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::configured::{Configured, VM, perform};
use crate::host::{self, EnvoyHost};
use crate::stream::{RequestHeaders, Stream, follow};

/// The root context of one configuration in one VM.
#[derive(Default)]
pub struct Root {
    configured: Option<Rc<Configured>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, _: u32, _: usize, body_size: usize, _: usize) {
        if let Some(configured) = &self.configured {
            let status = host::http_get_status();
            let body = host::http_get_body(body_size).unwrap_or_default();
            let answer = PollAnswer { status: status.as_deref(), body: &body };
            let effects = VM.with_borrow(|vm| {
                configured.with(|worker| worker.answered(answer, vm, &EnvoyHost))
            });
            configured.perform(effects.unwrap_or_default());
        }
    }
}

impl Drop for Root {
    /// Envoy would go on firing the timer of a configuration that it has replaced, as long as the VM lives.
    fn drop(&mut self) {
        host::set_tick(Duration::ZERO);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = host::configuration(size);
        // Without entropy, the time still differs between VMs.
        let seed = host::entropy().map_or_else(|| EnvoyHost.now_ns(), u64::from_le_bytes);
        let configured = VM.with_borrow_mut(|vm| {
            FilterWorker::configure(&json, cfg!(feature = "body"), seed, vm, &EnvoyHost)
        });
        match configured {
            Ok((worker, effects)) => {
                let configured = Rc::new(Configured::new(worker));
                configured.perform(effects);
                self.configured = Some(configured);
                true
            }
            Err(effects) => {
                perform(effects);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(configured) = &self.configured {
            let unix_seconds = host::unix_seconds();
            let effects = VM.with_borrow_mut(|vm| {
                configured.with(|worker| worker.tick(unix_seconds, vm, &EnvoyHost))
            });
            configured.perform(effects.unwrap_or_default());
            let now_ns = EnvoyHost.now_ns();
            while let Some(id) = configured.with(|worker| worker.overlong(now_ns)).flatten() {
                host::set_context(id);
                configured.with(|worker| {
                    let headers = RequestHeaders { has_body: true };
                    let released = worker.release(id, &headers, &EnvoyHost).and_then(follow);
                    worker.keep(id, released);
                });
                host::resume_request();
                host::set_context(0);
            }
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, self.configured.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
