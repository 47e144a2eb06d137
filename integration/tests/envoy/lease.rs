//! The lease: a weight that isn't renewed ends by itself.

use std::time::Duration;

use canary_integration::Rig;

#[tokio::test]
async fn a_lease_that_runs_out_leaves_stable() {
    let rig = Rig::new().start().await;
    rig.runtime_modify(&[("canary.demo.weight", "100"), ("canary.demo.lease", "2:a")]).await;
    rig.all_go_to("1.1.0").await;
    rig.all_go_to("1.0.0").await;
    rig.weight_in_force(0).await;
    rig.eventually(
        "the expiry is shown",
        async || rig.stat("demo.lease_expired").await,
        |shown| *shown == 1,
    )
    .await;
    // The same text again doesn't renew it.
    rig.runtime_modify(&[("canary.demo.lease", "2:a")]).await;
    rig.polled(3).await;
    assert_eq!(rig.get("/").await.version(), Some("1.0.0"));
    // A new nonce is, and no lease at all is none that could end.
    rig.runtime_modify(&[("canary.demo.lease", "60:b")]).await;
    rig.all_go_to("1.1.0").await;
    rig.eventually(
        "and so is its end",
        async || rig.stat("demo.lease_expired").await,
        |shown| *shown == 0,
    )
    .await;
    rig.runtime_modify(&[("canary.demo.lease", "2:c")]).await;
    rig.all_go_to("1.0.0").await;
    rig.runtime_modify(&[("canary.demo.lease", "")]).await;
    rig.all_go_to("1.1.0").await;
}

#[tokio::test]
async fn a_lease_that_is_renewed_holds() {
    let rig = Rig::new().start().await;
    rig.runtime_modify(&[("canary.demo.weight", "100"), ("canary.demo.lease", "2:0")]).await;
    rig.all_go_to("1.1.0").await;
    for nonce in 1..=8 {
        rig.runtime_modify(&[("canary.demo.lease", &format!("2:{nonce}"))]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let tally = rig.load(20).await;
        assert_eq!(tally.of_version("1.1.0"), 20, "renewed {nonce} times: {tally:?}");
    }
}
