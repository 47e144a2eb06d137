//! A rollout with affinity: the controller sets windows, and clients are judged, not requests.

use canary_integration::{ClientRequest, Load, Rig, Running, RunningLoad};
use serde_json::json;

use super::{ControllerFolder, text};

const KEYED: &str = "\
rollout: demo
lease: 3s
steps:
  - setWeight: 20
  - pause: {duration: 2s}
  - setWeight: 50
  - pause: {duration: 2s}
analysis:
  metrics:
    - {name: failures, kind: failureRate, margin: 1%}
";

async fn rig() -> Running {
    Rig::new().unguarded().affinity(json!([{"header": "x-user-id"}])).start().await
}

/// Clients that come again and again, and always new ones among them.
fn visitors(rig: &Running) -> RunningLoad {
    let ask = |n: u64| {
        let user = if n.is_multiple_of(3) {
            format!("regular-{}", n % 50)
        } else {
            format!("user-{}", n / 2)
        };
        ClientRequest::get("/").header("x-user-id", &user)
    };
    rig.load(Load::ENDLESS).rate(250.0).each(ask).spawn()
}

#[tokio::test]
async fn a_good_version_passes_and_each_step_is_a_window() {
    let (rig, place) = (rig().await, ControllerFolder::with(KEYED));
    let traffic = visitors(&rig);
    let run = place.run(&rig).await;
    traffic.stop().await;
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    let lines = place.observations();
    assert!(lines.iter().all(|line| line["keyed"] == true), "{lines:?}");
    let mut windows: Vec<u64> = lines.iter().filter_map(|line| line["window"].as_u64()).collect();
    windows.dedup();
    assert!(windows.len() >= 2 && windows.is_sorted(), "a window for each step: {windows:?}");
    let sum = |field: &str| -> u64 {
        lines.iter().filter_map(|line| line["canary"]["clients"][field].as_u64()).sum()
    };
    let requests: u64 = lines.iter().filter_map(|line| line["canary"]["total"].as_u64()).sum();
    assert!(
        sum("total") > 50 && sum("total") < requests,
        "{} clients, {requests} requests",
        sum("total")
    );
    assert_eq!(sum("failure"), 0);
}

#[tokio::test]
async fn a_bad_version_is_rolled_back_on_its_clients() {
    let (rig, place) = (rig().await, ControllerFolder::with(KEYED));
    rig.canary().change(|behavior| behavior.errors = 0.3);
    let traffic = visitors(&rig);
    let run = place.run(&rig).await;
    traffic.stop().await;
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    assert!(text(&run).contains("rolling back to stable: failures"), "{}", text(&run));
    assert!(text(&run).contains("clients"), "{}", text(&run));
    rig.all_go_to("1.0.0").await;
}
