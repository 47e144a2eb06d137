//! The values that a client's key can come from, other than headers, cookies and bodies.

use percent_encoding::percent_decode;

/// The first parameter called `name` in a raw path's query, percent-decoded; `None` if there is none or
/// it is empty. `+` stays, and so do broken escapes, because servers differ in how they read them.
pub fn query(path: &[u8], name: &str) -> Option<Vec<u8>> {
    let path = path.split(|byte| *byte == b'#').next()?;
    let query = path.splitn(2, |byte| *byte == b'?').nth(1)?;
    let value = query.split(|byte| *byte == b'&').find_map(|parameter| {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        let named = percent_decode(parts.next()?).eq(name.bytes());
        named.then(|| percent_decode(parts.next().unwrap_or_default()).collect::<Vec<u8>>())
    });
    value.filter(|value| !value.is_empty())
}

/// An address without its port and without the brackets of IPv6; `None` if it is empty.
pub fn source_address(address: &[u8]) -> Option<Vec<u8>> {
    let host = match address.strip_prefix(b"[") {
        Some(rest) => rest.split(|byte| *byte == b']').next(),
        None => {
            let colons = address.iter().filter(|byte| **byte == b':').count();
            // More than one colon without brackets is an IPv6 address without a port.
            if colons == 1 { address.split(|byte| *byte == b':').next() } else { Some(address) }
        }
    };
    host.filter(|host| !host.is_empty()).map(<[u8]>::to_vec)
}
