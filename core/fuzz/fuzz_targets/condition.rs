//! Any condition of a Prometheus metric: where it makes no sense lies in the text, and what does make
//! sense can be asked of every result.
#![no_main]

use canary_judge::condition::Condition;
use libfuzzer_sys::fuzz_target;

const RESULTS: [&[f64]; 5] =
    [&[], &[0.0], &[f64::NAN], &[f64::INFINITY, f64::NEG_INFINITY], &[1e308, -0.0, 5e-324]];

fuzz_target!(|text: &str| match Condition::parse(text) {
    Ok(condition) => {
        assert_eq!(condition.text(), text);
        assert_eq!(Condition::parse(condition.text()).as_ref(), Ok(&condition));
        let negation = Condition::parse(&format!("!({text})"));
        for result in RESULTS {
            let holds = condition.holds(result);
            if let Ok(negation) = &negation {
                assert_eq!(negation.holds(result), holds.map(|holds| !holds));
            }
        }
    }
    Err(error) => assert!(error.at <= text.len() && !error.expected.is_empty()),
});
