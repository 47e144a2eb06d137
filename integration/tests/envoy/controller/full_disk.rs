//! A journal on a full disk: the controller stops before it does what isn't written down, and the
//! lease brings the traffic back.

use std::time::Duration;

use canary_integration::{Load, Rig, wait_limit, within};
use tokio::process::Command;

use super::{ControllerFolder, artifacts, text};

const PATIENT: &str = "\
rollout: demo
lease: 2s
steps:
  - setWeight: 20
  - pause: {}
analysis:
  metrics:
    - {name: failures, kind: failureRate, margin: 1%}
";

#[tokio::test]
async fn a_full_disk_ends_the_controller_and_the_lease_ends_the_rollout() {
    let (rig, place) = (Rig::new().start().await, ControllerFolder::with(PATIENT));
    let traffic = rig.load(Load::ENDLESS).rate(100.0).spawn();
    // The system's limit on a file's size fails writes as a full disk does.
    let script = "trap '' XFSZ; ulimit -f 96; exec \"$0\" \"$@\"";
    let [file, journal] = ["rollout.yaml", "journal.jsonl"].map(|name| place.path(name));
    let mut limited = Command::new("sh");
    limited.args(["-c", script]).arg(artifacts::canaryctl()).arg("run").arg(file);
    limited.args(["--listen", "127.0.0.1:0", "--tick", "20ms", "--journal"]).arg(journal);
    limited.env("CANARYCTL_ENVOYS", rig.admin().address().to_string()).kill_on_drop(true);
    let run = tokio::time::timeout(wait_limit(Duration::from_secs(30)), limited.output());
    let run = run.await.expect("it stops by itself").unwrap();
    let said = text(&run);
    assert_eq!(run.status.code(), Some(4), "{said}");
    assert!(said.contains("step 1 of 1: weight 20 %"), "{said}");
    assert!(said.contains("can't write the journal") && said.contains("free some space"), "{said}");
    let probe = async || rig.stat("demo.weight_ppm").await;
    within(Duration::from_secs(5), "the lease runs out", probe, |ppm| *ppm == 0).await;
    rig.all_go_to("1.0.0").await;
    let tally = traffic.stop().await;
    assert_eq!(tally.with_status(200), tally.requests(), "no request failed: {tally:?}");
}
