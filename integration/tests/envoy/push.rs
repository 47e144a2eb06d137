//! A pushed configuration, by ECDS and by LDS: no request fails, what the workers share stays, what
//! is under way ends by the old rules, and a bad one changes nothing.

use std::time::{Duration, Instant};

use canary_integration::{
    ClientRequest, Load, LoadTally, RecordedRequest, Rig, Running, RunningLoad, TestUpstream,
};
use hyper::body::Bytes;
use serde_json::{Value, json};

/// By ECDS as shipped, and with the filter in a listener that comes by LDS.
fn both() -> [Rig; 2] {
    [Rig::new(), Rig::new().listener_by_file()]
}

fn call_canary(config: &mut Value, version: &str) {
    config["rollouts"][0]["canary"]["version"] = version.into();
}

/// Steady traffic that must not notice anything.
fn steady(rig: &Running) -> RunningLoad {
    rig.load(Load::ENDLESS).concurrency(16).rate(600.0).spawn()
}

fn all_answered(tally: &LoadTally, least: u64) {
    assert_eq!(tally.with_status(200), tally.requests(), "{tally:?}");
    assert!(tally.requests() > least, "too little traffic to tell: {tally:?}");
}

#[tokio::test]
async fn no_request_fails_while_configurations_change() {
    for rig in both() {
        let mut rig = rig.weight(100.0).start().await;
        let traffic = steady(&rig);
        for version in ["1.2.0", "1.3.0", "1.4.0", "1.5.0"] {
            rig.push_config(|config| call_canary(config, version));
            rig.all_go_to(version).await;
        }
        rig.polled(2).await;
        all_answered(&traffic.stop().await, 400);
        // Nothing is lost of what was counted under any of them.
        rig.counted(rig.canary().seen() + rig.stable().seen()).await;
        assert_eq!(rig.stat("filter.config_rejected").await, 0);
    }
}

/// The weight that `get` shows as in force.
async fn shown_in_force(rig: &Running) -> Option<f64> {
    let output = rig.canaryctl(&["get", "rollout", "demo", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rollout: Value = serde_json::from_slice(&output.stdout).unwrap();
    rollout["weight"]["in_force"].as_f64()
}

/// After a rollout is Healthy, Envoy's admin layer keeps weight 100 for its version. The next canary
/// that is pushed gets nothing until a weight is set for it.
#[tokio::test]
async fn the_next_canary_does_not_start_at_its_predecessors_weight() {
    for rig in both() {
        let mut rig = rig.start().await;
        rig.runtime_modify(&[("canary.demo.weight", "100@1.1.0")]).await;
        rig.all_go_to("1.1.0").await;
        let before = rig.canary().seen();
        rig.push_config(|config| call_canary(config, "1.2.0"));
        rig.weight_in_force(0).await;
        rig.polled(2).await;
        assert_eq!(rig.load(200).await.of_version("1.0.0"), 200);
        assert_eq!(shown_in_force(&rig).await, Some(0.0));
        let said = "weight of rollout demo is set for version 1.1.0, but the canary is 1.2.0";
        rig.eventually(said, async || rig.logs(), |log| log.contains(said)).await;
        rig.runtime_modify(&[("canary.demo.weight", "100@1.2.0")]).await;
        rig.all_go_to("1.2.0").await;
        // A weight without a version holds for any, as ever.
        rig.runtime_modify(&[("canary.demo.weight", "100")]).await;
        rig.polled(2).await;
        assert_eq!(rig.load(20).await.of_version("1.2.0"), 20);
        assert!(rig.canary().seen() > before);
    }
}

/// What the runtime set, the lease, the clients that have failed and those that were seen, and the
/// counters: a push touches none of it. (That a tripped guard stays, the guard's own tests show.)
#[tokio::test]
async fn what_is_shared_and_counted_stays() {
    let by_user =
        |number: u64| ClientRequest::get("/").header("x-user-id", (number % 20).to_string());
    for rig in both() {
        let ill = TestUpstream::ok().failing(500);
        let rig = rig.stable(ill.clone()).canary(ill).unguarded().workers(1);
        let mut rig = rig.affinity(json!([{"header": "x-user-id"}])).start().await;
        let changes = [("canary.demo.weight", "50"), ("canary.demo.lease", "5:a")];
        rig.runtime_modify(&changes).await;
        rig.weight_in_force(500_000).await;
        rig.load(100).each(by_user).await;
        let clients = |stats: &canary_integration::FilterStats| {
            ["client_total", "client_failure", "client_first_failure"]
                .map(|metric| stats.metric_of("stable", metric) + stats.metric_of("canary", metric))
        };
        assert_eq!(clients(&rig.judged(100).await), [20; 3]);
        rig.push_config(|config| config["rollouts"][0]["weight"] = 7.0.into());
        rig.configured(2).await;
        assert_eq!(rig.stat("demo.weight_ppm").await, 500_000, "the runtime's weight holds on");
        rig.load(100).each(by_user).await;
        assert_eq!(clients(&rig.judged(200).await), [20; 3], "no client is new by a push");
        // The lease goes on as well, and ends when it would have.
        let expired = async || rig.stat("demo.lease_expired").await;
        rig.eventually("the lease's end", expired, |expired| *expired == 1).await;
    }
}

/// What was decided under a configuration is stamped, judged and counted by it.
#[tokio::test]
async fn requests_under_way_end_by_the_old_rules() {
    for rig in both() {
        let canary = TestUpstream::ok().script(|seen: &RecordedRequest| {
            seen.path.starts_with("/404").then(|| (404, Bytes::new()))
        });
        let mut rig = rig.canary(canary).unguarded().weight(100.0).start().await;
        let latency = |rig: &Running, milliseconds| {
            rig.canary().change(|behavior| behavior.latency = Duration::from_millis(milliseconds));
        };
        latency(&rig, 2_500);
        let old = rig.load(20).concurrency(20).each(|_| ClientRequest::get("/404")).spawn();
        rig.eventually("twenty under way", async || rig.canary().seen(), |seen| *seen == 20).await;
        latency(&rig, 0);
        rig.push_config(|config| {
            call_canary(config, "1.2.0");
            config["rollouts"][0]["failure"] = json!({"http": ["404"]});
        });
        rig.all_go_to("1.2.0").await;
        let before = rig.canary().seen() - 20 + rig.stable().seen();
        let new = rig.load(30).each(|_| ClientRequest::get("/404")).await;
        assert_eq!((new.of_version("1.2.0"), new.with_status(404)), (30, 30), "{new:?}");
        assert!(
            rig.stats().await.value("demo.canary.1.1.0.rq_4xx") == 0,
            "they are still under way"
        );
        let old = old.finished().await;
        assert_eq!((old.of_version("1.1.0"), old.with_status(404)), (20, 20), "{old:?}");
        let stats = rig.counted(before + 50).await;
        let value = |name: &str| stats.value(&format!("demo.canary.{name}"));
        assert_eq!((value("1.1.0.rq_4xx"), value("1.1.0.rq_failure")), (20, 0));
        assert_eq!((value("1.2.0.rq_4xx"), value("1.2.0.rq_failure")), (30, 30));
    }
}

/// While requests still run under a configuration, Envoy takes it up again where it comes back,
/// without a word to the filter: it must go on polling.
#[tokio::test]
async fn a_configuration_that_comes_back_while_its_requests_run_goes_on() {
    for rig in both() {
        let mut rig = rig.weight(100.0).start().await;
        rig.canary().change(|behavior| behavior.latency = Duration::from_secs(5));
        let slow = rig.load(16).concurrency(16).spawn();
        rig.eventually("sixteen under way", async || rig.canary().seen(), |seen| *seen == 16).await;
        rig.canary().change(|behavior| behavior.latency = Duration::ZERO);
        rig.push_config(|config| call_canary(config, "1.2.0"));
        rig.all_go_to("1.2.0").await;
        rig.push_config(|config| call_canary(config, "1.1.0"));
        rig.all_go_to("1.1.0").await;
        rig.polled(2).await;
        rig.runtime_modify(&[("canary.demo.weight", "0")]).await;
        rig.all_go_to("1.0.0").await;
        rig.weight_in_force(0).await;
        let tally = slow.finished().await;
        assert_eq!((tally.of_version("1.1.0"), tally.with_status(200)), (16, 16), "{tally:?}");
    }
}

/// And so it must when the one in between has ended.
#[tokio::test]
async fn a_configuration_that_came_back_outlives_the_one_in_between() {
    let mut rig = Rig::new().listener_by_file().drain_seconds(2).weight(100.0).start().await;
    for version in ["1.2.0", "1.1.0"] {
        rig.push_config(|config| call_canary(config, version));
        rig.all_go_to(version).await;
    }
    let draining = async || {
        let stats = rig
            .admin()
            .json("/stats?filter=total_listeners_draining|total_filter_chains_draining&format=json")
            .await;
        let stats = stats["stats"].as_array().unwrap().clone();
        stats.iter().map(|stat| stat["value"].as_u64().unwrap()).sum::<u64>()
    };
    rig.eventually("nothing drains any more", draining, |draining| *draining == 0).await;
    rig.polled(2).await;
    rig.runtime_modify(&[("canary.demo.weight", "0")]).await;
    rig.all_go_to("1.0.0").await;
    rig.weight_in_force(0).await;
}

/// Rollouts come and go; one that comes back finds what was in force for it.
#[tokio::test]
async fn rollouts_come_and_go() {
    let second = |config: &mut Value| {
        let mut rollout = config["rollouts"][0].clone();
        rollout["name"] = "second".into();
        rollout["match"] = json!({"path_prefixes": ["/second"]});
        rollout["canary"]["version"] = "2.0.0".into();
        config["rollouts"].as_array_mut().unwrap().insert(0, rollout);
    };
    for rig in both() {
        let mut rig = rig.weight(100.0).start().await;
        rig.runtime_modify(&[("canary.second.weight", "0")]).await;
        let traffic = steady(&rig);
        rig.push_config(second);
        let weight = async || rig.stats().await.values.get("second.weight_ppm").copied();
        rig.eventually("the second rollout's weight", weight, |ppm| *ppm == Some(0)).await;
        let on_second = async || rig.get("/second").await.version().map(str::to_owned);
        let is =
            |version: &'static str| move |found: &Option<String>| found.as_deref() == Some(version);
        rig.eventually("it is on stable", on_second, is("1.0.0")).await;
        rig.push_config(|config| {
            config["rollouts"].as_array_mut().unwrap().remove(0);
        });
        let on_second = async || rig.get("/second").await.version().map(str::to_owned);
        rig.eventually("it is gone", on_second, is("1.1.0")).await;
        rig.push_config(second);
        let on_second = async || rig.get("/second").await.version().map(str::to_owned);
        rig.eventually("it is back on stable", on_second, is("1.0.0")).await;
        rig.polled(2).await;
        all_answered(&traffic.stop().await, 30);
    }
}

#[tokio::test]
async fn a_bad_push_is_refused_with_its_path_and_the_last_good_one_stays() {
    for rig in both() {
        let mut rig = rig.weight(100.0).start().await;
        let traffic = steady(&rig);
        let good = rig.configuration();
        for (number, (path, change)) in bad().into_iter().enumerate() {
            rig.push_config(change);
            let said = format!("canary: configuration refused: {path}");
            rig.eventually(&said, async || rig.logs(), |log| log.contains(&said)).await;
            let rejected = async || rig.stat("filter.config_rejected").await;
            let least = number as u64 + 1;
            rig.eventually("it is counted", rejected, |rejected| *rejected >= least).await;
            rig.push_config(|config| config.clone_from(&good));
        }
        assert_eq!(
            rig.load(100).concurrency(32).await.of_version("1.1.0"),
            100,
            "the last good one"
        );
        rig.push_config(|config| call_canary(config, "1.2.0"));
        rig.all_go_to("1.2.0").await;
        rig.polled(2).await;
        all_answered(&traffic.stop().await, 30);
    }
}

type ConfigChange = fn(&mut Value);

/// What is wrong, and where.
fn bad() -> [(&'static str, ConfigChange); 5] {
    [
        ("rollouts[0].wieght: unknown field", |config| config["rollouts"][0]["wieght"] = 5.into()),
        ("rollouts[0].weight: ", |config| config["rollouts"][0]["weight"] = 101.into()),
        ("rollouts[0].canary.version: must differ from stable's version", |config| {
            config["rollouts"][0]["canary"]["version"] = "1.0.0".into();
        }),
        ("rollouts[1].name: duplicate entry: another rollout is named `demo`", |config| {
            let again = config["rollouts"][0].clone();
            config["rollouts"].as_array_mut().unwrap().push(again);
        }),
        ("runtime.interval: expected a duration", |config| {
            config["runtime"] = json!({"interval": "soon"});
        }),
    ]
}

/// How often Envoy has said that it can't take a module.
fn complaints(rig: &Running) -> usize {
    let log = rig.logs();
    ["Invalid path", "Failed to load Wasm", "Unable to create Wasm"]
        .map(|complaint| log.matches(complaint).count())
        .iter()
        .sum()
}

/// What isn't even a plugin: a file that isn't a resource, a module that is missing or isn't one.
#[tokio::test]
async fn a_broken_resource_or_module_leaves_the_last_good_one() {
    for rig in both() {
        let mut rig = rig.weight(100.0).start().await;
        let corrupt = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(corrupt.path(), b"\0asm\x01\0\0\0 and then nothing sensible").unwrap();
        let traffic = steady(&rig);
        rig.push_text("{\"resources\": [");
        rig.eventually("Envoy says so", async || rig.logs(), |log| log.contains("JSON")).await;
        let good = canary_integration::artifacts::filter();
        for module in ["/nowhere/canary_filter.wasm".as_ref(), corrupt.path()] {
            let before = complaints(&rig);
            rig.push_plugin(|plugin| plugin.code(module));
            rig.eventually("Envoy refuses it", async || complaints(&rig), |now| *now > before)
                .await;
        }
        assert_eq!(
            rig.load(100).concurrency(32).await.of_version("1.1.0"),
            100,
            "the last good one"
        );
        rig.push_plugin(|plugin| {
            plugin.code(&good);
            call_canary(plugin.configuration(), "1.2.0");
        });
        rig.all_go_to("1.2.0").await;
        all_answered(&traffic.stop().await, 30);
    }
}

/// How often a second Envoy's threads wake up, over two seconds.
async fn wake_ups(rig: &Running) -> f64 {
    let tasks = format!("/proc/{}/task", rig.envoy_pid().unwrap());
    let waits = || {
        let status = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default()
        };
        let waits = |status: String| {
            let lines =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            lines.map_or(0.0, |count| count.trim().parse().unwrap())
        };
        std::fs::read_dir(&tasks).unwrap().map(status).map(waits).sum::<f64>()
    };
    let (first, begin) = (waits(), Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    (waits() - first) / begin.elapsed().as_secs_f64()
}

/// Envoy goes on firing the timer of a configuration that it has replaced, unless the filter stops it.
#[tokio::test]
async fn replaced_configurations_leave_no_timer_behind() {
    let mut rig = Rig::new().start().await;
    rig.polled(2).await;
    let before = wake_ups(&rig).await;
    assert!(before > 10.0, "workers tick, but only {before} wake-ups a second are seen");
    for number in 0..40 {
        rig.push_config(|config| call_canary(config, &format!("1.2.{number}")));
        rig.configured(number + 2).await;
    }
    let after = wake_ups(&rig).await;
    assert!(after < before * 2.0, "{before} wake-ups a second, and {after} after 40 pushes");
}
