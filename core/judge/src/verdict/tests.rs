use super::*;

fn verdict(conclusion: Conclusion, log_e: f64) -> Verdict {
    let counts = Pair {
        stable: Trials { trials: 8_117, events: 9 },
        canary: Trials { trials: 431, events: 12 },
    };
    Verdict {
        metric: "failures".to_owned(),
        kind: MetricKind::FailureRate,
        conclusion,
        evidence: Some(Evidence {
            log_e,
            omega: 0.5,
            window_share: 1.0,
            window: None,
            log_limit: 100f64.ln(),
        }),
        non_inferiority: None,
        findings: Findings::Shares {
            unit: FindingUnit::Requests,
            counts,
            ratio: 1.0,
            margin: 0.001,
        },
        missing: Some(InsufficientData::Block { have: 12, need: 30 }),
        lines: LineCounts::default(),
    }
}

#[test]
fn the_reason_names_both_figures_the_margin_and_the_evidence() {
    assert_eq!(
        verdict(Conclusion::Fail, 2_120f64.ln()).reason(),
        "failures: the canary failed 12 of 431 (2.78 %) requests, stable 9 of 8117 (0.111 %); \
         tolerated is stable's share + 0.1 points; evidence of a regression: e-value 2120, \
         limit 200"
    );
    assert!(
        verdict(Conclusion::Pass, 0.25f64.ln())
            .reason()
            .ends_with("; no evidence of a regression: e-value 0.25, limit 200")
    );
    assert_eq!(
        verdict(Conclusion::Insufficient, 0.0).reason(),
        "failures: not enough data since the step began: 12 of the 30 observations that close a \
         block"
    );
    assert!(verdict(Conclusion::Fail, 230.3).reason().contains("e-value 10^100, limit 200"));
}

#[test]
fn evidence_is_weighted_by_its_shares() {
    let mut evidence = verdict(Conclusion::Pass, 200f64.ln()).evidence.unwrap();
    assert!((evidence.log_needed() - 200f64.ln()).abs() < 1e-12);
    evidence.log_e += 1e-9;
    assert!(evidence.suffices());
    evidence.window_share = 0.5;
    assert!(!evidence.suffices(), "a window's share raises the limit");
}

#[test]
fn json_holds_every_number() {
    let json = serde_json::to_value(verdict(Conclusion::Fail, 9.0)).unwrap();
    assert_eq!(json["conclusion"], "fail");
    assert_eq!(json["kind"], "failureRate");
    assert_eq!(json["evidence"]["omega"], 0.5);
    assert_eq!(json["findings"]["of"], "shares");
    assert_eq!(json["findings"]["counts"]["canary"]["events"], 12);
    assert_eq!(json["findings"]["margin"], 0.001);
    assert!(json["reason"].as_str().unwrap().starts_with("failures: the canary failed 12"));
}

#[test]
fn quantiles_name_what_is_compared() {
    let counts = Pair {
        stable: Trials { trials: 1_000, events: 50 },
        canary: Trials { trials: 100, events: 20 },
    };
    let reason = |findings: Findings| {
        let verdict = Verdict { findings, evidence: None, ..verdict(Conclusion::Fail, 9.0) };
        verdict.reason()
    };
    let quantile = |timing| {
        let (quantile, edge_us) = ("p95", Some(120_000.0));
        reason(Findings::Quantile { timing, quantile, edge_us, tolerance: 1.5, counts })
    };
    assert_eq!(
        quantile(Timing::Total),
        "failures: at p95 stable takes 120 ms; 20 of 100 (20 %) canary requests took 180 ms or more \
         (tolerated: 1.5 times as long), 50 of 1000 (5 %) stable ones 120 ms or more"
    );
    assert!(quantile(Timing::Ttfb).contains("stable takes 120 ms to the first byte; 20 of"));
    assert!(quantile(Timing::Gap).contains("stable takes 120 ms between chunks; 20 of"));
    let value = |lower| {
        let (signal, quantile, edge) = ("tokens".to_owned(), "p5", Some(300.0));
        reason(Findings::Value { signal, quantile, lower, edge, tolerance: 1.5, counts })
    };
    assert_eq!(
        value(true),
        "failures: at p5 stable's tokens is 300; 20 of 100 (20 %) canary values were below 200 \
         (tolerated: a factor of 1.5), 50 of 1000 (5 %) stable ones below 300"
    );
    assert!(value(false).contains("canary values were 450 or more (tolerated: a factor of 1.5)"));
}
