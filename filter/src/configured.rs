//! A worker of the data plane with its configuration, and how its effects are carried out.

use std::cell::RefCell;

use canary_dataplane::effect::Effect;
use canary_dataplane::messages::{Message, Severity};
use canary_dataplane::vm::Vm;
use canary_dataplane::worker::FilterWorker;
use log::{Level, log};

use crate::host::{self, EnvoyHost};

thread_local! {
    /// What outlives a configuration in this VM. It is a thread-local because a pushed configuration
    /// gets a new root context, which the SDK makes by calling a plain function: there is no other
    /// place that both the old and the new one can reach.
    pub(crate) static VM: RefCell<Vm> = RefCell::default();
}

/// A worker with its configuration. The root context and its requests share it, and it ends with the
/// last of them: requests in flight outlive their root context when a configuration is pushed.
pub(crate) struct Configured {
    worker: RefCell<FilterWorker>,
}

impl Configured {
    /// Puts a worker to work.
    pub(crate) fn new(worker: FilterWorker) -> Self {
        Self { worker: RefCell::new(worker) }
    }

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
        // Past the thread-local's end, the VM is gone, and its counters with it.
        let closed = VM.try_with(|vm| worker.close(&mut vm.borrow_mut(), &EnvoyHost));
        perform(closed.unwrap_or_default());
    }
}

/// Carries out effects that don't send a poll.
pub(crate) fn perform(effects: Vec<Effect>) {
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
