//! Signals: what is counted of requests, of response headers and of JSON bodies, for each version by
//! itself; and the module that has no body hooks.

use std::collections::BTreeMap;

use canary_integration::{
    ClientRequest, Fault, FilterStats, RecordedRequest, Rig, Running, TestUpstream, artifacts,
};
use hyper::{Method, body::Bytes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmparser::{Parser, Payload};

/// A rig with these signals and without a guard.
fn with(signals: Value) -> Rig {
    Rig::new().reading_bodies().unguarded().rollout(|rollout| rollout["signals"] = signals)
}

fn label() -> Value {
    json!([{"name": "label", "from": {"response_json": "/predictions/*/label"},
        "categories": ["cat", {"value": "a dog", "bin": "dog"}, {"value": "Hund", "bin": "dog"}]}])
}

/// Answers with the body that is the request's.
fn echo() -> TestUpstream {
    TestUpstream::ok().script(|seen: &RecordedRequest| {
        let status = seen.path.trim_start_matches('/').parse().unwrap_or(200);
        Some((status, seen.body.clone()))
    })
}

fn post(body: impl Into<Bytes>) -> ClientRequest {
    ClientRequest::new(Method::POST, "/").body(body)
}

/// What was counted of a role, by `signal.bin`.
fn bins(stats: &FilterStats, role: &str) -> BTreeMap<String, u64> {
    let start = format!("demo.{role}.");
    let of_role = stats.values.iter().filter(|(name, _)| name.starts_with(&start));
    let of_signal = of_role.filter_map(|(name, count)| {
        let (_, bin) = name.split_once(".signal.")?;
        (*count > 0).then(|| (bin.to_owned(), *count))
    });
    of_signal.collect()
}

fn expected(bins: &[(&str, u64)]) -> BTreeMap<String, u64> {
    bins.iter().map(|(bin, count)| ((*bin).to_owned(), *count)).collect()
}

/// Sends these and tells what was counted of the canary, which gets all of them.
async fn of_canary(rig: &Running, asks: Vec<ClientRequest>) -> BTreeMap<String, u64> {
    let (before, sent) = (rig.canary().seen(), asks.len() as u64);
    for ask in asks {
        rig.request(ask).await;
    }
    bins(&rig.counted(before + sent).await, "canary")
}

#[tokio::test]
async fn categories_out_of_a_json_body_for_each_version() {
    let says = |label: &str| {
        TestUpstream::ok().body(json!({"predictions": [{"label": label}]}).to_string())
    };
    let rig = with(label()).stable(says("cat")).canary(says("a dog")).weight(50.0).start().await;
    let tally = rig.load(200).await;
    let stats = rig.counted(200).await;
    assert_eq!(bins(&stats, "stable"), expected(&[("label.cat", tally.of_version("1.0.0"))]));
    assert_eq!(bins(&stats, "canary"), expected(&[("label.dog", tally.of_version("1.1.0"))]));
    let (series, labels) =
        ("canary_signal{", ["signal=\"label\"", "bin=\"dog\"", "role=\"canary\""]);
    let lines = rig.prometheus().await;
    let line = lines
        .iter()
        .find(|line| line.starts_with(series) && labels.iter().all(|label| line.contains(label)));
    let count = line.unwrap().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(count, tally.of_version("1.1.0").to_string());
}

/// However the body comes: at once, byte by byte, by either protocol. It reaches the client unchanged,
/// and the request is one observation, of one of the elements.
#[tokio::test]
async fn one_request_is_one_observation_however_the_body_is_cut() {
    let equal = json!({"predictions": vec![json!({"label": "cat"}); 10]}).to_string();
    let mixed = r#"{"predictions": [{"label": "Hund"}, {"label": "bird"}, {"label": null}, {}]}"#;
    for chunks in [None, Some(1), Some(7), Some(64)] {
        let upstream = echo().with(|behavior| behavior.chunks = chunks);
        let rig = with(label()).canary(upstream).weight(100.0).start().await;
        for body in [equal.as_str(), mixed] {
            for ask in [post(body.to_owned()), post(body.to_owned()).http2()] {
                assert_eq!(rig.request(ask).await.text(), body, "unchanged");
            }
        }
        let counted = bins(&rig.counted(4).await, "canary");
        assert_eq!(counted.get("label.cat"), Some(&2), "in chunks of {chunks:?}: {counted:?}");
        assert_eq!(counted.values().sum::<u64>(), 4, "in chunks of {chunks:?}: {counted:?}");
    }
}

#[tokio::test]
async fn each_of_the_first_64_elements_is_drawn() {
    let signals =
        json!([{"name": "place", "from": {"response_json": "/*"}, "bins": [16, 32, 48, 64]}]);
    let rig = with(signals).canary(echo()).weight(100.0).start().await;
    let body = json!((0..1_000).collect::<Vec<_>>()).to_string();
    let counted = of_canary(&rig, vec![post(body); 200]).await;
    assert_eq!(counted.values().sum::<u64>(), 200, "{counted:?}");
    // 50 each are expected; 15 is six standard deviations below.
    assert!(counted.len() == 4 && counted.values().all(|count| *count > 15), "{counted:?}");
}

#[tokio::test]
async fn numbers_and_booleans_count_by_their_json_text() {
    let categories = json!(["0", "1", "true", {"value": "1.5", "bin": "more"}]);
    let signals = json!([
        {"name": "class", "from": {"response_json": "/predictions/*"}, "categories": categories},
        {"name": "first", "from": {"response_json": "/predictions/0"}, "bins": [0, 1]}]);
    let rig = with(signals).canary(echo()).weight(100.0).start().await;
    let values = ["0", "1", "1", "\"1\"", "1.5", "true", "2", "1.0"];
    let asks = values.map(|value| post(format!("{{\"predictions\": [{value}]}}")));
    let classes = [("class.0", 1), ("class.1", 3), ("class.true", 1), ("class.more", 1)];
    let rest = [("class.other", 2), ("first.b1", 1), ("first.b2", 6), ("first.unreadable", 1)];
    assert_eq!(of_canary(&rig, asks.into()).await, expected(&[&classes[..], &rest].concat()));
}

/// A response that breaks off, because the client leaves or the upstream closes, says nothing of its
/// body; what its headers say counts.
#[tokio::test]
async fn a_body_that_breaks_off_counts_nowhere() {
    let signals = json!([
        {"name": "label", "from": {"response_json": "/l"}, "categories": ["cat"]},
        {"name": "by", "from": {"response_header": "x-upstream"}, "categories": [{"value": "1.1.0", "bin": "new"}]}]);
    let rig = with(signals).canary(TestUpstream::ok().body(vec![b' '; 50_000_000])).weight(100.0);
    let rig = rig.start().await;
    for _ in 0..3 {
        let mut stream = rig.dial().await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut begin = [0; 1_000];
        stream.read_exact(&mut begin).await.unwrap();
        assert!(begin.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(bins(&rig.counted(3).await, "canary"), expected(&[("by.new", 3)]));
    let body = json!({"l": "cat"}).to_string();
    rig.canary().change(|behavior| {
        behavior.body = Some(body.into());
        behavior.fault = Fault::Truncate;
    });
    let _broken = rig.client().send(ClientRequest::get("/")).await;
    let counted = bins(&rig.counted(4).await, "canary");
    assert_eq!(counted.get("label.unreadable"), None, "{counted:?}");
    rig.canary().change(|behavior| behavior.fault = Fault::None);
    rig.get("/").await;
    let counted = bins(&rig.counted(5).await, "canary");
    assert_eq!(counted.get("label.cat"), Some(&1), "{counted:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_unreadable_and_reaches_the_client_all_the_same() {
    let small = json!([{"name": "label", "from": {"response_json": "/l", "max_body": "100B"}, "categories": ["cat"]}]);
    let rig = with(small).canary(echo()).weight(100.0).start().await;
    let fits = format!("{:<100}", r#"{"l": "cat"}"#);
    let too_long = format!("{:<101}", r#"{"l": "cat"}"#);
    let huge = vec![b' '; 300_000];
    let bodies: [&[u8]; 8] = [
        too_long.as_bytes(),
        &huge,
        b"",
        b"{",
        b"[]",
        b"{\"l\": {}}",
        b"\xff\xfe",
        b"{\"l\": \"cat\"} x",
    ];
    for body in bodies {
        let answer = rig.request(post(body.to_vec())).await;
        assert_eq!(&answer.body[..], body);
    }
    rig.request(ClientRequest::new(Method::HEAD, "/")).await;
    rig.request(post(fits)).await;
    let counted = bins(&rig.counted(10).await, "canary");
    assert_eq!(counted, expected(&[("label.unreadable", 9), ("label.cat", 1)]));
    // A compressed body is not unpacked.
    rig.canary()
        .change(|behavior| behavior.headers.push(("content-encoding".into(), "gzip".into())));
    let counted = of_canary(&rig, vec![post(r#"{"l": "cat"}"#)]).await;
    assert_eq!(counted, expected(&[("label.unreadable", 10), ("label.cat", 1)]));
}

#[tokio::test]
async fn failures_are_not_read() {
    let rig = with(label()).canary(echo()).weight(100.0).start().await;
    let cat = || post(r#"{"predictions": [{"label": "cat"}]}"#);
    let asks = vec![cat().path("/500"), cat().path("/503"), cat().path("/404"), cat()];
    assert_eq!(of_canary(&rig, asks).await, expected(&[("label.cat", 2)]));
    assert_eq!(rig.stats().await.metric_of("canary", "rq_failure"), 2);
}

#[tokio::test]
async fn bins_of_a_header() {
    let signals = json!([{"name": "score", "from": {"response_header": "X-Model-Score"}, "bins": [0.2, 0.4, 0.6]}]);
    let rig = with(signals).weight(100.0).start().await;
    let scores = ["-1", "0.2", "0.39999", "0.4", "0.7", "1e3", "inf", "NaN", "cat", ""];
    for score in scores {
        rig.canary().change(|behavior| {
            behavior.headers = vec![("x-model-score".to_owned(), score.to_owned())];
        });
        rig.get("/").await;
    }
    rig.canary().change(|behavior| behavior.headers.clear());
    rig.get("/").await;
    let counted = bins(&rig.counted(11).await, "canary");
    let bins = [
        ("score.b0", 1),
        ("score.b1", 2),
        ("score.b2", 1),
        ("score.b3", 3),
        ("score.unreadable", 4),
    ];
    assert_eq!(counted, expected(&bins));
}

#[tokio::test]
async fn conversions_out_of_the_request_a_header_and_a_body() {
    let signals = json!([
        {"name": "ordered", "from": {"request": {"method": "POST", "path_prefix": "/orders"}}, "conversion": true},
        {"name": "deleted", "from": {"request": {"method": "DELETE"}}, "conversion": true},
        {"name": "clicked", "from": {"response_header": "x-clicked"}, "conversion": true},
        {"name": "paid", "from": {"response_json": "/paid"}, "conversion": true}]);
    let canary = echo().header("x-clicked", "1");
    let rig = with(signals).canary(canary).weight(100.0).start().await;
    let ask = |method: Method, path: &str, paid: &str| {
        ClientRequest::new(method, path).body(format!("{{\"paid\": {paid}}}"))
    };
    let asks = vec![
        ask(Method::POST, "/orders", "true"),
        ask(Method::POST, "/orders/7?x=y", "false").http2(),
        ask(Method::GET, "/orders", "1"),
        ask(Method::POST, "/order", "0"),
        ask(Method::DELETE, "/orders", "null"),
        ask(Method::POST, "/500", "true"),
    ];
    of_canary(&rig, asks).await;
    let counted = bins(&rig.judged(6).await, "canary");
    let bins = [
        ("ordered.converted", 2),
        ("deleted.converted", 1),
        ("clicked.converted", 5),
        ("paid.converted", 2),
    ];
    assert_eq!(counted, expected(&bins), "a conversion that failed is none");
}

/// The hooks that a module exports.
fn hooks(module: &std::path::Path) -> Vec<String> {
    let bytes = std::fs::read(module).unwrap();
    let payloads = Parser::new(0).parse_all(&bytes).map(Result::unwrap);
    let exports = payloads.filter_map(|payload| match payload {
        Payload::ExportSection(exports) => Some(exports),
        _ => None,
    });
    exports.flatten().map(|export| export.unwrap().name.to_owned()).collect()
}

/// Envoy hands a module whatever it has hooks for, so what isn't exported costs nothing.
#[test]
fn without_body_signals_the_module_has_no_hook_that_sees_a_body() {
    let bodies = |hooks: &[String]| {
        let of_bodies = hooks.iter().filter(|hook| hook.contains("body") || hook.contains("data"));
        of_bodies.cloned().collect::<Vec<_>>()
    };
    let headers = hooks(&artifacts::filter_without_body_hooks());
    assert_eq!(bodies(&headers), [] as [&str; 0]);
    let whole = hooks(&artifacts::filter());
    assert_eq!(bodies(&whole), ["proxy_on_request_body", "proxy_on_response_body"]);
    assert!(headers.iter().any(|hook| hook == "proxy_on_response_headers"), "{headers:?}");
}

/// Code that the headers module can't reach isn't in it. The limits only ever go down; the goal of
/// `bench overhead` is 260 KB each.
#[test]
fn the_modules_do_not_grow() {
    let size = |module: std::path::PathBuf| std::fs::metadata(module).unwrap().len();
    let (headers, full) = (size(artifacts::filter_without_body_hooks()), size(artifacts::filter()));
    assert!(headers <= 318_000 && full <= 364_000, "headers {headers}, full {full} bytes");
}

#[tokio::test]
async fn the_module_without_body_hooks_reads_headers_and_refuses_a_body_signal_by_its_path() {
    let mut signals = json!([{"name": "by", "from": {"response_header": "x-upstream"}, "categories": [{"value": "1.1.0", "bin": "new"}]}]);
    let rig = with(signals.clone()).wasm(&artifacts::filter_without_body_hooks()).weight(100.0);
    let mut rig = rig.start().await;
    let (tally, callbacks) = rig.traced(async { rig.load(20).await }).await;
    assert_eq!(tally.of_version("1.1.0"), 20);
    assert!(!callbacks.iter().any(|callback| callback.name.contains("body")), "never called");
    assert_eq!(bins(&rig.counted(20).await, "canary"), expected(&[("by.new", 20)]));
    signals.as_array_mut().unwrap().extend(label().as_array().unwrap().clone());
    rig.push_config(|config| config["rollouts"][0]["signals"] = signals);
    let refusal = "canary: configuration refused: rollouts[0].signals[1].from.response_json: this module has no body hooks";
    rig.eventually("the refusal", async || rig.logs(), |log| log.contains(refusal)).await;
    assert_eq!(rig.load(50).await.of_version("1.1.0"), 50, "the last good one stays");
}
