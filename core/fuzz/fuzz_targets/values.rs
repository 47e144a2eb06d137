//! The small grammars: whatever is read writes itself so that it reads back the same.
#![no_main]

use canary_dataplane::protocol::{grpc_status, http_status, is_grpc};
use canary_model::duration;
use canary_model::matching::Authority;
use canary_model::runtime::{Lease, RuntimeKey, check_owner, parse_count, parse_enabled};
use canary_model::weight::{PPM, Weight};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert!(http_status(data).is_none_or(|status| (100..=599).contains(&status)));
    let _ = (grpc_status(data), is_grpc(data));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(weight) = Weight::parse_percent(text) {
        assert!(weight.ppm() <= PPM);
        assert_eq!(Weight::parse_percent(&weight.to_string()), Ok(weight));
    }
    if let Ok(number) = serde_json::from_str::<serde_json::Number>(text)
        && let Ok(weight) = Weight::from_json(&number)
    {
        let read = number.as_f64().unwrap_or(f64::NAN);
        assert!((weight.percent() - read).abs() < 1e-9, "{number} was rounded to {weight}");
    }
    if let Ok(lease) = Lease::parse(text) {
        assert_eq!(Lease::parse(&lease.to_string()), Ok(lease));
    }
    if let Some(read) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::format(read)), Some(read));
    }
    if let Some(key) = RuntimeKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(count) = parse_count(text) {
        assert_eq!(parse_count(&count.to_string()), Ok(count));
    }
    assert_eq!(parse_enabled(text).is_ok(), text == "0" || text == "100");
    assert!(check_owner(text).is_err() || text.len() <= 128);
    if let Some(authority) = Authority::parse(text) {
        assert_eq!(Authority::parse(&text.to_ascii_uppercase()), Some(authority));
    }
});
