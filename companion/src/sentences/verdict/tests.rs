use canary_judge::counts::Pair;
use canary_judge::spec::OnFailure;
use canary_judge::verdict::LineCounts;

use super::*;

fn a_verdict(conclusion: Conclusion, log_e: f64) -> Verdict {
    let counts = Pair {
        stable: Trials { trials: 8_117, events: 9 },
        canary: Trials { trials: 431, events: 12 },
    };
    Verdict {
        on_failure: OnFailure::Abort,
        overruled: false,
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
        verdict(&a_verdict(Conclusion::Fail, 2_120f64.ln())),
        "failures: the canary failed 12 of 431 (2.78 %) requests, stable 9 of 8117 (0.111 %); \
         tolerated is stable's share + 0.1 points; evidence of a regression: e-value 2120, \
         limit 200"
    );
    assert!(
        verdict(&a_verdict(Conclusion::Pass, 0.25f64.ln()))
            .ends_with("; no evidence of a regression: e-value 0.25, limit 200")
    );
    assert_eq!(
        verdict(&a_verdict(Conclusion::Insufficient, 0.0)),
        "failures: not enough data since the step began: 12 of the 30 observations that close a \
         block"
    );
    assert!(verdict(&a_verdict(Conclusion::Fail, 230.3)).contains("e-value 10^100, limit 200"));
}

#[test]
fn quantiles_name_what_is_compared() {
    let counts = Pair {
        stable: Trials { trials: 1_000, events: 50 },
        canary: Trials { trials: 100, events: 20 },
    };
    let reason = |findings: Findings| {
        verdict(&Verdict { findings, evidence: None, ..a_verdict(Conclusion::Fail, 9.0) })
    };
    let quantile = |timing| {
        let (quantile, edge_us) = ("p95".into(), Some(120_000.0));
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
        let (signal, quantile, edge) = ("tokens".to_owned(), "p5".into(), Some(300.0));
        reason(Findings::Value { signal, quantile, lower, edge, tolerance: 1.5, counts })
    };
    assert_eq!(
        value(true),
        "failures: at p5 stable's tokens is 300; 20 of 100 (20 %) canary values were below 200 \
         (tolerated: a factor of 1.5), 50 of 1000 (5 %) stable ones below 300"
    );
    assert!(value(false).contains("canary values were 450 or more (tolerated: a factor of 1.5)"));
}
