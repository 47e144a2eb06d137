//! Hostile input: whatever a client puts into headers, cookies and paths, nothing panics, nothing
//! is miscounted, and the filter's memory stays as small as it is.

use canary_integration::{
    Bootstrap, ClientRequest, LoadTally, Rig, Running, TestUpstream, wait_limit,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Every feature that reads something of a request or an answer.
pub(crate) fn reads_everything(rollout: &mut Value) {
    rollout["affinity"] =
        json!([{"header": "x-user-id"}, {"cookie": "uid"}, {"cookie": "canary-cohort"}]);
    rollout["override"] = json!({"header": "x-canary", "cookie": "canary",
        "token": {"header": "x-canary-token", "value": "secret"}});
    rollout["inherit"] = true.into();
    rollout["propagate"] = true.into();
    rollout["guard"] = json!({"enabled": false});
    rollout["match"] = json!({"path_prefixes": ["/"]});
    rollout["signals"] = json!([
        {"name": "label", "from": {"response_json": "/label"}, "categories": ["cat"]},
        {"name": "score", "from": {"response_header": "x-score"}, "bins": [0.5]},
        {"name": "posted", "from": {"request": {"method": "POST"}}, "conversion": true}]);
}

/// Takes headers of 96 KiB and a thousand of them, where Envoy by itself draws the line at 60 and a
/// hundred.
fn generous(bootstrap: &mut Bootstrap) {
    let manager = bootstrap.connection_manager();
    manager["max_request_headers_kb"] = 96.into();
    manager["common_http_protocol_options"] = json!({"max_headers_count": 1_000});
    let cluster = bootstrap.cluster("demo-canary");
    let options = &mut cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    options["common_http_protocol_options"] = json!({"max_headers_count": 1_000});
}

/// The filter is alive on every worker, and no VM has said a word about dying.
pub(crate) async fn unharmed(rig: &Running) {
    unharmed_at(rig, "/").await;
}

/// The same where the rollout takes only some paths, by one of them.
async fn unharmed_at(rig: &Running, path: &'static str) {
    let log = rig.logs();
    for word in ["panicked", "[critical]", "Critical", "Function: proxy_"] {
        assert!(!log.contains(word), "{word} in the log:\n{log}");
    }
    let heartbeat = rig.stat("filter.heartbeat").await;
    let beats = async || rig.stat("filter.heartbeat").await;
    rig.eventually("the heart beats on", beats, |now| *now > heartbeat).await;
    let tally = rig
        .load(40)
        .concurrency(40)
        .each(move |_| ClientRequest::get(path).header("x-user-id", "1"))
        .await;
    let stamped = tally.count(|outcome| outcome.version.is_some());
    assert_eq!((stamped, tally.with_status(200)), (40, 40), "{tally:?}");
}

const NAMES: [&str; 9] = [
    "x-user-id",
    "cookie",
    "x-canary",
    "x-canary-token",
    "X-Canary-Version",
    "x-canary-route",
    "content-type",
    "x-forwarded-proto",
    "x-unknown",
];

/// Sends these and counts those that the filter stamped; each of them it must have counted once.
async fn counted_once(rig: &Running, asks: Vec<ClientRequest>) -> u64 {
    let before = total(rig).await;
    let mut stamped = 0;
    for ask in asks {
        for ask in [ask.clone(), ask.http2()] {
            // Envoy may refuse it, or break the connection off; it may not let it harm the filter.
            if let Ok(answer) = rig.client().send(ask).await {
                stamped += u64::from(answer.version().is_some());
            }
        }
    }
    rig.eventually(
        "each is counted once",
        async || total(rig).await,
        |now| *now == before + stamped,
    )
    .await;
    stamped
}

/// All that were decided, the overridden ones among them.
async fn total(rig: &Running) -> u64 {
    let stats = rig.stats().await;
    let of = |metric| stats.metric_of("stable", metric) + stats.metric_of("canary", metric);
    of("rq_total") + of("rq_forced")
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let echo = TestUpstream::ok().header("x-score", "0.7").body(b"\xff\xfe{".to_vec());
    let rig = Rig::new()
        .stable(echo.clone())
        .canary(echo)
        .reading_bodies()
        .rollout(reads_everything)
        .weight(50.0);
    let rig = rig.bootstrap(Bootstrap::without_early_removal).start().await;
    let garbage: [&[u8]; 5] = [
        b"\xff\xfe\xfd",
        b"\xc3\x28",
        b"\x80",
        b"canary=\xff; uid=\xfe; canary-cohort=\xfd",
        b"\xed\xa0\x80=\xff;;;",
    ];
    let mut asks = Vec::new();
    for name in NAMES {
        asks.extend(garbage.iter().map(|value| ClientRequest::get("/").header(name, value)));
    }
    let sent = 2 * asks.len() as u64;
    assert_eq!(counted_once(&rig, asks).await, sent);
    // As a key they're as good as any: one client, one version.
    let ask = || ClientRequest::get("/").header("x-user-id", b"\xff\xfe");
    let tally = rig.load(50).concurrency(16).each(move |_| ask()).await;
    assert!([0, 50].contains(&tally.of_version("1.1.0")), "{tally:?}");
    unharmed(&rig).await;
}

#[tokio::test]
async fn headers_and_cookies_of_60_kilobytes() {
    let rig = Rig::new()
        .reading_bodies()
        .rollout(reads_everything)
        .bootstrap(generous)
        .weight(100.0)
        .start()
        .await;
    let long = |bytes: usize| "x".repeat(bytes);
    let mut asks: Vec<_> =
        NAMES.iter().map(|name| ClientRequest::get("/").header(name, long(60_000))).collect();
    asks.push(ClientRequest::get("/").header("cookie", format!("uid={}", long(60_000))));
    asks.push(ClientRequest::get("/").header("cookie", format!("{}uid=a", "a=b; ".repeat(11_000))));
    asks.push(ClientRequest::get(&format!("/{}", long(50_000))));
    let sent = 2 * asks.len() as u64;
    assert_eq!(counted_once(&rig, asks).await, sent);
    // Beyond its limit Envoy refuses by itself, and neither version caused that.
    let asks =
        NAMES.iter().map(|name| ClientRequest::get("/").header(name, long(100_000))).collect();
    assert_eq!(counted_once(&rig, asks).await, 0);
    unharmed(&rig).await;
}

/// Every way to write a header's name.
fn cases(name: &str) -> Vec<String> {
    let letters = |pattern: usize| {
        let upper = |at: usize| pattern >> (at % 7) & 1 == 1;
        let case = |(at, letter): (usize, char)| {
            if upper(at) { letter.to_ascii_uppercase() } else { letter }
        };
        name.chars().enumerate().map(case).collect::<String>()
    };
    (0..128).map(letters).collect()
}

/// Raw, since no client library would send it so.
async fn say(rig: &Running, request: &[u8]) -> String {
    let mut stream = rig.dial().await;
    // Envoy may have said no before it has read all of it.
    let _refused = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn hundreds_of_duplicates_in_every_case() {
    let without = |bootstrap: &mut Bootstrap| {
        generous(bootstrap);
        bootstrap.without_early_removal();
    };
    for early in [generous as fn(&mut Bootstrap), without] {
        let rig = Rig::new().bootstrap(early).weight(0.0).start().await;
        let mut request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n".to_owned();
        for (name, value) in [("x-canary-route", "demo-canary"), ("x-canary-version", "1.1.0")] {
            for name in cases(name) {
                request += &format!("{name}: {value}\r\n{name}: {value}\r\n");
            }
        }
        let answer = say(&rig, format!("{request}\r\n").as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("x-upstream: 1.0.0"),
            "{answer}"
        );
        let seen = rig.stable().requests().pop().unwrap();
        let internal = seen.headers.keys().find(|name| name.as_str().starts_with("x-canary"));
        assert_eq!((internal, rig.canary().seen()), (None, 0));
        // The limit that is Envoy's own otherwise: the request doesn't reach the filter.
        rig.counted(1).await;
        unharmed(&rig).await;
    }
    let rig = Rig::new()
        .reading_bodies()
        .rollout(reads_everything)
        .bootstrap(generous)
        .weight(100.0)
        .start()
        .await;
    let many = |name| {
        (0..400).fold(ClientRequest::get("/"), |ask, number| ask.header(name, number.to_string()))
    };
    let asks: Vec<_> =
        NAMES.into_iter().filter(|name| *name != "x-forwarded-proto").map(many).collect();
    let sent = 2 * asks.len() as u64;
    assert_eq!(counted_once(&rig, asks).await, sent);
    unharmed(&rig).await;
}

/// A rollout takes what Envoy's own route with the same prefix takes, however the path is written:
/// else one could be on the canary's rules and stable's route.
#[tokio::test]
async fn paths_are_what_envoys_routes_make_of_them() {
    let other = TestUpstream::ok().start("other");
    let at = other.at();
    let routes = move |bootstrap: &mut Bootstrap| {
        bootstrap.add_cluster("other", at);
        let routes =
            &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
        routes[1] = json!({"match": {"prefix": "/v2/m"}, "route": {"cluster": "demo-stable"}});
        let rest = json!({"match": {"prefix": "/"}, "route": {"cluster": "other"}});
        routes.as_array_mut().unwrap().push(rest);
    };
    let rollout = |rollout: &mut Value| rollout["match"] = json!({"path_prefixes": ["/v2/m"]});
    let rig = Rig::new().rollout(rollout).bootstrap(routes).start().await;
    let (mut taken, mut let_go) = (0, 0);
    for target in [
        "/v2/m",
        "/v2/models",
        "/v2/m?",
        "/v2/m?x=/other",
        "/v2/m;x=y",
        "/v2/m/../../other",
        "/v2/m%2f",
        "/v2/m#top",
        "/v2/m//",
        "/v2/m\\",
        "http://a/v2/m",
        "http://a/v2/m?x",
        "/v2/m/%00",
        "/",
        "//v2/m",
        "/./v2/m",
        "/x/../v2/m",
        "/%76%32/m",
        "/v2%2fm",
        "/V2/m",
        "/v2",
        "/v2?/v2/m",
        "/?/v2/m",
        "/;/v2/m",
        "/v2/%6d",
        "/v2/./m",
        "\\v2\\m",
        "http://a",
        "http://a/?/v2/m",
        "*",
        "?/v2/m",
        "v2/m",
        "/ /v2/m",
        "/v2/\u{fc}",
    ] {
        for method in ["GET", "OPTIONS", "CONNECT", "PURGE"] {
            let request =
                format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let answer = say(&rig, request.as_bytes()).await;
            let (stamp, on_route) =
                (answer.contains("x-canary-version: 1.0.0"), answer.contains("x-upstream: 1.0.0"));
            assert_eq!(stamp, on_route, "{method} {target}: {answer}");
            taken += u64::from(stamp);
            let_go += u64::from(answer.contains("x-upstream: other"));
        }
    }
    assert!(taken > 30 && let_go > 30, "{taken} taken, {let_go} let go");
    rig.counted(taken).await;
    unharmed_at(&rig, "/v2/m").await;
}

/// What no HTTP is: Envoy refuses it, and the filter hears nothing of it, or a whole request.
#[tokio::test]
async fn what_is_no_http() {
    let rig = Rig::new().reading_bodies().rollout(reads_everything).weight(100.0).start().await;
    let mut stamped = 0;
    let requests: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: a\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: \xff\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-user-id: a\x00b\r\nconnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-user-id : b\r\nconnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for request in requests {
        let answer =
            tokio::time::timeout(wait_limit(std::time::Duration::from_secs(1)), say(&rig, request))
                .await;
        stamped += u64::from(answer.unwrap_or_default().contains("x-canary-version"));
    }
    rig.eventually("each is counted once", async || total(&rig).await, |now| *now == stamped).await;
    unharmed(&rig).await;
}

/// Envoy's resident memory in KiB.
fn resident(rig: &Running) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", rig.envoy_pid().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Clients are remembered in tables of a fixed size: a flood of keys, failing ones among them, takes
/// no more memory than the first few did.
#[tokio::test]
async fn a_hundred_thousand_keys_take_no_memory() {
    let ill = TestUpstream::ok()
        .script(|seen| seen.path.ends_with('7').then(|| (500, hyper::body::Bytes::new())));
    let rig = Rig::new().stable(ill.clone()).canary(ill).unguarded().weight(50.0);
    let rig = rig.affinity(json!([{"header": "x-user-id"}])).start().await;
    let users = async |from: u64, count: u64| {
        let ask = move |number: u64| {
            let user = from + number;
            ClientRequest::get(&format!("/{user}")).header("x-user-id", format!("user-{user}"))
        };
        let tally: LoadTally = rig.load(count).concurrency(32).each(ask).await;
        assert_eq!(tally.with_status(200) + tally.with_status(500), count);
    };
    users(0, 5_000).await;
    let before = resident(&rig);
    users(5_000, 100_000).await;
    let after = resident(&rig);
    println!("resident memory: {before} KiB before, {after} KiB after 100,000 keys");
    assert!(after < before + 4_096, "{before} KiB before, {after} KiB after");
    let stats = rig.judged(105_000).await;
    let of = |metric| stats.metric_of("stable", metric) + stats.metric_of("canary", metric);
    // 105,000 keys fall on 52,300 of 65,536 places, whichever workers see them.
    assert!((52_000..=52_600).contains(&of("client_total")), "{}", of("client_total"));
    assert!((9_000..=10_500).contains(&of("client_failure")), "{}", of("client_failure"));
    unharmed(&rig).await;
}
