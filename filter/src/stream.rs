//! The stream context: one request and its response.

use std::rc::Rc;

use canary_dataplane::assign::{Headers, NewCookie};
use canary_dataplane::cookie;
use canary_dataplane::exchange::{
    self, Exchange, Responder, Upstream, grpc_status, http_status, is_grpc,
};
use canary_dataplane::matching::{self, RequestTarget};
use canary_dataplane::signal::{self, Body, Reading};
use canary_model::config::Rollout;
use canary_model::role::Role;
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use crate::{
    host,
    plugin::{Live, Plugin},
};

/// One request; without a rollout that takes it, nothing is done to it.
pub(crate) struct Stream {
    plugin: Option<Rc<Plugin>>,
    taken: Option<Taken>,
}

/// A request that a rollout has taken.
struct Taken {
    /// The rollout's place in the plugin.
    rollout: usize,
    exchange: Exchange,
    /// A cohort cookie to set, and whether the request came by https.
    cookie: Option<(NewCookie, bool)>,
    /// What the request and the response's headers say for the signals.
    readings: Vec<Reading>,
    /// The response's body, where a signal reads it.
    body: Option<Body>,
}

/// The request's headers, as Envoy has them.
struct RequestHeaders;

impl Headers for RequestHeaders {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        host::request_header(name)
    }
}

impl Stream {
    pub(crate) fn new(plugin: Option<Rc<Plugin>>) -> Self {
        Self { plugin, taken: None }
    }

    fn taken(&mut self) -> Option<(&Plugin, &Live, &mut Taken)> {
        let (plugin, taken) = (self.plugin.as_deref()?, self.taken.as_mut()?);
        let live = plugin.rollouts.get(taken.rollout)?;
        Some((plugin, live, taken))
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(plugin) = &self.plugin else {
            return Action::Continue;
        };
        let names = &plugin.config.headers;
        remove_if_sent(&names.route);
        let target = RequestTarget::of(&RequestHeaders);
        let mut rollouts = plugin.rollouts.iter().enumerate();
        let Some((rollout, live)) =
            rollouts.find(|(_, live)| matching::matches(&live.rollout.matches, &target))
        else {
            remove_if_sent(&names.version);
            plugin.secrets.iter().for_each(|header| remove_if_sent(header));
            return Action::Continue;
        };
        let now_ns = host::now_ns();
        let mut assignment = plugin.assign(live, &RequestHeaders, now_ns);
        tell_upstream(plugin, &live.rollout, assignment.role);
        let grpc = host::request_header("content-type").is_some_and(|content| is_grpc(&content));
        let cookie = assignment.cookie.take().map(|cookie| (cookie, by_https()));
        let exchange = Exchange::begin(&assignment, live.unit(&assignment), grpc, now_ns);
        let request = |name| move || host::request_header(name);
        let readings = signal::of_request(&live.rollout, request(":method"), request(":path"));
        self.taken = Some(Taken { rollout, exchange, cookie, readings, body: None });
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let Some((plugin, live, taken)) = self.taken() else {
            return Action::Continue;
        };
        let status = host::response_header(":status").as_deref().and_then(http_status);
        let by = match taken.exchange.chosen() {
            Role::Stable => Responder::Chosen,
            Role::Canary => exchange::responder(&live.rollout, &upstream(&live.rollout)),
        };
        let stamped = taken.exchange.answered(status.unwrap_or(0), by);
        let version = &live.rollout.backend(stamped).version;
        host::set_response_header(&plugin.config.headers.version, version);
        if taken.exchange.is_grpc()
            && let Some(status) = host::response_header("grpc-status")
        {
            taken.exchange.grpc_status(grpc_status(&status));
        }
        if let Some((made, secure)) = taken.cookie.take() {
            let value = cookie::set(&made.name, &made.id, made.max_age, secure);
            host::add_response_header("set-cookie", &value);
        }
        taken.read_headers(&live.rollout);
        Action::Continue
    }

    #[cfg(feature = "body")]
    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        if let Some((_, _, taken)) = self.taken()
            && let Some(body) = taken.body.as_mut().filter(|body| body.wants_more())
            && let Some(chunk) = host::response_body(size)
        {
            body.push(&chunk);
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if let Some((_, _, taken)) = self.taken()
            && taken.exchange.is_grpc()
            && let Some(status) = host::response_trailer("grpc-status")
        {
            taken.exchange.grpc_status(grpc_status(&status));
        }
        Action::Continue
    }
}

/// Envoy deletes the context when the exchange is over: after the last byte, a reset or a
/// disconnect, whichever comes. Counting here saves the calls of two more callbacks a request.
impl Drop for Stream {
    fn drop(&mut self) {
        if let Some((_, live, taken)) = self.taken() {
            let now_ns = host::now_ns();
            if taken.exchange.broken_off() {
                let flags = host::property_u64(&["response", "flags"]);
                taken.exchange.ended(flags.unwrap_or(0));
            }
            let tally = taken.exchange.finish(&live.rollout.failure, now_ns);
            let readings =
                if tally.is_success() { taken.readings(&live.rollout) } else { Vec::new() };
            live.count(&tally, &readings, now_ns);
        }
    }
}

impl Taken {
    /// Reads the signals in the response's headers, and sees to it that its body is kept where one
    /// is read from there.
    fn read_headers(&mut self, rollout: &Rollout) {
        if rollout.signals.is_empty() || !self.exchange.readable(&rollout.failure) {
            return;
        }
        self.readings.extend(signal::of_headers(rollout, host::response_header));
        if rollout.reads_bodies() {
            let encoding = host::response_header("content-encoding");
            self.body = Body::wanted(rollout, encoding.as_deref());
        }
    }

    /// What the finished exchange says for the signals.
    fn readings(&mut self, rollout: &Rollout) -> Vec<Reading> {
        let mut readings = std::mem::take(&mut self.readings);
        if let Some(body) = self.body.take() {
            readings.extend(signal::of_body(rollout, &body));
        }
        readings
    }
}

/// Tells the router and the upstream what was decided, and removes what a client may have sent in
/// its place. A stable request is left as it is wherever possible: a changed one is routed twice.
fn tell_upstream(plugin: &Plugin, rollout: &Rollout, role: Role) {
    let names = &plugin.config.headers;
    let version = &rollout.backend(role).version;
    plugin.secrets.iter().for_each(|header| remove_if_sent(header));
    match role {
        Role::Canary => {
            host::set_request_header(&names.version, version);
            host::set_request_header(&names.route, &rollout.canary.cluster);
            host::clear_route_cache();
        }
        Role::Stable if rollout.propagate => host::set_request_header(&names.version, version),
        Role::Stable => {
            let sent = host::request_header(&names.version);
            let kept = rollout.inherit && sent.as_deref() == Some(version.as_bytes());
            if sent.is_some() && !kept {
                host::remove_request_header(&names.version);
            }
        }
    }
}

fn remove_if_sent(name: &str) {
    if host::request_header(name).is_some() {
        host::remove_request_header(name);
    }
}

fn by_https() -> bool {
    let https = |name| {
        host::request_header(name).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"))
    };
    https(":scheme") || https("x-forwarded-proto")
}

/// Who answered, as far as it matters: only behind the aggregate of a rescue can it be another
/// endpoint than the route's cluster says.
fn upstream(rollout: &Rollout) -> Upstream {
    let cluster = host::property(&["xds", "cluster_name"]);
    if !cluster.as_deref().is_some_and(|cluster| exchange::is_rescue(rollout, cluster)) {
        return Upstream { cluster, ..Upstream::default() };
    }
    let metadata = ["xds", "upstream_host_metadata", "filter_metadata", "canary", "role"];
    let role = host::property(&metadata);
    // Only where the endpoint doesn't say who it is does the number of attempts tell.
    let attempts = match role {
        Some(_) => None,
        None => host::property_u64(&["upstream", "request_attempt_count"]),
    };
    Upstream { cluster, attempts, role }
}
