//! The stamp: every response names the version that answered, once.

use canary_integration::{Bootstrap, ClientRequest, Fault, Rig, TestUpstream};
use hyper::Method;

#[tokio::test]
async fn every_kind_of_answer_is_stamped() {
    let statuses = |seen: &canary_integration::RecordedRequest| {
        seen.path.strip_prefix("/status/").map(|status| (status.parse().unwrap(), "".into()))
    };
    for (weight, version) in [(0.0, "1.0.0"), (100.0, "1.1.0")] {
        let upstream = TestUpstream::ok().script(statuses);
        let rig = Rig::new().stable(upstream.clone()).canary(upstream).weight(weight).start().await;
        for status in [200, 204, 301, 304, 404, 429, 500, 503] {
            for method in [Method::GET, Method::HEAD, Method::POST] {
                let ask = ClientRequest::new(method, &format!("/status/{status}"));
                for ask in [ask.clone(), ask.http2()] {
                    let answer = rig.request(ask).await;
                    assert_eq!((answer.status, answer.version()), (status, Some(version)));
                }
            }
        }
    }
}

/// An upstream can't claim to be another version: the filter's word replaces its own.
#[tokio::test]
async fn an_upstreams_own_stamp_is_replaced() {
    let liar =
        TestUpstream::ok().header("x-canary-version", "9.9.9").header("X-Canary-Version", "8.8.8");
    let rig = Rig::new().canary(liar).weight(100.0).start().await;
    assert_eq!(rig.get("/").await.version(), Some("1.1.0"));
}

#[tokio::test]
async fn envoys_local_replies_are_stamped() {
    let hasty = |bootstrap: &mut Bootstrap| {
        for route in [0, 1] {
            let routes =
                &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
            routes[route]["route"]["timeout"] = "0.2s".into();
        }
    };
    for (weight, version) in [(0.0, "1.0.0"), (100.0, "1.1.0")] {
        let rig = Rig::new()
            .stable(TestUpstream::down())
            .canary(TestUpstream::down())
            .weight(weight)
            .bootstrap(hasty);
        let mut rig = rig.start().await;
        let refused = rig.get("/").await;
        assert_eq!(
            (refused.status, refused.upstream(), refused.version()),
            (503, None, Some(version))
        );

        rig.stable_mut().up();
        rig.canary_mut().up();
        for (fault, status) in [(Fault::Reset, 503), (Fault::Hang, 504)] {
            rig.stable().change(|behavior| behavior.fault = fault);
            rig.canary().change(|behavior| behavior.fault = fault);
            let answer = rig.get("/").await;
            assert_eq!(
                (answer.status, answer.upstream(), answer.version()),
                (status, None, Some(version)),
                "{fault:?}"
            );
        }
    }
}

/// A cluster that isn't there, and one without an endpoint: the reply is Envoy's, the stamp is the
/// chosen version's.
#[tokio::test]
async fn a_missing_or_empty_cluster_is_the_canarys_failure() {
    let missing = |bootstrap: &mut Bootstrap| {
        let manager = bootstrap.connection_manager();
        manager["route_config"]["validate_clusters"] = false.into();
        manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] =
            "nowhere".into();
    };
    let empty = |bootstrap: &mut Bootstrap| {
        let route =
            &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"][0];
        route["route"]["cluster"] = "empty".into();
        bootstrap.add_cluster("empty", ([127, 0, 0, 1], 9).into());
        bootstrap.cluster("empty")["load_assignment"]["endpoints"] = serde_json::json!([]);
    };
    let rigs = [Rig::new().bootstrap(missing), Rig::new().bootstrap(empty)];
    for rig in rigs {
        let rig = rig.weight(100.0).start().await;
        let answer = rig.get("/").await;
        assert_eq!(
            (answer.status, answer.upstream(), answer.version()),
            (503, None, Some("1.1.0"))
        );
    }
}
