//! A restart of Envoy: what was pushed at run time ends with the process.

use canary_integration::Rig;

#[tokio::test]
async fn after_a_restart_the_configured_weight_holds_until_a_new_one_is_set() {
    let mut rig = Rig::new().weight(0.0).start().await;
    rig.runtime_modify(&[("canary.demo.weight", "100"), ("canary.demo.lease", "60:a")]).await;
    rig.all_go_to("1.1.0").await;
    rig.restart().await;
    let tally = rig.load(100).await;
    assert_eq!((tally.of_version("1.0.0"), tally.with_status(200)), (100, 100), "{tally:?}");
    let stats = rig.counted(100).await;
    assert_eq!(stats.metric_of("canary", "rq_total"), 0, "counters start again at zero");
    rig.runtime_modify(&[("canary.demo.weight", "100")]).await;
    rig.all_go_to("1.1.0").await;
}
