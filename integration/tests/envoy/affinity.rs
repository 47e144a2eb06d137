//! Affinity: where a client's key comes from, and the cookie that stands in for one.

use canary_dataplane::cohort::KeyHash;
use canary_integration::{Bootstrap, ClientRequest, ClientResponse, Rig, Running, TestUpstream};
use canary_model::weight::Weight;
use regex::Regex;
use serde_json::json;

/// The version that this key gets at 50 %, by core's own arithmetic.
fn at_half(salt: &str, key: &str) -> &'static str {
    let bucket = KeyHash::new(salt, key.as_bytes()).bucket();
    if bucket.on_canary(Weight::parse_percent("50").unwrap()) { "1.1.0" } else { "1.0.0" }
}

/// Sends each request by HTTP/1.1 and HTTP/2 and holds the answers against the key that it must
/// have gone by.
async fn keys_are(rig: &Running, salt: &str, asks: impl Fn(u32) -> (ClientRequest, String)) {
    let (mut http1, mut http2) = (rig.client(), rig.client());
    for user in 0..20 {
        let (ask, key) = asks(user);
        for answer in [http1.send(ask.clone()).await, http2.send(ask.http2()).await] {
            let answer = answer.unwrap();
            assert_eq!(answer.version(), Some(at_half(salt, &key)), "{key}");
            assert_eq!(answer.header("set-cookie"), None, "whoever has a key needs no cookie");
        }
    }
}

#[tokio::test]
async fn the_first_source_that_is_there_and_not_empty_gives_the_key() {
    let sources = json!([{"header": "X-User-Id"}, {"header": "x-session"}, {"cookie": "uid"}, {"cookie": "canary-cohort"}]);
    let rig = Rig::new().affinity(sources).weight(50.0).start().await;
    let salt = "demo/1.1.0";
    let ask = || ClientRequest::get("/");
    keys_are(&rig, salt, |user| {
        let ask = ask().header("x-user-id", format!("u{user}")).header("x-session", "s");
        (ask.header("cookie", "uid=c"), format!("u{user}"))
    })
    .await;
    keys_are(&rig, salt, |user| {
        let ask = ask().header("x-user-id", "").header("X-SESSION", format!("s{user}"));
        (ask.header("cookie", "uid=c"), format!("s{user}"))
    })
    .await;
    keys_are(&rig, salt, |user| {
        let cookies = format!("a=b; uid=c{user}; canary-cohort=x");
        (ask().header("x-session", "").header("cookie", cookies), format!("c{user}"))
    })
    .await;
    keys_are(&rig, salt, |user| {
        let cookies = format!("uid=;canary-cohort=d{user}");
        (ask().header("x-user-id", "").header("cookie", cookies), format!("d{user}"))
    })
    .await;
}

/// A browser may spread its cookies over several fields in HTTP/2 (RFC 9113, 8.2.3), and Envoy joins
/// them. In HTTP/1.1, Envoy leaves several lines as they are. A value in quotes is the same client.
#[tokio::test]
async fn a_cookie_is_found_in_any_cookie_line() {
    let rig = Rig::new()
        .affinity(json!([{"cookie": "uid"}]))
        .rollout(|rollout| rollout["override"] = json!({"cookie": "pick"}))
        .weight(50.0)
        .start()
        .await;
    let lines = |lines: [&str; 3]| {
        lines.into_iter().fold(ClientRequest::get("/"), |ask, line| ask.header("cookie", line))
    };
    keys_are(&rig, "demo/1.1.0", |user| {
        (lines(["a=b", &format!("uid=u{user}"), "uid=x; c=d"]), format!("u{user}"))
    })
    .await;
    keys_are(&rig, "demo/1.1.0", |user| {
        (lines(["a=b, e=f", "c=d", &format!("g=h; uid=\"u{user}\"")]), format!("u{user}"))
    })
    .await;
    let mut client = rig.client();
    for (line, version) in [("pick=always", "1.1.0"), ("x; pick=\"never\"", "1.0.0")] {
        for ask in [lines(["a=b", "c=d", line]), lines(["a=b", line, "uid=u1"]).http2()] {
            assert_eq!(client.send(ask).await.unwrap().version(), Some(version), "{line}");
        }
    }
}

/// The first parameter of the name, decoded as URLs are; `+` stays.
#[tokio::test]
async fn a_query_parameter_is_a_key() {
    let rig = Rig::new().affinity(json!([{"query": "user id"}])).weight(50.0).start().await;
    let get = |query: String| ClientRequest::get(&format!("/x?{query}"));
    keys_are(&rig, "demo/1.1.0", |user| {
        (get(format!("a=1&user%20id=u{user}&user%20id=x")), format!("u{user}"))
    })
    .await;
    keys_are(&rig, "demo/1.1.0", |user| {
        (get(format!("%75ser%20id=%75+%zz{user}")), format!("u+%zz{user}"))
    })
    .await;
}

/// The address as Envoy knows it: x-forwarded-for's where the shipped configuration trusts it, with
/// IPv6 written as it is without brackets.
#[tokio::test]
async fn the_source_address_is_a_key() {
    let trusting = |bootstrap: &mut Bootstrap| {
        bootstrap.connection_manager()["use_remote_address"] = false.into();
    };
    let rig = Rig::new().affinity(json!([{"query": "user"}, {"source_address": true}]));
    let rig = rig.bootstrap(trusting).weight(50.0).start().await;
    let from = |address: String| ClientRequest::get("/").header("x-forwarded-for", address);
    keys_are(&rig, "demo/1.1.0", |user| (from(format!("10.1.2.{user}")), format!("10.1.2.{user}")))
        .await;
    keys_are(&rig, "demo/1.1.0", |user| {
        (from(format!("2001:db8::{}", user + 1)), format!("2001:db8::{}", user + 1))
    })
    .await;
    keys_are(&rig, "demo/1.1.0", |_| (ClientRequest::get("/"), "127.0.0.1".to_owned())).await;
}

#[tokio::test]
async fn a_cookie_is_set_with_the_configured_attributes() {
    let cookie = |site: &str| {
        json!([{"cookie": "canary-cohort", "max_age": "1h", "same_site": site, "domain": "service.test",
                "path": "/shop"}])
    };
    for (site, secure) in [("Strict", ""), ("Lax", ""), ("None", "; Secure")] {
        let rig = Rig::new().affinity(cookie(site)).weight(50.0).start().await;
        let expected = |secure: &str| {
            format!(
                "Path=/shop; HttpOnly; SameSite={site}; Max-Age=3600; Domain=service.test{secure}"
            )
        };
        let set = |answer: &ClientResponse| cookie_of(answer).unwrap()[34..].to_owned();
        let plain = rig.get("/").await;
        assert_eq!(set(&plain), expected(secure));
        let https = ClientRequest::get("/").header("x-forwarded-proto", "https");
        assert_eq!(set(&rig.request(https).await), expected("; Secure"));
    }
}

#[tokio::test]
async fn another_salt_draws_other_people() {
    let rig = Rig::new()
        .affinity(json!([{"header": "x-user-id"}]))
        .rollout(|rollout| rollout["salt"] = "autumn".into())
        .weight(50.0)
        .start()
        .await;
    keys_are(&rig, "autumn", |user| {
        (ClientRequest::get("/").header("x-user-id", format!("u{user}")), format!("u{user}"))
    })
    .await;
    let moved = (0..20).map(|user| format!("u{user}"));
    let moved = moved.filter(|key| at_half("autumn", key) != at_half("demo/1.1.0", key)).count();
    assert!((3..=17).contains(&moved), "{moved}");
}

fn cookie_of(answer: &ClientResponse) -> Option<String> {
    cookie_named(answer, "canary-cohort")
}

fn cookie_named(answer: &ClientResponse, name: &str) -> Option<String> {
    let set = answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let mut made = set.filter_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='));
    let cookie = made.next().map(str::to_owned);
    assert!(made.next().is_none(), "set once");
    cookie
}

#[tokio::test]
async fn a_missing_cookie_is_made_and_keeps_its_client_on_its_version() {
    let sources = json!([{"cookie": "canary-cohort", "max_age": "90m"}]);
    let upstream = TestUpstream::ok().header("set-cookie", "own=1");
    let rig = Rig::new().stable(upstream.clone()).canary(upstream).affinity(sources);
    let rig = rig.weight(50.0).start().await;
    let shape =
        Regex::new("^([0-9a-f]{32}); Path=/; HttpOnly; SameSite=Lax; Max-Age=5400$").unwrap();
    let mut ids = Vec::new();
    let mut on_canary = 0;
    for number in 0..40 {
        // Nobody's first visit, with no cookie, another one, or an empty one.
        let ask = match number % 3 {
            0 => ClientRequest::get("/"),
            1 => ClientRequest::get("/").header("cookie", "other=1"),
            _ => ClientRequest::get("/").header("cookie", "other=1; canary-cohort="),
        };
        let first = rig.request(ask).await;
        assert_eq!(first.headers.get_all("set-cookie").iter().count(), 2, "beside the upstream's");
        let cookie = cookie_of(&first).expect("a cookie");
        let id = shape.captures(&cookie).unwrap_or_else(|| panic!("{cookie}"))[1].to_owned();
        assert_eq!(first.version(), Some(at_half("demo/1.1.0", &id)));
        on_canary += u32::from(first.version() == Some("1.1.0"));
        let mut client = rig.client();
        for _ in 0..3 {
            let ask = ClientRequest::get("/").header("cookie", format!("a=b; canary-cohort={id}"));
            let again = client.send(ask).await.unwrap();
            assert_eq!((again.version(), cookie_of(&again)), (first.version(), None));
        }
        ids.push(id);
    }
    // Outside 6 to 34 of 40 one run in two million.
    assert!((6..=34).contains(&on_canary), "{on_canary} of 40 on the canary");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40, "no two are the same");
}

/// The cookie comes with every answer to a client without one, Envoy's own included, whoever was
/// chosen; so a client has it before the first weight is set.
#[tokio::test]
async fn the_cookie_is_set_on_both_roles_and_on_local_replies_and_secure_by_the_scheme() {
    let cookie = json!([{"cookie": "canary-cohort"}]);
    for weight in [0.0, 100.0] {
        let rig = Rig::new().stable(TestUpstream::down()).canary(TestUpstream::down());
        let rig = rig.affinity(cookie.clone()).weight(weight).start().await;
        for ask in [ClientRequest::get("/"), ClientRequest::get("/").http2()] {
            let plain = rig.request(ask.clone()).await;
            let of_day = |secure| format!("Path=/; HttpOnly; SameSite=Lax; Max-Age=86400{secure}");
            assert_eq!((plain.status, plain.upstream()), (503, None));
            let attributes = |answer: &ClientResponse| cookie_of(answer).unwrap()[34..].to_owned();
            assert_eq!(attributes(&plain), of_day(""));
            let http = rig.request(ask.clone().header("x-forwarded-proto", "http")).await;
            assert_eq!(attributes(&http), of_day(""));
            let https = rig.request(ask.header("x-forwarded-proto", "https")).await;
            assert_eq!(attributes(&https), of_day("; Secure"));
        }
    }
}

#[tokio::test]
async fn a_key_further_down_the_list_spares_the_cookie() {
    let sources = json!([{"cookie": "canary-cohort"}, {"header": "x-user-id"}]);
    let rig = Rig::new().affinity(sources).weight(50.0).start().await;
    keys_are(&rig, "demo/1.1.0", |user| {
        (ClientRequest::get("/").header("x-user-id", format!("u{user}")), format!("u{user}"))
    })
    .await;
}
