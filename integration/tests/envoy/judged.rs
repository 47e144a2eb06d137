//! What the judge reads: requests at the age `outcome_age`, the weight's generations, and versions that
//! the runtime names.

use std::time::{Duration, Instant};

use canary_dataplane::cohort::KeyHash;
use canary_integration::{ClientRequest, FilterStats, RecordedRequest, Rig, Running, TestUpstream};
use canary_model::weight::Weight;
use hyper::body::Bytes;
use serde_json::{Value, json};

fn after(age: &'static str) -> impl FnOnce(&mut Value) {
    move |rollout| rollout["outcome_age"] = age.into()
}

/// These counters, over both roles.
fn sums<const N: usize>(stats: &FilterStats, metrics: [&str; N]) -> [u64; N] {
    metrics.map(|metric| stats.metric_of("stable", metric) + stats.metric_of("canary", metric))
}

/// Fails what is asked for under `/fail`.
fn by_path() -> TestUpstream {
    TestUpstream::ok().script(|seen: &RecordedRequest| {
        seen.path.starts_with("/fail").then(|| (500, Bytes::new()))
    })
}

/// Sets the latency of both versions.
fn latency(rig: &Running, milliseconds: u64) {
    for server in [rig.stable(), rig.canary()] {
        server.change(|behavior| behavior.latency = Duration::from_millis(milliseconds));
    }
}

#[tokio::test]
async fn what_ends_at_once_is_judged_at_its_age() {
    let rig = Rig::new().stable(by_path()).canary(by_path()).unguarded().weight(50.0);
    let rig = rig.rollout(after("2s500ms")).start().await;
    let shown = async || rig.stat("demo.outcome_age_seconds").await;
    rig.eventually("the age, rounded up", shown, |age| *age == 3).await;
    let began = Instant::now();
    let tally = rig
        .load(100)
        .each(|number| ClientRequest::get(if number % 4 == 0 { "/fail" } else { "/" }));
    assert_eq!(tally.await.with_status(500), 25);
    let counted = rig.counted(100).await;
    assert_eq!(sums(&counted, ["rq_failure", "assigned_total"]), [25, 100], "at once");
    let judged = rig.judged(100).await;
    assert!(began.elapsed() >= Duration::from_millis(2_500), "{:?}", began.elapsed());
    for role in ["stable", "canary"] {
        let of = |metric| judged.metric_of(role, metric);
        assert_eq!([of("judged_total"), of("judged_failure")], [of("rq_total"), of("rq_failure")]);
        assert_eq!((of("assigned_total"), of("judged_unanswered")), (of("rq_total"), 0));
    }
}

/// The canary's failures come after the age: they are shown, but not judged. Neither is a request whose
/// client left.
#[tokio::test]
async fn what_has_no_answer_at_its_age_is_unanswered_for_good() {
    let rig = Rig::new().canary(TestUpstream::ok().failing(503)).unguarded().weight(100.0);
    let rig = rig.start().await;
    latency(&rig, 3_000);
    let late = rig.load(10).concurrency(10).spawn();
    let judged = rig.judged(10).await;
    assert_eq!(sums(&judged, ["judged_unanswered", "judged_total", "rq_total"]), [10, 0, 0]);
    assert_eq!(late.finished().await.with_status(503), 10);
    let stats = rig.counted(10).await;
    assert_eq!(sums(&stats, ["rq_failure", "judged_failure", "judged_total"]), [10, 0, 0]);
    latency(&rig, 0);
    rig.load(10).await;
    let stats = rig.judged(20).await;
    assert_eq!(sums(&stats, ["judged_unanswered", "judged_total", "judged_failure"]), [10; 3]);
}

/// The weight rises and falls while requests of the old one are under way: totals and failures stay
/// those of the same requests, and times count only within one weight.
#[tokio::test]
async fn a_change_of_weight_moves_no_count_to_another_request() {
    let rig = Rig::new().canary(TestUpstream::ok().failing(500)).unguarded();
    let rig = rig.rollout(after("3s")).start().await;
    let mut sent = 0;
    for (weight, times) in [("50", 0), ("90", 0), ("90", 20), ("10", 0)] {
        let before = rig.stats().await;
        latency(&rig, 1_500);
        let seen = rig.stable().seen() + rig.canary().seen();
        let under_way = rig.load(20).concurrency(20).spawn();
        let all = async || rig.stable().seen() + rig.canary().seen() - seen;
        rig.eventually("all are under way", all, |seen| *seen == 20).await;
        latency(&rig, 0);
        rig.runtime_modify(&[("canary.demo.weight", weight), ("canary.demo.lease", "")]).await;
        rig.polled(3).await;
        under_way.finished().await;
        sent += 20;
        let samples = async || {
            let stats = rig.counted(sent).await;
            ["stable", "canary"]
                .map(|role| stats.samples(role, "rq_time_us") - before.samples(role, "rq_time_us"))
        };
        let shown = rig.eventually("times", samples, |now| now[0] + now[1] == times).await;
        assert_eq!(shown.iter().sum::<u64>(), times, "{weight}");
    }
    let stats = rig.judged(sent).await;
    let canary = ["judged_total", "judged_failure", "assigned_total"];
    let [total, failure, assigned] = canary.map(|metric| stats.metric_of("canary", metric));
    assert!(total > 0 && total == failure && total == assigned, "{stats:?}");
    assert_eq!(stats.metric_of("stable", "judged_failure"), 0);
    assert_eq!(stats.metric_of("stable", "judged_total"), sent - total);
}

/// What the runtime says of the versions, and what the rollout then does.
fn relabeled<'a>(stable: &'a str, canary: &'a str, weight: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("canary.demo.stable_version", stable),
        ("canary.demo.canary_version", canary),
        ("canary.demo.weight", weight),
        ("canary.demo.window", "1"),
    ]
}

/// Headers, statistics, the weight's version and the default salt follow the runtime; a request that is
/// under way keeps the labels that it began under.
#[tokio::test]
async fn versions_of_the_runtime_apply_to_headers_statistics_weight_and_salt() {
    let rig = Rig::new().affinity(json!([{"header": "x-user-id"}])).unguarded();
    let rig = rig.rollout(|rollout| rollout["propagate"] = true.into()).start().await;
    rig.runtime_modify(&[("canary.demo.weight", "100@1.1.0")]).await;
    rig.all_go_to("1.1.0").await;
    latency(&rig, 1_500);
    let before = rig.canary().seen();
    let old = rig.load(5).concurrency(5).spawn();
    let under_way = async || rig.canary().seen() - before;
    rig.eventually("five are under way", under_way, |seen| *seen == 5).await;
    latency(&rig, 0);
    rig.runtime_modify(&relabeled("1.0.0=1.1.0", "1.1.0=1.2.0", "50@1.2.0")).await;
    rig.weight_in_force(500_000).await;
    let expected = |user: u64| {
        let key = KeyHash::new("demo/1.2.0", format!("user-{user}").as_bytes());
        key.bucket().on_canary(Weight::parse_percent("50").unwrap())
    };
    let mut client = rig.client();
    for user in 0..40 {
        let ask = ClientRequest::get("/").header("x-user-id", format!("user-{user}"));
        let answer = client.send(ask).await.unwrap();
        let version = if expected(user) { "1.2.0" } else { "1.1.0" };
        assert_eq!(answer.version(), Some(version), "{user}");
    }
    let told = |requests: Vec<RecordedRequest>, version: &str| {
        requests.last().unwrap().headers["x-canary-version"] == *version
    };
    assert!(told(rig.stable().requests(), "1.1.0") && told(rig.canary().requests(), "1.2.0"));
    assert_eq!(old.finished().await.of_version("1.1.0"), 5, "as they began");
    let on_canary = (0..40).filter(|user| expected(*user)).count() as u64;
    let stats = async || {
        let stats = rig.stats().await;
        ["canary.1.2.0.judged_total", "stable.1.1.0.judged_total", "canary.1.2.0.client_total"]
            .map(|name| stats.value(&format!("demo.{name}")))
    };
    let judged = [on_canary, 40 - on_canary, on_canary];
    rig.eventually("judged by its label", stats, |now| *now == judged).await;
    // A label for another configured version doesn't count, and neither does what is no label.
    rig.runtime_modify(&relabeled("0.9=3", "1.2.0", "100@1.2.0")).await;
    rig.all_go_to("1.2.0").await;
    let invalid = async || rig.stat("filter.invalid_runtime").await;
    rig.eventually("what is no label is counted", invalid, |count| *count == 1).await;
    rig.runtime_modify(&relabeled("", "", "0")).await;
    rig.all_go_to("1.0.0").await;
}

/// Names of statistics are never freed, so there is a limit. Headers name the version all the same.
#[tokio::test]
async fn the_thirty_third_version_of_a_role_is_counted_as_other() {
    let rig = Rig::new().config(|config| config["runtime"]["interval"] = "20ms".into());
    let rig = rig.workers(2).start().await;
    for version in 2..=34 {
        let label = format!("1.0.0=v{version}");
        rig.runtime_modify(&[("canary.demo.stable_version", &label)]).await;
        rig.all_go_to(&format!("v{version}")).await;
    }
    let own = async || {
        let stats = rig.stats().await;
        ["v32", "v33", "v34", "other"]
            .map(|version| stats.value(&format!("demo.stable.{version}.rq_total")))
    };
    let counted = |now: &[u64; 4]| now[0] >= 32 && now[1..3] == [0, 0] && now[3] >= 64;
    rig.eventually("the last two are others", own, counted).await;
}
