//! The root context of one configuration in one VM: configuration, ticks and poll answers.

use std::cell::RefCell;
use std::rc::Rc;

use canary_dataplane::host::{Effect, Host};
use canary_dataplane::messages::{Message, Severity};
use canary_dataplane::vm::Vm;
use canary_dataplane::worker::{FilterWorker, PollAnswer};
use log::{Level, log};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::host::{self, Envoy};
use crate::stream::Stream;

thread_local! {
    /// What outlives a configuration in this VM. It is a thread-local because a pushed configuration
    /// gets a new root context, which the SDK makes by calling a plain function: there is no other
    /// place that both the old and the new one can reach.
    static VM: RefCell<Vm> = RefCell::default();
}

/// The root context of one configuration in one VM.
#[derive(Default)]
pub struct Root {
    configured: Option<Rc<Configured>>,
}

/// A worker with its configuration. The root context and its requests share it, and it ends with the
/// last of them: requests in flight outlive their root context when a configuration is pushed.
pub(crate) struct Configured {
    worker: RefCell<FilterWorker>,
}

impl Configured {
    /// Borrows the worker. Envoy never calls back while a hook runs, so this is always possible.
    pub(crate) fn with<R>(&self, ask: impl FnOnce(&mut FilterWorker) -> R) -> Option<R> {
        self.worker.try_borrow_mut().ok().map(|mut worker| ask(&mut worker))
    }

    /// Carries out what the worker wants done.
    pub(crate) fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::HttpGet { cluster, path, timeout } = effect {
                if let Err(refused) = host::http_get(&cluster, path, timeout) {
                    let reason = format!("{refused:?}");
                    perform(self.with(|worker| worker.refused(reason)).unwrap_or_default());
                }
            } else {
                perform_one(effect);
            }
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let worker = self.worker.get_mut();
        // Past the thread-local's end, the VM is gone and nobody reads its counters.
        let closed = VM.try_with(|vm| worker.close(&mut vm.borrow_mut(), &Envoy));
        perform(closed.unwrap_or_default());
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, _: u32, _: usize, body_size: usize, _: usize) {
        if let Some(configured) = &self.configured {
            let status = host::http_get_status();
            let body = host::http_get_body(body_size).unwrap_or_default();
            let answer = PollAnswer { status: status.as_deref(), body: &body };
            let effects =
                VM.with_borrow(|vm| configured.with(|worker| worker.answered(answer, vm, &Envoy)));
            configured.perform(effects.unwrap_or_default());
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = host::configuration(size);
        // Without entropy, the time still differs between VMs.
        let seed = host::entropy().map_or_else(|| Envoy.now_ns(), u64::from_le_bytes);
        let configured = VM.with_borrow_mut(|vm| {
            FilterWorker::configure(&json, cfg!(feature = "body"), seed, vm, &Envoy)
        });
        match configured {
            Ok((worker, effects)) => {
                let configured = Rc::new(Configured { worker: RefCell::new(worker) });
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
            let effects = VM
                .with_borrow(|vm| configured.with(|worker| worker.tick(unix_seconds, vm, &Envoy)));
            configured.perform(effects.unwrap_or_default());
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(self.configured.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Carries out effects that don't send a poll.
fn perform(effects: Vec<Effect>) {
    effects.into_iter().for_each(perform_one);
}

fn perform_one(effect: Effect) {
    match effect {
        Effect::SetTick(period) => host::set_tick(period),
        Effect::Increment(metric, by) => host::increment(metric, by),
        Effect::Record(metric, value) => host::record(metric, value),
        Effect::Log(message) => write_log(&message),
        // Only a configured worker polls, and `Configured::perform` sends it.
        Effect::HttpGet { .. } => {}
    }
}

fn write_log(message: &Message) {
    let level = match message.severity() {
        Severity::Info => Level::Info,
        Severity::Warning => Level::Warn,
        Severity::Error => Level::Error,
    };
    log!(level, "{message}");
}
