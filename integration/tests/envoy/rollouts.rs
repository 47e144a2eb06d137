//! Several rollouts behind one Envoy: each takes its own requests, the first that matches takes,
//! and what none takes is let alone.

use canary_integration::{
    Bootstrap, ClientRequest, FilterStats, Rig, Running, Server, TestUpstream,
};
use hyper::Method;
use serde_json::{Value, json};

/// A second service, `scorer`, with two versions of its own, beside the rig's `demo`.
struct Scorer {
    stable: Server,
    canary: Server,
}

impl Scorer {
    fn start() -> Self {
        Self { stable: TestUpstream::ok().start("3.1"), canary: TestUpstream::ok().start("3.2") }
    }

    /// Its clusters, and its routes for what lies under `/v2/models/scorer`.
    fn route(&self, bootstrap: &mut Bootstrap) {
        bootstrap.add_cluster("scorer-stable", self.stable.at());
        bootstrap.add_cluster("scorer-canary", self.canary.at());
        let path = "/v2/models/scorer";
        bootstrap
            .add_route(json!({"match": {"prefix": path}, "route": {"cluster": "scorer-stable"}}));
        let header = json!({"name": "x-canary-route", "string_match": {"exact": "scorer-canary"}});
        bootstrap.add_route(json!({"match": {"prefix": "/", "headers": [header]},
            "route": {"cluster": "scorer-canary"}}));
    }
}

fn scorer(weight: f64, matches: &Value) -> Value {
    json!({"name": "scorer", "weight": weight, "match": matches,
        "stable": {"version": "3.1", "cluster": "scorer-stable"},
        "canary": {"version": "3.2", "cluster": "scorer-canary"}})
}

fn models() -> Value {
    json!({"authorities": ["scorer.example.com", "*.models.test"],
        "path_prefixes": ["/v2/models/scorer"]})
}

/// `demo` for `/shop`, and before it a scorer.
async fn rig(service: &Scorer, scorer: Value) -> Running {
    let rollouts = |config: &mut Value| {
        config["rollouts"][0]["match"] = json!({"path_prefixes": ["/shop"]});
        config["rollouts"].as_array_mut().unwrap().insert(1, scorer);
    };
    Rig::new().config(rollouts).bootstrap(|bootstrap| service.route(bootstrap)).start().await
}

/// Waits until this many requests are counted for `demo`'s stable version and the scorer's canary.
/// Each worker hands its counts over on a tick of its own.
async fn both_counted(rig: &Running, demo: u64, scorer: u64) -> FilterStats {
    let stats = async || rig.stats().await;
    let counts = |stats: &FilterStats| {
        (stats.metric_of("stable", "rq_total"), stats.value("scorer.canary.3.2.rq_total"))
    };
    rig.eventually("both are counted", stats, |stats| counts(stats) == (demo, scorer)).await
}

fn of(authority: &str, path: &str) -> ClientRequest {
    ClientRequest::get(path).authority(authority)
}

#[tokio::test]
async fn each_rollout_takes_its_own_by_authority_and_path_prefix() {
    let service = Scorer::start();
    let rig = rig(&service, scorer(100.0, &models())).await;
    let mut counted = 0;
    for (authority, path, version) in [
        ("scorer.example.com", "/v2/models/scorer", Some("3.2")),
        ("SCORER.example.COM:8080", "/v2/models/scorer/infer?x=/shop", Some("3.2")),
        ("eu.models.test", "/v2/models/scorer2", Some("3.2")),
        ("a.b.models.test:1", "/v2/models/scorer?", Some("3.2")),
        ("models.test", "/v2/models/scorer", None),
        ("xscorer.example.com", "/v2/models/scorer", None),
        ("scorer.example.com", "/V2/models/scorer", None),
        ("scorer.example.com", "/v2/models", None),
        ("scorer.example.com", "/shop/1", Some("1.0.0")),
        ("anybody", "/shop", Some("1.0.0")),
        ("anybody", "/", None),
    ] {
        for ask in [of(authority, path), of(authority, path).http2()] {
            let answer = rig.request(ask).await;
            assert_eq!((answer.status, answer.version()), (200, version), "{authority}{path}");
            assert!(version.is_none_or(|version| answer.upstream() == Some(version)));
            counted += u64::from(version == Some("3.2"));
        }
    }
    let stats = both_counted(&rig, 4, counted).await;
    assert_eq!(stats.value("scorer.stable.3.1.rq_total"), 0);
    assert_eq!(service.canary.seen(), counted);
}

#[tokio::test]
async fn the_first_that_matches_takes() {
    let service = Scorer::start();
    // The scorer would take everything, but comes second.
    let rig = rig(&service, scorer(100.0, &json!({}))).await;
    assert_eq!(rig.get("/shop").await.version(), Some("1.0.0"));
    assert_eq!(rig.get("/elsewhere").await.version(), Some("3.2"));
    both_counted(&rig, 1, 1).await;
}

#[tokio::test]
async fn each_has_its_own_runtime_keys_and_gauges() {
    let service = Scorer::start();
    let rig = rig(&service, scorer(0.0, &models())).await;
    rig.runtime_modify(&[("canary.scorer.weight", "100"), ("canary.scorer.epoch", "7")]).await;
    let gauge = async || rig.stat("scorer.weight_ppm").await;
    rig.eventually("the scorer's weight", gauge, |ppm| *ppm == 1_000_000).await;
    let on_scorer = || of("scorer.example.com", "/v2/models/scorer");
    // On a busy machine a worker may come to its tick later than the gauge allows for.
    let load = async || rig.load(100).concurrency(32).each(move |_| on_scorer()).await;
    rig.eventually("all of it on 3.2", load, |tally| tally.of_version("3.2") == 100).await;
    assert_eq!(rig.get("/shop").await.version(), Some("1.0.0"));
    let stats = rig.stats().await;
    assert_eq!((stats.value("demo.weight_ppm"), stats.value("demo.epoch")), (0, 0));
    assert_eq!(stats.value("scorer.epoch"), 7);
}

/// No stamp, no counter, nothing added or taken from the request but a client's copies of what is
/// the filter's own, a tester's token among them; also where Envoy doesn't remove those early.
#[tokio::test]
async fn what_no_rollout_takes_is_untouched_but_for_internal_headers() {
    let rollout = |rollout: &mut Value| {
        rollout["match"] = json!({"authorities": ["elsewhere.test"]});
        rollout["override"] = json!({"header": "x-canary",
            "token": {"header": "x-canary-token", "value": "secret"}});
        rollout["affinity"] = json!([{"cookie": "canary-cohort"}]);
    };
    let upstream = TestUpstream::ok().header("x-canary-version", "the upstream's own");
    let bare = |rig: Rig| rig.bootstrap(Bootstrap::without_early_removal).stable(upstream.clone());
    let rig = bare(Rig::new().rollout(rollout).weight(100.0)).start().await;
    let plain = bare(Rig::new().without_filter()).start().await;
    for ask in [
        ClientRequest::get("/a?b"),
        ClientRequest::new(Method::POST, "/").body("c"),
        ClientRequest::get("/").http2(),
    ] {
        let ask = ask.header("x-own", b"\xff\xfe").header("x-own", "2").header("cookie", "a=b");
        let ask = ask.header("x-canary", "always");
        let expected = plain.request(ask.clone()).await;
        let forged = ask.header("X-Canary-Route", "demo-canary").header("x-canary-route", "x");
        let forged = forged.header("X-CANARY-VERSION", "1.1.0").header("x-canary-version", "x");
        let answer = rig.request(forged.header("X-Canary-Token", "secret")).await;
        assert_eq!(answer.version(), Some("the upstream's own"));
        assert_eq!(
            answer.headers.keys().collect::<Vec<_>>(),
            expected.headers.keys().collect::<Vec<_>>()
        );
    }
    for (seen, expected) in rig.stable().requests().iter().zip(plain.stable().requests()) {
        let headers = |seen: &canary_integration::RecordedRequest| {
            let mut headers = seen.headers.clone();
            headers.remove("x-request-id");
            headers
        };
        assert_eq!(headers(seen), headers(&expected));
    }
    assert_eq!((rig.stable().seen(), plain.stable().seen()), (3, 3));
    let beats = rig.stat("filter.heartbeat").await;
    rig.eventually("another tick", async || rig.stat("filter.heartbeat").await, |now| *now > beats)
        .await;
    let stats = rig.stats().await;
    let counted: u64 =
        stats.values.iter().filter(|(name, _)| name.contains(".rq_")).map(|(_, n)| n).sum();
    assert_eq!(counted, 0, "{:?}", stats.values);
}

/// A header matches by any of its lines, all conditions must hold, and the headers module can do it.
#[tokio::test]
async fn a_rollout_gets_the_requests_with_its_headers() {
    let rig = Rig::new().weight(100.0).rollout(|rollout| {
        rollout["match"] = json!({"headers": [
            {"name": "X-Gateway-Model-Name", "values": ["scorer", "ranker"]},
            {"name": "authorization", "prefix": "Bearer "},
            {"name": "x-trial", "present": true},
        ]});
    });
    let rig = rig.start().await;
    let get = |model: &str, authorization: &str| {
        let get = ClientRequest::get("/").header("x-gateway-model-name", model);
        get.header("authorization", authorization)
    };
    for (ask, version) in [
        (get("scorer", "Bearer x").header("x-trial", "1"), Some("1.1.0")),
        (get("ranker", "Bearer y").header("x-trial", ""), Some("1.1.0")),
        (
            get("other", "Bearer x")
                .header("x-trial", "1")
                .header("x-gateway-model-name", "scorer"),
            Some("1.1.0"),
        ),
        (get("scorer", "Bearer x"), None),
        (get("Scorer", "Bearer x").header("x-trial", "1"), None),
        (get("scorer", "bearer x").header("x-trial", "1"), None),
        (ClientRequest::get("/").header("x-trial", "1"), None),
    ] {
        for ask in [ask.clone(), ask.http2()] {
            let shown = format!("{ask:?}");
            assert_eq!(rig.request(ask).await.version(), version, "{shown}");
        }
    }
}
