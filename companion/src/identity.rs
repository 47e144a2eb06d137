//! Who is at the keyboard: the owner that a takeover writes down.

use canary_model::runtime::check_owner;

/// What stands before the number of a `run`, and of a release of `serve`.
const RUN: &str = "/run-";
const SERVE: &str = "/serve-";

/// `user@host`, of what the environment says. Characters that an owner key can't have become `-`.
pub(crate) fn owner() -> String {
    let user = ["CANARYCTL_OWNER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let host = gethostname::gethostname();
    from_parts(user.as_deref().unwrap_or("canaryctl"), &host.to_string_lossy())
}

/// The same for a controller: nobody else is called like that, not even the same person's next one.
pub(crate) fn controller(random: u32) -> String {
    numbered(RUN, random)
}

/// The same for a release of `serve`.
pub(crate) fn serve(random: u32) -> String {
    numbered(SERVE, random)
}

fn numbered(kind: &str, random: u32) -> String {
    let person: String = owner().chars().take(100).collect();
    format!("{person}{kind}{random:08x}")
}

/// Whether an owner is a release of some `serve`.
pub(crate) fn is_serve(owner: &str) -> bool {
    owner.contains(SERVE)
}

fn from_parts(user: &str, host: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._@:/-".contains(c) { c } else { '-' };
    let name = if user.contains('@') { user.to_owned() } else { format!("{user}@{host}") };
    let name: String = name.chars().map(plain).take(128).collect();
    if check_owner(&name).is_ok() { name } else { "canaryctl".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn always_an_owner_that_can_be_written() {
        assert_eq!(from_parts("ann", "build-7"), "ann@build-7");
        assert_eq!(from_parts("ci@deploy", "x"), "ci@deploy");
        assert_eq!(from_parts("ann smith", "é"), "ann-smith@-");
        assert_eq!(from_parts("*", "x"), "canaryctl");
        assert_eq!(from_parts(&"a".repeat(200), "x").len(), 128);
    }
}
