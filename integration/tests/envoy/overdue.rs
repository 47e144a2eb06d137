//! Requests whose deadline passes: they fail at that moment, in both modules, whatever happens to them
//! later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use canary_integration::{
    ClientRequest, Fault, Latch, RawAnswer, Rig, Running, TestUpstream, artifacts,
};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::broken::{asks, modules};

const COUNTS: [&str; 4] = ["rq_total", "rq_failure", "rq_overdue", "rq_abandoned"];

fn hanging() -> TestUpstream {
    TestUpstream::ok().fault(Fault::Hang)
}

fn overdue(rule: Value) -> impl FnOnce(&mut Value) {
    move |rollout| rollout["failure"] = json!({"overdue": rule})
}

async fn of<const N: usize>(rig: &Running, role: &str, metrics: [&str; N]) -> [u64; N] {
    let stats = rig.stats().await;
    metrics.map(|metric| stats.metric_of(role, metric))
}

/// Waits until these are the canary's counts.
async fn counts(rig: &Running, expected: [u64; 4]) {
    let probe = async || of(rig, "canary", COUNTS).await;
    rig.eventually("the counts", probe, |counts| *counts == expected).await;
}

/// Sends requests in the background; they end when the set is dropped.
fn send(rig: &Running, asks: impl IntoIterator<Item = ClientRequest>) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for ask in asks {
        let mut client = rig.client();
        tasks.spawn(async move {
            let _answer = client.send(ask).await;
        });
    }
    tasks
}

#[tokio::test]
async fn a_request_without_an_answer_fails_at_its_deadline_by_every_protocol() {
    for module in modules() {
        let rig = Rig::new().unguarded().weight(100.0).wasm(&module).canary(hanging());
        let rig = rig.rollout(overdue(json!({"answer": "1s"}))).start().await;
        let open = send(&rig, asks("/"));
        counts(&rig, [3, 3, 3, 0]).await;
        let stats = rig.stats().await;
        assert_eq!(
            (1..=5).map(|class| stats.metric_of("canary", &format!("rq_{class}xx"))).sum::<u64>(),
            0
        );
        let times = stats.bins("canary", "rq_time_us");
        let in_time = |lower: f64| (0.9e6..=1.1e6).contains(&lower);
        assert!(times.iter().all(|bin| in_time(bin.lower)), "{times:?}");
        // Whatever happens to it later isn't counted.
        drop(open);
        rig.polled(3).await;
        counts(&rig, [3, 3, 3, 0]).await;
        assert_eq!(rig.stats().await.samples("canary", "rq_time_us"), 3);
    }
}

/// A canary that hangs trips the guard within a second of its deadline, while every client still waits.
#[tokio::test]
async fn a_hanging_canary_trips_the_guard_within_a_second_of_its_deadline() {
    for module in modules() {
        let rig = Rig::new().weight(50.0).wasm(&module).canary(hanging());
        let rig = rig.rollout(overdue(json!({"answer": "2s"}))).start().await;
        let began = Instant::now();
        let open = send(&rig, (0..80).map(|_| ClientRequest::get("/")));
        let sent = began.elapsed();
        let probe = async || rig.stat("demo.guard_tripped").await;
        rig.eventually("the guard's trip", probe, |tripped| *tripped == 1).await;
        let took = began.elapsed();
        assert!(took > Duration::from_secs(2) && took < sent + Duration::from_secs(3), "{took:?}");
        drop(open);
    }
}

/// A slow upload is the client's doing. Without body hooks, the Content-Length tells when it is over.
#[tokio::test]
async fn the_deadline_runs_from_the_end_of_the_request() {
    for module in modules() {
        let whole = artifacts::filter() == module;
        let rig = Rig::new().unguarded().weight(100.0).wasm(&module).canary(hanging());
        let rig = rig.rollout(overdue(json!({"answer": "500ms"}))).start().await;
        let mut upload = rig.dial().await;
        let head = b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345";
        upload.write_all(head).await.unwrap();
        let complete = ClientRequest::new(Method::POST, "/").body("0123456789");
        let open = send(&rig, [complete]);
        counts(&rig, [1, 1, 1, 0]).await;
        rig.polled(4).await;
        counts(&rig, [1, 1, 1, 0]).await;
        upload.write_all(b"67890").await.unwrap();
        if whole {
            counts(&rig, [2, 2, 2, 0]).await;
        } else {
            // It hadn't ended by its deadline, so it is judged by how it ends.
            drop(upload);
            counts(&rig, [2, 1, 1, 1]).await;
        }
        drop(open);
    }
}

/// A request that the kill switch sent to stable isn't counted, although only the route tells.
#[tokio::test]
async fn a_diverted_request_is_never_overdue() {
    let rig = Rig::new().unguarded().weight(100.0).stable(hanging()).canary(hanging());
    let rig = rig.rollout(overdue(json!({"answer": "500ms"}))).start().await;
    rig.runtime_modify(&[("canary.demo.enabled", "0")]).await;
    let diverted = send(&rig, [ClientRequest::get("/")]);
    let probe = async || rig.stable().seen();
    rig.eventually("stable has it", probe, |seen| *seen == 1).await;
    rig.runtime_modify(&[("canary.demo.enabled", "100")]).await;
    let hangs = send(&rig, [ClientRequest::get("/")]);
    counts(&rig, [1, 1, 1, 0]).await;
    assert_eq!(of(&rig, "stable", COUNTS).await, [0; 4]);
    drop((diverted, hangs));
}

/// The first byte of a body, and each further one, in the module with body hooks.
#[tokio::test]
async fn a_body_that_doesnt_come_or_stalls_fails_at_its_deadline() {
    let rig = Rig::new().unguarded().weight(100.0).reading_bodies();
    let rule = json!({"answer": "500ms", "first_byte": "1s", "idle": "1s"});
    let rig = rig.rollout(overdue(rule)).start().await;
    let latch = Latch::default();
    let answer = |answer: RawAnswer| {
        rig.canary()
            .change(|behavior| behavior.raw = Some(Arc::new(move |_| Some(answer.clone()))));
    };
    answer(RawAnswer::new(200).data("x").pause(Duration::from_millis(600)).data("y").end());
    rig.get("/").await;
    counts(&rig, [1, 0, 0, 0]).await;
    answer(RawAnswer::new(200).wait(&latch));
    let silent = send(&rig, [ClientRequest::get("/")]);
    counts(&rig, [2, 1, 1, 0]).await;
    answer(RawAnswer::new(200).data("x").wait(&latch));
    let stalled = send(&rig, [ClientRequest::get("/")]);
    counts(&rig, [3, 2, 2, 0]).await;
    drop((silent, stalled));
}

/// A request keeps the deadline of the configuration that it began under.
#[tokio::test]
async fn a_pushed_configuration_changes_no_deadline_that_runs() {
    let rig = Rig::new().unguarded().weight(100.0).canary(hanging());
    let mut rig = rig.rollout(overdue(json!({"answer": "3s"}))).start().await;
    let open = send(&rig, [ClientRequest::get("/")]);
    let probe = async || rig.canary().seen();
    rig.eventually("the canary has it", probe, |seen| *seen == 1).await;
    rig.push_config(|config| config["rollouts"][0]["failure"] = json!({}));
    rig.configured(2).await;
    counts(&rig, [1, 1, 1, 0]).await;
    drop(open);
}
