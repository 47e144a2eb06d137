//! Any authority and path: who is taken stays taken by another case and port, and only the path
//! before the query counts.
#![no_main]

use canary_dataplane::assign::Headers;
use canary_dataplane::matching::{RequestTarget, matches};
use canary_dataplane::request_body::RequestBody;
use canary_model::matching::{Authority, Match};
use libfuzzer_sys::fuzz_target;
struct Request {
    authority: Vec<u8>,
    path: Vec<u8>,
}

impl Headers for Request {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        Some(if name == ":path" { self.path.clone() } else { self.authority.clone() })
    }

    fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        self.get(name).into_iter().collect()
    }
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (authority, path) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let wanted = lines.next().and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let authorities: Vec<_> = wanted.lines().filter_map(Authority::parse).collect();
    let prefixes = wanted.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect();
    let wanted = Match { authorities, path_prefixes: prefixes, ..Match::default() };
    let takes = |authority: &[u8], path: &[u8]| {
        let request = Request { authority: authority.to_vec(), path: path.to_vec() };
        matches(&wanted, &RequestTarget::new(&request), &RequestBody::unread())
    };
    let taken = takes(authority, path);
    assert_eq!(taken, takes(&authority.to_ascii_uppercase(), path));
    assert_eq!(taken, takes(authority, &[path, b"?/v2"].concat()));
    if !authority.contains(&b':') {
        assert_eq!(taken, takes(&[authority, b":8080"].concat(), path));
    }
});
