//! Signals: what the versions answer, and what it does to the business.

use canary_integration::{Ask, Rig, Running, Stats, Upstream, artefacts};
use hyper::Method;
use serde_json::{Value, json};

/// A rig with these signals, at half and half.
async fn counting(signals: Value, stable: Upstream, canary: Upstream) -> Running {
    let configured = |config: &mut Value| config["rollouts"][0]["signals"] = signals;
    let rig = Rig::new().reading_bodies().config(configured).weight(50.0);
    rig.stable(stable).canary(canary).start().await
}

/// Each bin's count of a signal for a role.
fn bins<const N: usize>(stats: &Stats, role: &str, signal: &str, bins: [&str; N]) -> [u64; N] {
    bins.map(|bin| stats.of(role, &format!("signal.{signal}.{bin}")))
}

fn label(pointer: &str, max_body: &str) -> Value {
    json!([{"name": "label", "from": {"response_json": pointer, "max_body": max_body},
            "categories": ["cat", "dog", "0", "true"]}])
}

const LABELS: [&str; 6] = ["cat", "dog", "0", "true", "other", "unreadable"];

#[tokio::test]
async fn categories_of_every_element_of_a_json_body_side_by_side() {
    let stable = Upstream::ok().body(r#"{"predictions": ["cat", "cat", "dog"]}"#);
    let canary = Upstream::ok().body(r#"{"predictions": ["dog", 0, true, "horse", null]}"#);
    let rig = counting(label("/predictions/*", "64KiB"), stable, canary).await;
    rig.load(200).concurrency(8).await;
    let stats = rig.counted(200).await;
    let (s, c) = (stats.of("stable", "rq_total"), stats.of("canary", "rq_total"));
    assert!(s > 50 && c > 50);
    assert_eq!(bins(&stats, "stable", "label", LABELS), [2 * s, s, 0, 0, 0, 0]);
    assert_eq!(bins(&stats, "canary", "label", LABELS), [0, c, c, c, c, c]);
}

#[tokio::test]
async fn a_body_in_many_chunks_is_read_and_one_beyond_the_limit_is_unreadable_and_untouched() {
    let padded =
        |length: usize| format!(r#"{{"label": "cat", "padding": "{}"}}"#, "x".repeat(length));
    let (fits, large) = (padded(300_000), padded(900_000));
    let stable = Upstream::ok().body(fits.clone());
    let canary = Upstream::ok().body(large.clone());
    let rig = counting(label("/label", "512KiB"), stable, canary).await;
    for _ in 0..40 {
        let answer = rig.get("/").await;
        let sent = if answer.version() == Some("1.0.0") { &fits } else { &large };
        assert!(answer.text() == *sent, "a body was changed");
    }
    let stats = rig.counted(40).await;
    let (s, c) = (stats.of("stable", "rq_total"), stats.of("canary", "rq_total"));
    assert!(s > 5 && c > 5);
    assert_eq!(bins(&stats, "stable", "label", LABELS), [s, 0, 0, 0, 0, 0]);
    assert_eq!(bins(&stats, "canary", "label", LABELS), [0, 0, 0, 0, 0, c]);
}

#[tokio::test]
async fn compressed_broken_and_missing_are_unreadable_and_failures_are_not_read() {
    let by_path = |seen: &canary_integration::Seen| match seen.path.as_str() {
        "/broken" => Some((200, "{\"label\": \"cat\"".into())),
        "/missing" => Some((200, "{}".into())),
        "/empty" => Some((200, "".into())),
        "/failed" => Some((500, "{\"label\": \"cat\"}".into())),
        _ => None,
    };
    let plain = Upstream::ok().script(by_path).body(r#"{"label": "cat"}"#);
    let zipped = plain.clone().header("content-encoding", "gzip");
    let rig = counting(label("/label", "64KiB"), plain, zipped).await;
    let paths = ["/broken", "/missing", "/empty", "/failed", "/"];
    let tally = rig.load(500).each(move |number| Ask::get(paths[number as usize % 5])).await;
    let stats = rig.counted(500).await;
    let read = |version| {
        tally.count(|outcome| outcome.version.as_deref() == Some(version) && outcome.status == 200)
    };
    let [cat, .., unreadable] = bins(&stats, "stable", "label", LABELS);
    assert!(cat > 20 && cat + unreadable == read("1.0.0"), "{cat} {unreadable} {tally:?}");
    assert_eq!(bins(&stats, "canary", "label", LABELS), [0, 0, 0, 0, 0, read("1.1.0")]);
}

#[tokio::test]
async fn bins_of_a_header_and_conversions_of_a_request() {
    let signals = json!([
        {"name": "score", "from": {"response_header": "x-model-score"}, "bins": [0.2, 0.8]},
        {"name": "checkout", "from": {"request": {"method": "POST", "path_prefix": "/orders"}}, "conversion": true},
    ]);
    let scored = |score: &str| Upstream::ok().header("x-model-score", score);
    let rig = counting(signals, scored("0.2"), scored("NaN")).await;
    let shape = |number: u64| match number % 3 {
        0 => Ask::new(Method::POST, "/orders/7"),
        1 => Ask::get("/orders/7"),
        _ => Ask::new(Method::POST, "/cart"),
    };
    let tally = rig.load(300).each(shape).await;
    let stats = rig.counted(300).await;
    let (s, c) = (tally.of_version("1.0.0"), tally.of_version("1.1.0"));
    assert_eq!(bins(&stats, "stable", "score", ["b0", "b1", "b2", "unreadable"]), [0, s, 0, 0]);
    assert_eq!(bins(&stats, "canary", "score", ["b0", "b1", "b2", "unreadable"]), [0, 0, 0, c]);
    let converted = |role| stats.of(role, "signal.checkout.converted");
    assert_eq!(converted("stable") + converted("canary"), 100);
    assert!(converted("stable") > 20 && converted("canary") > 20);
}

#[tokio::test]
async fn with_affinity_each_clients_first_answer_is_counted_apart() {
    let signals = label("/label", "64KiB");
    let keyed = |config: &mut Value| {
        config["rollouts"][0]["signals"] = signals;
        config["rollouts"][0]["affinity"] = json!([{"header": "x-user-id"}]);
    };
    let cat = || Upstream::ok().body(r#"{"label": "cat"}"#);
    let rig = Rig::new().reading_bodies().workers(1).config(keyed).weight(50.0);
    let rig = rig.stable(cat()).canary(cat()).start().await;
    let user = |number: u64| Ask::get("/").header("x-user-id", format!("user-{}", number % 20));
    rig.load(200).concurrency(1).each(user).await;
    let stats = rig.counted(200).await;
    let sum = |metric: &str| stats.of("stable", metric) + stats.of("canary", metric);
    assert_eq!((sum("signal.label.cat"), sum("signal_first.label.cat")), (200, 20));
    assert_eq!(sum("client_total"), 20);
}

/// The names of the functions that a module exports.
fn exports(module: &std::path::Path) -> Vec<String> {
    let bytes = std::fs::read(module).unwrap();
    let parsed = wasmparser::Parser::new(0).parse_all(&bytes);
    let sections = parsed.filter_map(|payload| match payload.unwrap() {
        wasmparser::Payload::ExportSection(exports) => Some(exports),
        _ => None,
    });
    sections.flatten().map(|export| export.unwrap().name.to_owned()).collect()
}

#[tokio::test]
async fn the_module_without_body_hooks_has_none_and_says_so() {
    let bodies = |name: &String| name.contains("body");
    assert!(!exports(&artefacts::filter_headers()).iter().any(bodies));
    let full: Vec<_> = exports(&artefacts::filter()).into_iter().filter(bodies).collect();
    assert_eq!(full, ["proxy_on_response_body"]);
    let mut rig = Rig::new().weight(100.0).start().await;
    rig.push_config(|config| config["rollouts"][0]["signals"] = label("/label", "64KiB"));
    let refusal = "rollouts[0].signals: this module has no body hooks";
    rig.eventually("the refusal", async || rig.logs(), |logs| logs.contains(refusal)).await;
    rig.all_go_to("1.1.0").await;
}
