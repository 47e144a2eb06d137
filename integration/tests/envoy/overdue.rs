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

/// Without `outcome_age`, the judge looks five seconds after the latest deadline, or after Envoy's own
/// timeout of 15 s.
#[tokio::test]
async fn the_default_age_of_outcomes_follows_the_deadlines() {
    let mut rig = Rig::new().reading_bodies().start().await;
    for (rule, seconds) in [
        (json!({"answer": "30s"}), 35),
        (json!({"answer": "30s", "first_byte": "40s"}), 45),
        (json!({"answer": "5s"}), 20),
        (json!({"idle": "60s"}), 20),
    ] {
        rig.push_config(|config| {
            let rollout = config["rollouts"][0].as_object_mut().unwrap();
            rollout.remove("outcome_age");
            rollout.insert("failure".to_owned(), json!({"overdue": rule}));
        });
        let probe = async || rig.stat("demo.outcome_age_seconds").await;
        rig.eventually("the age of outcomes", probe, |age| *age == seconds).await;
    }
}

/// A request that is held for its body has no deadline, however long that takes. Once it has ended and
/// gone on to its version, its deadline runs; its time runs from its headers.
#[tokio::test]
async fn a_request_that_was_held_is_overdue_after_its_end() {
    let rig = Rig::new().reading_bodies().unguarded().weight(100.0).canary(hanging());
    let rig = rig.rollout(|rollout| {
        rollout["match"] = json!({"request_json": {"pointer": "/model", "values": ["a"]}});
        rollout["failure"] = json!({"overdue": {"answer": "300ms"}});
    });
    let rig = rig.start().await;
    let (early, late) = ("{\"x\": 1, ", "\"model\": \"a\"}");
    let length = early.len() + late.len();
    let mut upload = rig.dial().await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    upload.write_all(format!("{head}{early}").as_bytes()).await.unwrap();
    // Longer than the deadline, shorter than a request is held.
    tokio::time::sleep(Duration::from_millis(550)).await;
    assert_eq!(of(&rig, "canary", COUNTS).await, [0; 4], "held");
    upload.write_all(late.as_bytes()).await.unwrap();
    counts(&rig, [1, 1, 1, 0]).await;
    let times = rig.stats().await.bins("canary", "rq_time_us");
    assert!(times.iter().all(|bin| bin.lower >= 0.8e6) && !times.is_empty(), "{times:?}");
    drop(upload);
}
