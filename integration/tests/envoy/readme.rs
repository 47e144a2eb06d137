//! The README's chapter on streaming model servers, with its own words: the routes carry a stream
//! that the default would cut, the filter takes the configuration, and what the table says of each
//! way to fail is what is counted.

use std::sync::Arc;
use std::time::Duration;

use canary_integration::{Bootstrap, ClientRequest, RawAnswer, Rig, TestUpstream, artifacts};
use hyper::Method;
use serde_json::{Value, json};

use crate::protocols::canary;

/// The chapter's blocks of this kind.
fn blocks(kind: &str) -> Vec<String> {
    let document = std::fs::read_to_string(artifacts::root().join("README.md")).unwrap();
    let chapter = document.split("## Canary for a streaming model server").nth(1).unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let fence = format!("```{kind}\n");
    let blocks = chapter.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn routes() -> Value {
    let block = blocks("yaml").into_iter().find(|block| block.starts_with("routes:")).unwrap();
    serde_saphyr::from_str::<Value>(&block).unwrap()["routes"].clone()
}

/// The chapter's rollout, at the shipped clusters, with deadlines that a test can wait for.
fn rollout(rollout: &mut Value) {
    let documented: Value = serde_json::from_str(&blocks("json")[0]).unwrap();
    *rollout = documented["rollouts"][0].clone();
    rollout["name"] = "demo".into();
    for role in ["stable", "canary"] {
        rollout[role]["cluster"] = format!("demo-{role}").into();
    }
    rollout["failure"]["overdue"] = json!({"first_byte": "1s", "idle": "1s"});
    rollout["outcome_age"] = "3s".into();
    rollout["guard"] = json!({"enabled": false});
    rollout["weight"] = 100.into();
}

fn chat_routes(bootstrap: &mut Bootstrap) {
    for route in routes().as_array().unwrap().iter().rev() {
        let text =
            route.to_string().replace("chat-", "demo-").replace("canary.chat", "canary.demo");
        bootstrap.add_route(serde_json::from_str(&text).unwrap());
    }
}

const ROLE: &str =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n";
const TOKEN: &str =
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// An answer by the path's query: whole, or failing as the table has it.
fn server() -> TestUpstream {
    TestUpstream::ok().with(|behavior| {
        behavior.raw = Some(Arc::new(|seen| {
            let begun = |chunks: &[&str]| RawAnswer::events(chunks, Duration::ZERO);
            Some(match seen.path.split('?').nth(1).unwrap_or_default() {
                "error" => {
                    begun(&["data: {\"error\":{\"message\":\"no memory\"}}\n\n", DONE]).end()
                }
                "silent" => begun(&[ROLE]).hang(),
                "stalls" => begun(&[ROLE, TOKEN]).hang(),
                "breaks" => begun(&[ROLE, TOKEN]).pause(Duration::from_millis(20)).close(),
                "ends" => begun(&[ROLE, TOKEN]).end(),
                "empty" => begun(&[DONE]).end(),
                "longer" => begun(&[&[ROLE, &TOKEN.repeat(100), STOP].concat(), DONE]).end(),
                _ => begun(&[ROLE, TOKEN, STOP, DONE]).end(),
            })
        }));
    })
}

#[tokio::test]
async fn the_table_of_the_streaming_chapter_is_what_is_counted() {
    let rig = Rig::new().reading_bodies().rollout(rollout).bootstrap(chat_routes);
    let rig = rig.canary(server()).start().await;
    let metrics = ["rq_failure", "rq_overdue", "rq_broken", "signal.finish.stop"];
    let mut sent = 0;
    for (how, expected) in [
        ("", [0, 0, 0, 1]),
        ("longer", [0, 0, 0, 1]),
        ("error", [1, 0, 0, 0]),
        ("silent", [1, 1, 0, 0]),
        ("stalls", [1, 1, 0, 0]),
        ("breaks", [1, 0, 1, 0]),
        ("ends", [1, 0, 1, 0]),
        ("empty", [1, 0, 0, 0]),
    ] {
        let before = canary(&rig, &metrics).await;
        let path = format!("/v1/chat/completions?{how}");
        let mut client = rig.client();
        let answer = client.begin(ClientRequest::new(Method::POST, &path)).await.unwrap();
        assert_eq!(answer.headers()["x-canary-version"], "2026-11", "{how}");
        sent += 1;
        rig.counted(sent).await;
        let after = canary(&rig, &metrics).await;
        let counted: Vec<u64> = after.iter().zip(&before).map(|(now, then)| now - then).collect();
        assert_eq!(counted, expected, "{how}");
        drop(answer);
    }
    let judged = async || canary(&rig, &["judged_total", "judged_failure"]).await;
    rig.eventually("all are judged", judged, |judged| judged[..] == [sent, 6]).await;
}
