//! The filter's statistics against what the client saw.

use canary_integration::{ClientRequest, Fault, FilterStats, Rig, TestUpstream};

const STATUSES: [u16; 8] = [200, 204, 302, 404, 429, 500, 502, 503];

#[tokio::test]
async fn classes_and_failures_are_the_clients_per_version() {
    let by_path = |seen: &canary_integration::RecordedRequest| {
        Some((seen.path[1..].parse().unwrap(), "".into()))
    };
    let upstream = TestUpstream::ok().script(by_path);
    let rig = Rig::new().stable(upstream.clone()).canary(upstream).weight(30.0).start().await;
    let status_of = |number: u64| STATUSES[usize::try_from(number).unwrap() % STATUSES.len()];
    let tally = rig
        .load(1_600)
        .each(move |number| ClientRequest::get(&format!("/{}", status_of(number))))
        .await;
    let stats = rig.counted(1_600).await;
    for (role, version) in [("stable", "1.0.0"), ("canary", "1.1.0")] {
        let of_class = |class: u16| {
            tally.count(|outcome| {
                outcome.version.as_deref() == Some(version) && outcome.status / 100 == class
            })
        };
        for class in 2..=5 {
            assert_eq!(
                stats.metric_of(role, &format!("rq_{class}xx")),
                of_class(class),
                "{role} {class}xx, {tally:?}"
            );
        }
        assert_eq!(stats.metric_of(role, "rq_failure"), of_class(5), "{role}, {tally:?}");
        assert_eq!(stats.metric_of(role, "rq_total"), tally.of_version(version));
        assert!(tally.of_version(version) > 300, "both roles were tried");
    }
}

#[tokio::test]
async fn times_are_counted_in_microseconds_per_version() {
    let (stable, canary) = (TestUpstream::ok().latency_ms(5), TestUpstream::ok().latency_ms(60));
    let rig = Rig::new().stable(stable).canary(canary).weight(50.0).start().await;
    let tally = rig.load(200).concurrency(16).await;
    rig.counted(200).await;
    let samples = |stats: &FilterStats| {
        stats.samples("stable", "rq_time_us") + stats.samples("canary", "rq_time_us")
    };
    let probe = async || rig.stats().await;
    let stats = rig.eventually("200 times", probe, |stats| samples(stats) == 200).await;
    for (role, version, least, most) in
        [("stable", "1.0.0", 5_000.0, 55_000.0), ("canary", "1.1.0", 60_000.0, 1e6)]
    {
        let bins = stats.bins(role, "rq_time_us");
        let count = stats.samples(role, "rq_time_us");
        assert_eq!(count, tally.of_version(version), "{bins:?}");
        // A bin's width is a tenth of its magnitude; of a shared machine's hiccups half the
        // requests are free.
        assert!(bins.iter().all(|bin| bin.lower + bin.width > least), "{role}: {bins:?}");
        let within: u64 = bins.iter().filter(|bin| bin.lower < most).map(|bin| bin.count).sum();
        assert!(2 * within > count, "{role}: {bins:?}");
    }
}

/// Ends a request in ways that aren't the service's: they're counted once, or not at all, but never
/// twice.
#[tokio::test]
async fn a_broken_off_body_is_counted_once() {
    let rig = Rig::new()
        .canary(TestUpstream::ok().fault(Fault::Truncate).body("half of this"))
        .weight(100.0)
        .start()
        .await;
    let tally = rig.load(10).await;
    assert_eq!(tally.broken.len(), 10, "{tally:?}");
    let stats = rig.counted(10).await;
    assert_eq!(stats.metric_of("canary", "rq_total"), 10);
}

#[tokio::test]
async fn prometheus_gets_labels_and_none_of_the_names_parts() {
    let rig = Rig::new().versions("3.1.0", "3.2.0-rc.1").weight(50.0).start().await;
    rig.load(100).await;
    let stats = rig.counted(100).await;
    for (role, version) in [("stable", "3.1.0"), ("canary", "3.2.0-rc.1")] {
        let labels = [("rollout", "demo"), ("role", role), ("version", version)];
        let total = Some(stats.metric_of(role, "rq_total").to_string());
        assert_eq!(value_of(&rig.prometheus().await, "canary_rq_total", &labels), total);
        let times = async || value_of(&rig.prometheus().await, "canary_rq_time_us_count", &labels);
        rig.eventually("as many times", times, |times| *times == total).await;
        let bucket = [&labels[..], &[("le", "2500")]].concat();
        assert!(value_of(&rig.prometheus().await, "canary_rq_time_us_bucket", &bucket).is_some());
    }
    let lines = rig.prometheus().await;
    assert_eq!(
        value_of(&lines, "canary_weight_ppm", &[("rollout", "demo")]).as_deref(),
        Some("500000")
    );
    assert!(value_of(&lines, "canary_filter_heartbeat", &[]).is_some());
    let untagged = lines.iter().find(|line| line.split('{').next().unwrap().contains("demo"));
    assert_eq!(untagged, None, "a part of the name that should be a label");
}

/// The value of a Prometheus series with exactly these labels, in any order.
fn value_of(lines: &[String], name: &str, labels: &[(&str, &str)]) -> Option<String> {
    let mut wanted: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    wanted.sort();
    lines.iter().find_map(|line| {
        let (series, value) = line.split_once("} ")?;
        let (found, text) = series.split_once('{')?;
        let mut text: Vec<&str> = text.split(',').filter(|label| !label.is_empty()).collect();
        text.sort_unstable();
        (found == name && text == wanted).then(|| value.to_owned())
    })
}
