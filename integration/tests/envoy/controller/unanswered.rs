//! Clients that leave before a version answers say nothing about it: it is never certified.

use std::time::Duration;

use canary_integration::{Fault, Rig, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{ControllerFolder, text};

const CONFIDENT: &str = "\
rollout: demo
lease: 3s
steps:
  - setWeight: 50
  - pause: {untilConfident: true, timeout: 1h}
analysis:
  metrics:
    - {name: failures, kind: failureRate, margin: 10%}
";
/// How long the rollout may take to certify a version; a good one takes a few seconds.
const WATCHED: Duration = Duration::from_secs(25);

/// Clients that wait for an answer for 100 ms and then leave.
fn impatient(rig: &Running) -> JoinSet<()> {
    let (at, mut clients) = (rig.address(), JoinSet::new());
    for _ in 0..12 {
        clients.spawn(async move {
            loop {
                let mut stream = TcpStream::connect(at).await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let mut bytes = [0; 1_000];
                let answer = stream.read(&mut bytes);
                let _ = tokio::time::timeout(Duration::from_millis(100), answer).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    clients
}

#[tokio::test]
async fn a_version_that_never_answers_is_never_certified() {
    for hangs in [false, true] {
        let (rig, place) = (Rig::new().start().await, ControllerFolder::with(CONFIDENT));
        if hangs {
            rig.canary().change(|behavior| behavior.fault = Fault::Hang);
        }
        let clients = impatient(&rig);
        let run = tokio::time::timeout(WATCHED, place.run(&rig)).await;
        match run {
            Ok(run) => {
                assert!(!hangs, "certified without an answer: {}", text(&run));
                assert_eq!(run.status.code(), Some(0), "{}", text(&run));
            }
            Err(_) => {
                assert!(hangs, "a good version is certified in {WATCHED:?}");
                assert!(rig.canary().seen() > 100, "{}", rig.canary().seen());
            }
        }
        drop(clients);
    }
}
