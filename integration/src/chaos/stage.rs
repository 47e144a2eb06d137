//! What runs in a chaos run: one Envoy with both rollouts, its upstreams, the gateway to its admin, the
//! controller. It carries out the faults, and notes what they excuse.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::controller::ChaosController;
use super::gateway::AdminGateway;
use super::plan::{ChaosFault, ChaosPlace, LABELS, UpstreamBreak};
use super::timeline::{ChaosTimeline, Span};
use super::upstreams::{UpstreamLog, behave};
use super::watchers::{EnvoyWatcher, STORM_VERSIONS};
use crate::{AdminAddress, Bootstrap, EnvoyAdmin, Rig, Running, Server, TestUpstream, free_port};

/// The age at which outcomes are judged.
pub(super) const OUTCOME_AGE: Duration = Duration::from_secs(2);
const STORM_CLUSTER: &str = "storm-canary";

/// All that a run starts.
pub(super) struct ChaosStage {
    rig: Running,
    storm: Server,
    gateway: AdminGateway,
    pub(super) controller: ChaosController,
    pub(super) timeline: ChaosTimeline,
    pub(super) upstreams: UpstreamLog,
    pub(super) watcher: EnvoyWatcher,
    start: Instant,
    pushes: u64,
    /// The folders of the rig and of the controller.
    pub(super) folders: Vec<PathBuf>,
    _folder: TempDir,
}

impl ChaosStage {
    /// Starts everything.
    ///
    /// # Panics
    /// When something doesn't come up.
    pub(super) async fn start(start: Instant) -> Self {
        let storm = TestUpstream::ok().start("storm");
        let at = storm.at();
        let rig = Rig::new()
            .reading_bodies()
            .listen(free_port())
            .config(configure)
            .bootstrap(move |bootstrap| configure_envoy(bootstrap, at))
            .start()
            .await;
        let AdminAddress::Unix(socket) = rig.admin().address().clone() else {
            panic!("the rig's admin is a unix socket");
        };
        let rig_folder = socket.parent().expect("a socket is in a folder").to_owned();
        let folder = tempfile::Builder::new().prefix("canary-chaos-").tempdir();
        let folder = folder.expect("a temporary directory");
        let gateway = AdminGateway::start(socket);
        let controller = ChaosController::start(folder.path(), &gateway.url());
        let watcher = EnvoyWatcher::new(rig.admin().clone(), start);
        let folders = vec![rig_folder, folder.path().to_owned()];
        let stage = Self {
            rig,
            storm,
            gateway,
            controller,
            timeline: ChaosTimeline::default(),
            upstreams: UpstreamLog::new(start),
            watcher,
            start,
            pushes: 0,
            folders,
            _folder: folder,
        };
        ChaosPlace::ALL.into_iter().for_each(|place| stage.set_upstream(place, None));
        stage
    }

    /// Where clients connect to, also after a restart.
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.rig.address()
    }

    /// Envoy's admin interface itself, not the controller's way to it.
    pub(super) fn admin(&self) -> EnvoyAdmin {
        self.rig.admin().clone()
    }

    /// Carries out one fault.
    pub(super) async fn do_fault(&mut self, fault: ChaosFault) {
        match fault {
            ChaosFault::KillEnvoy => self.kill_envoy().await,
            ChaosFault::KillController => self.controller.kill().await,
            ChaosFault::StartController => self.controller.spawn(),
            ChaosFault::BlockAdmin(block) => self.gateway.set(Some(block)),
            ChaosFault::FreeAdmin => self.gateway.set(None),
            ChaosFault::Break(place, UpstreamBreak::Refuses) => {
                self.timeline.leaves(place, self.start);
                self.server(place).down().await;
            }
            ChaosFault::Break(place, how) => self.set_upstream(place, Some(how)),
            ChaosFault::Mend(place) => {
                self.set_upstream(place, None);
                self.server(place).up();
                self.timeline.returns(place, self.start);
            }
            ChaosFault::FillDisk => {
                self.timeline.disk_fills(self.start);
                self.controller.fill_disk(true);
            }
            ChaosFault::FreeDisk => {
                self.controller.fill_disk(false);
                self.timeline.disk_is_free(self.start);
            }
            ChaosFault::Push => self.push(),
        }
    }

    /// Reads the counters a last time, and kills.
    async fn kill_envoy(&mut self) {
        self.watcher.read_counters().await;
        let begin = self.start.elapsed().as_secs_f64();
        self.rig.restart().await;
        let end = self.start.elapsed().as_secs_f64();
        self.timeline.envoy_down.push(Span { begin, end });
    }

    /// A configuration that differs in what doesn't change any outcome.
    fn push(&mut self) {
        self.pushes += 1;
        let number = self.pushes;
        self.rig.push_config(|config| {
            let timings =
                if number.is_multiple_of(2) { json!(["ttfb"]) } else { json!(["ttfb", "gap"]) };
            for rollout in config["rollouts"].as_array_mut().into_iter().flatten() {
                rollout["salt"] = format!("salt-{number}").into();
                rollout["timings"] = timings.clone();
            }
        });
    }

    fn set_upstream(&self, place: ChaosPlace, broken: Option<UpstreamBreak>) {
        let server = match place {
            ChaosPlace::Stable => self.rig.stable(),
            ChaosPlace::Canary => self.rig.canary(),
            ChaosPlace::Storm => &self.storm,
        };
        behave(server, place, broken, &self.upstreams);
    }

    fn server(&mut self, place: ChaosPlace) -> &mut Server {
        match place {
            ChaosPlace::Stable => self.rig.stable_mut(),
            ChaosPlace::Canary => self.rig.canary_mut(),
            ChaosPlace::Storm => &mut self.storm,
        }
    }

    /// The end of Envoy's log, for a run that failed.
    pub(super) fn end_of_log(&self) -> String {
        let log = self.rig.logs();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Two rollouts by path, both of which read streams. The controller's one has a guard; the other's weight
/// is to change whatever fails.
fn configure(config: &mut Value) {
    let age = format!("{}s", OUTCOME_AGE.as_secs());
    let common = |rollout: &mut Value, path: &str| {
        rollout["match"] = json!({"path_prefixes": [path]});
        rollout["failure"] = json!({"sse": {"done": "[DONE]"}});
        rollout["timings"] = json!(["ttfb", "gap"]);
        rollout["outcome_age"] = age.clone().into();
    };
    let demo = &mut config["rollouts"][0];
    common(demo, "/demo");
    demo["canary"]["version"] = LABELS[0].into();
    let mut storm = demo.clone();
    common(&mut storm, "/storm");
    storm["name"] = "storm".into();
    storm["stable"]["version"] = STORM_VERSIONS[0].into();
    storm["canary"] = json!({"version": STORM_VERSIONS[1], "cluster": STORM_CLUSTER});
    storm["guard"] = json!({"enabled": false});
    config["rollouts"].as_array_mut().expect("a list of rollouts").push(storm);
}

/// The second rollout's canary, a cluster and the route to it, and clients that hear at once what broke.
fn configure_envoy(bootstrap: &mut Bootstrap, at: std::net::SocketAddr) {
    bootstrap.add_cluster(STORM_CLUSTER, at);
    let endpoint = &mut bootstrap.cluster(STORM_CLUSTER)["load_assignment"]["endpoints"][0];
    let says = &mut endpoint["lb_endpoints"][0]["metadata"]["filter_metadata"]["canary"];
    *says = json!({"version": LABELS[0], "role": "canary"});
    let routes = &bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    let mut route = routes[0].clone();
    route["name"] = "storm".into();
    route["match"]["headers"][0]["string_match"]["exact"] = STORM_CLUSTER.into();
    route["match"]["runtime_fraction"]["runtime_key"] = "canary.storm.enabled".into();
    route["route"]["cluster"] = STORM_CLUSTER.into();
    bootstrap.add_route(route);
    // So that what clients saw, and when, is what the filter saw.
    bootstrap.close_at_once();
}
