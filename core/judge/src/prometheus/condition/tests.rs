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
        ("result > 0.9", f64::NAN, false),
        ("!(result > 0.9)", f64::NAN, true),
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
    assert_eq!(single.holds(&[1.0, 2.0]), Err(ShapeError::NotSingle(2)));
    let second = Condition::parse("result[1] > 1").unwrap();
    assert_eq!(second.holds(&[1.0]), Err(ShapeError::OutOfRange { index: 1, len: 1 }));
    assert!(second.holds(&[1.0, 2.0]).unwrap());
    assert_eq!(
        single.holds(&[]).unwrap_err().to_string(),
        "the query answered 0 series: name one as result[0], or aggregate"
    );
    let guarded = Condition::parse("len(result) > 1 && result[1] > 1").unwrap();
    assert_eq!(guarded.holds(&[1.0]), Ok(false), "what decides first ends the evaluation");
}

#[test]
fn only_conditions_that_ask_see_nan() {
    assert!(Condition::parse("result > 1 || !isNaN(result)").unwrap().asks_for_nan());
    assert!(!Condition::parse("result > 1 && result < 2").unwrap().asks_for_nan());
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

proptest! {
    #[test]
    fn any_text_is_a_condition_or_an_error(text in "(result|len|isNaN|[0-9.e]|[()\\[\\]!<>=&|]| |é){0,20}") {
        if let Ok(condition) = Condition::parse(&text) {
            let _ = condition.holds(&[1.0]);
        }
    }
}
