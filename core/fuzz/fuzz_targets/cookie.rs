//! Any `cookie` header: what is found is a part of it, and our own cookie is found before all of it.
#![no_main]

use canary_dataplane::cookie;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| {
    if let Some(value) = cookie::find(header, "canary-cohort") {
        assert!(!value.is_empty() && !value.contains(&b';'));
        assert!(header.windows(value.len()).any(|part| part == value));
    }
    let id = cookie::id(header.len() as u64, 7);
    let first = [format!("canary-cohort={id}; ").as_bytes(), header].concat();
    assert_eq!(cookie::find(&first, "canary-cohort"), Some(id.as_bytes()));
});
