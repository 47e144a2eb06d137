//! Values: shifts to either side found as soon as the study says, equal and tolerated distributions left
//! alone (STATISTICS 1.11, figures I).

use canary_judge::counts::Pair;
use canary_judge::observation::Observation;
use canary_model::histogram::{Bin, Histogram};
use canary_model::weight::Weight;
use rand::RngExt;
use rand_distr::{Distribution, LogNormal, Poisson};
use serde_json::json;

use crate::rig::{Rng, Run, binomial, canary_quantiles, decided, judge, most, runs, until_abort};

/// The canary's share of requests.
const WEIGHT: f64 = 0.05;
/// The canary's cold start, which doesn't count.
const COLD: u64 = 50;

/// Whole numbers in Envoy's bins; zero has a bin of its own.
fn whole(values: impl Iterator<Item = f64>) -> Histogram {
    let bin = |value: f64| {
        let width = 10f64.powi((value.max(1.0).log10().floor() as i32 - 1).max(0));
        let bin = if value == 0.0 {
            Bin::new(0.0, 0.0)
        } else {
            Bin::new((value / width).floor() * width, width)
        };
        (bin.unwrap(), 1)
    };
    values.map(bin).collect()
}

/// Where values come from, before the canary's factor.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Log-normal around 3,000 with this sigma; this share of them is zero instead.
    LogNormal {
        sigma: f64,
        zeros: f64,
    },
    Poisson(f64),
}

impl Source {
    fn draw(self, rng: &mut Rng, factor: f64) -> f64 {
        match self {
            Self::LogNormal { zeros, .. } if rng.random_bool(zeros) => 0.0,
            Self::LogNormal { sigma, .. } => {
                (factor * LogNormal::new(3_000f64.ln(), sigma).unwrap().sample(rng)).round()
            }
            Self::Poisson(mean) => Poisson::new(factor * mean).unwrap().sample(rng),
        }
    }
}

fn line(t: u64, canary: u64, stable: u64, mut draw: impl FnMut(bool) -> f64) -> Observation {
    let weight = Weight::from_ppm((WEIGHT * 1e6) as u32).unwrap();
    let mut line = Observation { t: t as f64, weight, ..Observation::default() };
    line.roles.canary.total = Some(canary);
    line.roles.stable.total = Some(stable);
    let values = Pair {
        stable: Some(whole((0..stable).map(|_| draw(false)))),
        canary: Some(whole((0..canary).map(|_| draw(true)))),
    };
    line.values.insert("tokens".to_owned(), values);
    line
}

/// Runs in lines of 100 values after a history of 1,000; what they count are canary values beyond the cold
/// start.
fn shifted(
    count: u64,
    (worse, tolerance): (&str, f64),
    source: Source,
    factor: f64,
    lines: u64,
) -> Vec<Run> {
    let metric = json!([{"name": "v", "kind": "values", "signal": "tokens", "worse": worse,
        "tolerance": tolerance}]);
    let judge = judge(&metric);
    runs(count, |rng| {
        let past =
            line(0, COLD, 1_000, |canary| source.draw(rng, if canary { factor } else { 1.0 }));
        let lines = (1..lines).map(|t| {
            let nc = binomial(rng, 100, WEIGHT);
            line(t, nc, 100 - nc, |canary| source.draw(rng, if canary { factor } else { 1.0 }))
        });
        let mut run = until_abort(judge.clone(), std::iter::once(past).chain(lines));
        run.canary = run.canary.saturating_sub(COLD);
        run
    })
}

const NARROW: Source = Source::LogNormal { sigma: 0.5, zeros: 0.0 };
const ZEROS: Source = Source::LogNormal { sigma: 0.5, zeros: 0.1 };

#[test]
fn a_shift_is_found_as_soon_as_it_should_be() {
    // (direction, tolerance), source, factor, the study's median and 95th percentile.
    for (rule, source, factor, [median, p95]) in [
        (("higher", 1.0), NARROW, 1.2, [180, 310]),
        (("lower", 1.0), NARROW, 0.8, [120, 230]),
        (("both", 1.0), NARROW, 1.2, [190, 330]),
        (("both", 1.0), NARROW, 0.8, [130, 250]),
        (("higher", 1.0), ZEROS, 1.2, [200, 420]),
        (("lower", 1.0), ZEROS, 0.8, [170, 290]),
        (("higher", 1.1), NARROW, 1.3, [230, 470]),
        (("lower", 1.1), NARROW, 0.8, [380, 720]),
        (("higher", 1.0), Source::Poisson(30.0), 1.1, [70, 150]),
    ] {
        let measured = canary_quantiles(&shifted(100, rule, source, factor, 1_500));
        println!("{rule:?} {source:?} x {factor}: {measured:?}, study {median}/{p95}");
        assert!(measured.0 <= median * 13 / 10 && measured.1 <= p95 * 15 / 10, "{measured:?}");
        assert!(measured.0 >= median * 6 / 10, "too good to be true: {measured:?}");
    }
}

#[test]
fn equal_values_and_those_at_the_tolerance_are_left_alone() {
    let stars = Source::Poisson(2.0);
    for (rule, source, factor) in [
        (("both", 1.0), NARROW, 1.0),
        (("both", 1.0), ZEROS, 1.0),
        (("both", 1.0), stars, 1.0),
        (("higher", 1.1), NARROW, 1.1),
        (("lower", 1.1), NARROW, 1.0 / 1.1),
        // What ties hide: between e and 1.1 e there is no small whole number.
        (("higher", 1.1), stars, 1.2),
    ] {
        let wrong = decided(&shifted(120, rule, source, factor, 500));
        println!("{rule:?} {source:?} x {factor}: {wrong} of 120");
        assert!(wrong <= most(120, 0.01), "{rule:?} {source:?} x {factor}: {wrong} of 120");
    }
}
