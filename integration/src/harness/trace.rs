//! What the filter asks of Envoy, call by call: read from Envoy's own trace of its VMs, so that it
//! says what a request really costs.

use std::collections::BTreeMap;

/// One callback into the filter, with every call that the filter made during it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The callback's name, such as `proxy_on_request_headers`.
    pub name: String,
    /// The calls' names, in their order, such as `proxy_get_shared_data`.
    pub calls: Vec<String>,
}

impl Callback {
    /// Reads a log at trace level. Each thread has a VM of its own; their lines lie mixed.
    pub(crate) fn read(log: &str) -> Vec<Self> {
        let mut open: BTreeMap<&str, Self> = BTreeMap::new();
        let mut done = Vec::new();
        for line in log.lines().filter(|line| line.contains("[trace][wasm]")) {
            let thread = line.split(['[', ']']).nth(3).unwrap_or_default();
            if let Some(name) = after(line, "[host->vm] ")
                && name != "proxy_on_memory_allocate"
            {
                open.insert(thread, Self { name: name.to_owned(), calls: Vec::new() });
            } else if let (Some(call), Some(callback)) =
                (after(line, "[vm->host] "), open.get_mut(thread))
            {
                let name = call.rsplit('.').next().unwrap_or(call);
                callback.calls.push(name.to_owned());
            } else if let Some(name) = after(line, "[host<-vm] ")
                && open.get(thread).is_some_and(|callback| callback.name == name)
            {
                done.extend(open.remove(thread));
            }
        }
        done
    }
}

/// The word that follows, up to its arguments or its result.
fn after<'a>(line: &'a str, arrow: &str) -> Option<&'a str> {
    line.split_once(arrow)?.1.split(['(', ' ']).next()
}
