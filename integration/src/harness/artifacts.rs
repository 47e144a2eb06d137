//! Finds what the tests run: Envoy, Prometheus, the built filter, canaryctl. What's missing fails with the
//! command that makes it.

use std::env;
use std::path::PathBuf;

pub use crate::harness::checkout::root;
use crate::harness::sources;

/// Envoy: `$ENVOY`, or `envoy` on the `PATH`, or the one that `./scripts/get-envoy` fetched.
///
/// # Panics
/// When there is none, with the command that gets it.
#[must_use]
pub fn envoy() -> PathBuf {
    if let Some(given) = env::var_os("ENVOY").filter(|given| !given.is_empty()) {
        return existing(
            PathBuf::from(given),
            "$ENVOY names no file: unset it and run ./scripts/get-envoy",
        );
    }
    on_path("envoy").unwrap_or_else(|| {
        existing(root().join(".cache/envoy/envoy"), "no Envoy: run ./scripts/get-envoy")
    })
}

/// Prometheus: `$PROMETHEUS`, or `prometheus` on the `PATH`, or the one that
/// `./scripts/get-prometheus` fetched.
///
/// # Panics
/// When there is none, with the command that gets it.
#[must_use]
pub fn prometheus() -> PathBuf {
    let missing = "no Prometheus: run ./scripts/get-prometheus";
    if let Some(given) = env::var_os("PROMETHEUS").filter(|given| !given.is_empty()) {
        return existing(PathBuf::from(given), missing);
    }
    let cached = || existing(root().join(".cache/prometheus/usr/bin/prometheus"), missing);
    on_path("prometheus").unwrap_or_else(cached)
}

/// Prometheus' own checker, beside it.
///
/// # Panics
/// When it isn't there.
#[must_use]
pub fn promtool() -> PathBuf {
    let beside = prometheus().with_file_name("promtool");
    existing(beside, "no promtool beside Prometheus: run ./scripts/get-prometheus")
}

/// A file that `./scripts/build` makes, by its path in the checkout: `dist/canary_filter.wasm`.
///
/// # Panics
/// If it is missing or was built from other sources than the checkout's, with the command that builds it.
#[must_use]
pub fn built(file: &str) -> PathBuf {
    let path = existing(root().join(file), &format!("{file} isn't built: run ./scripts/build"));
    sources::assert_current(file);
    path
}

/// The filter with all its hooks.
///
/// # Panics
/// When it isn't there, with the command that builds it.
#[must_use]
pub fn filter() -> PathBuf {
    built("dist/canary_filter.wasm")
}

/// The filter without body hooks.
///
/// # Panics
/// When it isn't there, with the command that builds it.
#[must_use]
pub fn filter_headers() -> PathBuf {
    built("dist/canary_filter_headers.wasm")
}

/// The filter without body hooks, as built by `./scripts/build`.
///
/// # Panics
/// When it isn't there, with the command that builds it.
#[must_use]
pub fn filter_without_body_hooks() -> PathBuf {
    built("dist/canary_filter_headers.wasm")
}

/// The filter with a fault (`integration/panicking-filter`).
///
/// # Panics
/// When it isn't there, with the command that builds it.
#[must_use]
pub fn panicking_filter() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let module = target.join("wasm32-wasip1/wasm/panicking_filter.wasm");
    let build = "cargo build -p panicking-filter --target wasm32-wasip1 --profile wasm";
    existing(module, &format!("the filter with a fault isn't built: {build}"))
}

/// canaryctl, as built by `./scripts/build`.
///
/// # Panics
/// When it isn't there, with the command that builds it.
#[must_use]
pub fn canaryctl() -> PathBuf {
    built("dist/canaryctl")
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn existing(file: PathBuf, otherwise: &str) -> PathBuf {
    assert!(file.is_file(), "{otherwise} (looked for {})", file.display());
    file
}
