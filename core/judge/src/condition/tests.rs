use proptest::prelude::*;

use super::*;

fn holds(text: &str, result: &[f64]) -> bool {
    Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).holds(result).unwrap()
}

#[test]
fn comparisons() {
    for (text, result, expected) in [
        ("result > 0.9", 0.95, true),
        ("result > 0.9", 0.9, false),
        ("result >= 0.9", 0.9, true),
        ("result[0] < 2", 1.0, true),
        ("result[ 0 ]<=-1e-3", -0.001, true),
        ("result == 1", 1.0, true),
        ("result != 1", 1.0, false),
        ("0.5 < result", 0.6, true),
        ("len(result) == 1", 7.0, true),
        ("isNaN(result)", f64::NAN, true),
        ("isInf(result[0])", f64::INFINITY, true),
        ("!isNaN(result) && result > 0.9", f64::NAN, false),
    ] {
        assert_eq!(holds(text, &[result]), expected, "{text} of {result}");
    }
}

#[test]
fn and_binds_closer_than_or() {
    let text = "result > 5 || result >= 0.95 && result < 2";
    for (value, expected) in [(6.0, true), (1.0, true), (3.0, false), (0.9, false)] {
        assert_eq!(holds(text, &[value]), expected, "{value}");
    }
    let grouped = "(result > 5 or result >= 0.95) and not result < 2";
    for (value, expected) in [(6.0, true), (1.0, false), (3.0, true)] {
        assert_eq!(holds(grouped, &[value]), expected, "{value}");
    }
}

#[test]
fn a_result_of_another_shape_is_an_error() {
    let single = Condition::parse("result > 1").unwrap();
    assert_eq!(single.holds(&[1.0, 2.0]), Err(Undecided::NotSingle { len: 2 }));
    let second = Condition::parse("result[1] > 1").unwrap();
    assert_eq!(second.holds(&[1.0]), Err(Undecided::OutOfRange { index: 1, len: 1 }));
    assert!(second.holds(&[1.0, 2.0]).unwrap());
    assert_eq!(single.holds(&[]), Err(Undecided::NotSingle { len: 0 }));
    let guarded = Condition::parse("len(result) > 1 && result[1] > 1").unwrap();
    assert_eq!(guarded.holds(&[1.0]), Ok(false), "what decides first ends the evaluation");
}

#[test]
fn a_value_that_is_nan_decides_nothing() {
    for (text, index) in [
        ("result[0] > 1", 0),
        ("1 < result[0]", 0),
        ("result[1] == result[0]", 0),
        ("!(result[0] > 1)", 0),
        ("isInf(result[0])", 0),
        ("result[1] > 5 || result[0] > 1", 0),
        ("result[0] > 1 && result[1] > 1", 0),
    ] {
        let undecided = Condition::parse(text).unwrap().holds(&[f64::NAN, 2.0]);
        assert_eq!(undecided, Err(Undecided::NotANumber { index }), "{text}");
    }
    assert!(holds("result[0] > 1 || result[1] > 1", &[f64::NAN, 2.0]));
    assert!(!holds("result[0] > 1 && result[1] > 5", &[f64::NAN, 2.0]));
}

#[test]
fn conditions_that_never_change_their_answer_are_found() {
    use ConstantCondition::{AlwaysHolds, NeverAnswers, NeverHolds};
    for (text, constant) in [
        ("result > 0.9", None),
        ("result[0] > 0.9 || result[1] > 0.9", None),
        ("1 > 0", Some(AlwaysHolds)),
        ("0.5 == 1", Some(NeverHolds)),
        ("result > 1 && result < 0", Some(NeverHolds)),
        ("result > 1 && result < 1", Some(NeverHolds)),
        ("result >= 1 && result <= 1", None),
        ("result >= 1 && result <= 1 && result != 1", Some(NeverHolds)),
        ("result > 1 && 0 > result", Some(NeverHolds)),
        ("result > 1 && (result < 5 && !(result > 0))", Some(NeverHolds)),
        ("result > 1 || result < 2", Some(AlwaysHolds)),
        ("result >= 1 or result < 1", Some(AlwaysHolds)),
        ("result > 1 || result < 1", None),
        ("result[0] > 1 && result[1] < 0", None),
        ("result[0] > result[1] && result[0] < result[1]", Some(NeverHolds)),
        ("result[0] > result[1] && result[1] > result[0]", Some(NeverHolds)),
        ("result[0] >= result[1] && result[1] >= result[0]", None),
        ("result[0] >= result[1] || result[1] > result[0]", Some(AlwaysHolds)),
        ("result[0] > result[1] && result[1] > 3 && result[0] < 4", None),
        ("result == result[0]", Some(AlwaysHolds)),
        ("result > result", Some(NeverHolds)),
        ("result >= result", Some(AlwaysHolds)),
        ("isNaN(result) && result > 1", Some(NeverHolds)),
        ("isNaN(result) || result > 1", None),
        ("!isNaN(result)", None),
        ("isNaN(1)", Some(NeverHolds)),
        ("isInf(len(result))", Some(NeverHolds)),
        ("len(result) == 0", Some(NeverHolds)),
        ("len(result) >= 1", Some(AlwaysHolds)),
        ("len(result) == 1.5", Some(NeverHolds)),
        ("len(result) > 1 && len(result) < 3", None),
        ("len(result) > 1 && len(result) < 3 && len(result) != 2", Some(NeverHolds)),
        ("len(result) < 2 && result[1] > 0", Some(NeverHolds)),
        ("result > 1 && result[1] > 1", Some(NeverHolds)),
        ("result > 0.9 && 1 > 2", Some(NeverHolds)),
        ("len(result) == 0 || result[0] > 0.9", None),
    ] {
        assert_eq!(Condition::parse(text).unwrap().constant(None), constant, "{text}");
    }
    let of_one_value = |text| Condition::parse(text).unwrap().constant(Some(1));
    assert_eq!(of_one_value("result[1] > 1"), Some(NeverAnswers));
    assert_eq!(of_one_value("result[0] > 1"), None);
    assert_eq!(of_one_value("len(result) == 1"), Some(AlwaysHolds));
    // One value decides it or leaves it without an answer.
    assert_eq!(of_one_value("result[0] > 1 || result[3] > 1"), Some(AlwaysHolds));
}

#[test]
fn errors_say_where_and_what() {
    for (text, error) in [
        ("", "at character 1: expected a number, result, result[0] or len(result)"),
        ("result", "at character 7: expected a comparison: == != < <= > >="),
        ("result = 1", "at character 8: expected a comparison: == != < <= > >="),
        ("result > ", "at character 10: expected a number, result, result[0] or len(result)"),
        ("result > 1 &", "at character 12: expected &&, || or the end"),
        ("(result > 1", "at character 12: expected )"),
        ("result[x] > 1", "at character 8: expected an index such as 0"),
        ("results > 1", "at character 1: expected a number, result, result[0] or len(result)"),
        ("len(1) > 1", "at character 5: expected result"),
        ("result > 1 result", "at character 12: expected &&, || or the end"),
        ("result > 1e999", "at character 10: expected a number, result, result[0] or len(result)"),
        ("system('rm')", "at character 1: expected a number, result, result[0] or len(result)"),
    ] {
        assert_eq!(Condition::parse(text).unwrap_err().to_string(), error, "{text}");
    }
    let deep = format!("{}result > 1", "!".repeat(100));
    assert!(Condition::parse(&deep).unwrap_err().expected.contains("32 levels"));
    assert!(Condition::parse(&" ".repeat(1_001)).unwrap_err().expected.contains("at most 1000"));
}

/// Conditions that make sense, of few values and numbers so that they often contradict themselves.
fn any_condition() -> impl Strategy<Value = String> {
    let value = "result|result\\[[01]\\]|len\\(result\\)|[0-2]";
    let comparison = (value, "==|!=|<|<=|>|>=", value);
    let leaf = prop_oneof![
        4 => comparison.prop_map(|(left, sign, right)| format!("{left} {sign} {right}")),
        1 => "isNaN\\(result\\)|isNaN\\(result\\[1\\]\\)|isInf\\(result\\[0\\]\\)",
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        (inner.clone(), "&&|\\|\\|", inner, "!?")
            .prop_map(|(left, join, right, not)| format!("{not}({left} {join} {right})"))
    })
}

proptest! {
    #[test]
    fn any_text_is_a_condition_or_an_error(text in "(result|len|isNaN|[0-9.e]|[()\\[\\]!<>=&|]| |é){0,20}") {
        if let Ok(condition) = Condition::parse(&text) {
            let _ = condition.holds(&[1.0]);
        }
    }

    /// What is called constant never gives another answer.
    #[test]
    fn no_result_contradicts_a_constant(text in any_condition()) {
        const VALUES: [f64; 6] = [f64::NAN, -0.5, 0.0, 1.0, 1.5, f64::INFINITY];
        let condition = Condition::parse(&text).unwrap();
        let pairs = VALUES.iter().flat_map(|a| VALUES.iter().map(|b| vec![*a, *b]));
        let singles = VALUES.iter().map(|value| vec![*value]);
        for result in singles.chain(pairs).chain([vec![1.0; 3]]) {
            for constant in [condition.constant(None), condition.constant(Some(result.len()))] {
                let possible = match constant {
                    None => None,
                    Some(ConstantCondition::AlwaysHolds) => Some(true),
                    Some(ConstantCondition::NeverHolds) => Some(false),
                    Some(ConstantCondition::NeverAnswers) => {
                        prop_assert!(condition.holds(&result).is_err());
                        None
                    }
                };
                if let (Some(possible), Ok(answer)) = (possible, condition.holds(&result)) {
                    prop_assert_eq!(answer, possible, "{} of {:?}", text, result);
                }
            }
        }
    }
}
