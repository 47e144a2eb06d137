//! One configuration at work in one VM: its rollouts, what is cached of their state, its statistics.
//!
//! A pushed configuration makes a new plugin beside the old one. Requests in flight keep theirs,
//! and with it the rules they began under; what the workers share, and Envoy's metrics, are the same.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use canary_dataplane::assign::{Assignment, Headers, assign};
use canary_dataplane::control::{Control, InForce, WeightReason};
use canary_dataplane::exchange::{Tally, Unit};
use canary_dataplane::poll::Poller;
use canary_dataplane::signal::Reading;
use canary_model::config::{Config, Rollout};
use canary_model::weight::Weight;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{guard::Watch, host, memory::Memory, metrics::RolloutMetrics, shared::Record};

thread_local! {
    /// The last plugin's generation in this VM.
    static LAST: Cell<u64> = const { Cell::new(0) };
    /// The rollouts of the plugins that live in this VM, each with its plugin's generation. The
    /// newest one of a rollout shows and polls for it, until it ends: Envoy takes an older plugin
    /// up again where its configuration comes back while requests still run under it.
    static LIVING: RefCell<Vec<(String, u64)>> = const { RefCell::new(Vec::new()) };
}

/// A configuration at work.
pub(crate) struct Plugin {
    /// Rises with each configuration in this VM.
    generation: u64,
    /// What was configured.
    pub(crate) config: Config,
    /// The rollouts, in the configuration's order.
    pub(crate) rollouts: Vec<Live>,
    /// The headers that carry testers' tokens. No upstream may see one, whichever rollout's it is.
    pub(crate) secrets: Vec<String>,
    random: RefCell<Xoshiro256PlusPlus>,
}

/// A rollout at work.
pub(crate) struct Live {
    /// What was configured.
    pub(crate) rollout: Rollout,
    /// What the workers share of it.
    pub(crate) control: Record<Control>,
    /// The shared record as this VM saw it last.
    cached: RefCell<Control>,
    /// The weight that this VM showed last.
    shown: Cell<Weight>,
    /// How often each worker ticks.
    tick_ns: u64,
    /// Its guard, where it has one.
    watch: Option<Watch>,
    /// Its memory of clients.
    memory: Memory,
    /// Its statistics.
    pub(crate) metrics: RolloutMetrics,
}

impl Plugin {
    /// Puts a configuration to work.
    pub(crate) fn new(mut config: Config) -> Rc<Self> {
        let generation = LAST.get() + 1;
        LAST.set(generation);
        let names = config.rollouts.iter().map(|rollout| (rollout.name.clone(), generation));
        LIVING.with_borrow_mut(|living| living.extend(names));
        let secrets = config.token_headers();
        let tick_ns = Poller::tick_ns(config.runtime.interval_ns());
        let rollouts = std::mem::take(&mut config.rollouts);
        let rollouts = rollouts.into_iter().map(|rollout| Live::new(rollout, tick_ns)).collect();
        // Without entropy the time still tells the VMs apart.
        let seed = host::entropy().map_or_else(host::now_ns, u64::from_le_bytes);
        let random = RefCell::new(Xoshiro256PlusPlus::seed_from_u64(seed));
        Rc::new(Self { generation, config, rollouts, secrets, random })
    }

    /// A uniformly random number.
    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }

    /// Decides about a request of a rollout. The canary is only chosen after the record that all
    /// workers share, read at this moment, confirms it: so a rollback holds from the moment it is
    /// written, and the look costs canary requests alone.
    pub(crate) fn assign(&self, live: &Live, request: &impl Headers, now_ns: u64) -> Assignment {
        let rollout = &live.rollout;
        let in_force = live.cached_in_force(now_ns);
        let mut assignment = assign(&self.config, rollout, in_force, request, || self.random());
        if assignment.wants_canary() {
            assignment.weigh(live.confirmed_in_force(now_ns));
        }
        assignment
    }

    /// Whether a rollout's state is this plugin's to show: an older one, whose requests run out,
    /// would show the weight of a configuration that holds no more.
    pub(crate) fn shows(&self, live: &Live) -> bool {
        let newer = |(name, generation): &(String, u64)| {
            *generation > self.generation && *name == live.rollout.name
        };
        !LIVING.with_borrow(|living| living.iter().any(newer))
    }

    /// Hands what has gathered to Envoy and to the guards.
    pub(crate) fn flush(&self, now_ns: u64) {
        self.rollouts.iter().for_each(|live| live.flush(now_ns));
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        LIVING.with_borrow_mut(|living| {
            living.retain(|(_, generation)| *generation != self.generation);
        });
        self.flush(host::now_ns());
    }
}

impl Live {
    fn new(rollout: Rollout, tick_ns: u64) -> Self {
        let control = Record::control(&rollout.name);
        let cached = control.create(Control::default);
        let watch = rollout.guard.then(|| Watch::new(&rollout, &cached));
        let memory = Memory::new(&rollout);
        let metrics = RolloutMetrics::new(&rollout);
        let shown = Cell::new(cached.in_force(rollout.weight, host::now_ns()).weight);
        Self {
            rollout,
            control,
            cached: RefCell::new(cached),
            shown,
            tick_ns,
            watch,
            memory,
            metrics,
        }
    }

    fn cached_in_force(&self, now_ns: u64) -> InForce {
        self.cached.borrow().in_force(self.rollout.weight, now_ns)
    }

    /// What is in force by the shared record. Without one nothing goes to the canary.
    fn confirmed_in_force(&self, now_ns: u64) -> InForce {
        let Some(control) = self.control.read() else {
            return InForce { weight: Weight::ZERO, why: WeightReason::Config };
        };
        let in_force = control.in_force(self.rollout.weight, now_ns);
        self.cached.replace(control);
        in_force
    }

    /// Takes over the shared record.
    pub(crate) fn refresh(&self) {
        if let Some(control) = self.control.read() {
            self.cached.replace(control);
        }
    }

    /// Shows the state as gauges.
    pub(crate) fn show(&self, now_ns: u64) {
        let control = self.cached.borrow();
        let weight = control.to_show(self.rollout.weight, self.shown.get(), now_ns, self.tick_ns);
        self.shown.set(weight);
        self.metrics.weight_ppm.set(u64::from(weight.ppm()));
        self.metrics.guard_tripped.set(u64::from(control.guard_tripped()));
        self.metrics.lease_expired.set(u64::from(control.lease_expired(now_ns)));
        self.metrics.epoch.set(control.epoch().unwrap_or(0));
    }

    /// What a request that begins now counts as for the judge.
    pub(crate) fn unit(&self, assignment: &Assignment) -> Unit {
        self.memory.unit(assignment, &self.cached.borrow())
    }

    /// Counts a finished request and shows it to the guard.
    pub(crate) fn count(&self, tally: &Tally, readings: &[Reading], now_ns: u64) {
        let Tally::Compared(compared) = tally else {
            self.metrics.count(tally, None, readings);
            return;
        };
        let units = self.memory.units(compared, &self.cached.borrow());
        self.metrics.count(tally, units, readings);
        self.guard(now_ns, |watch, control, weight| {
            watch.observe(compared, now_ns, control, weight)
        });
    }

    /// Hands what has gathered since the last tick to Envoy and to the guard.
    pub(crate) fn flush(&self, now_ns: u64) {
        self.metrics.flush();
        self.guard(now_ns, Watch::flush);
    }

    /// Asks the guard, and writes its trip where all workers see it before they next send a request
    /// to the canary.
    fn guard(&self, now_ns: u64, ask: impl FnOnce(&Watch, &Control, Weight) -> bool) {
        let Some(watch) = &self.watch else {
            return;
        };
        let weight = self.cached_in_force(now_ns).weight;
        if !ask(watch, &self.cached.borrow(), weight) {
            return;
        }
        let epoch_turn = self.cached.borrow().epoch_turn();
        if let Some((control, tripped)) = self.control.update(|control| control.trip(epoch_turn)) {
            self.cached.replace(control);
            if tripped {
                watch.report(&self.rollout, weight);
                self.show(now_ns);
            }
        }
    }
}
