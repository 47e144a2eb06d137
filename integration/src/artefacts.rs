//! Finds what the tests run: Envoy, the built filter, canaryctl. What's missing fails with the
//! command that makes it.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the checkout")
        .to_path_buf()
}

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
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("envoy")).find(|file| file.is_file());
    on_path.unwrap_or_else(|| {
        existing(root().join(".cache/envoy/envoy"), "no Envoy: run ./scripts/get-envoy")
    })
}

/// A file that `./scripts/build` makes, by its path in the checkout: `dist/canary_filter.wasm`.
///
/// # Panics
/// When it isn't there, with the command that builds it.
#[must_use]
pub fn built(file: &str) -> PathBuf {
    existing(root().join(file), &format!("{file} isn't built: run ./scripts/build"))
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

/// canaryctl, as built by `./scripts/build`.
///
/// # Panics
/// When it isn't there, with the command that builds it.
#[must_use]
pub fn canaryctl() -> PathBuf {
    built("dist/canaryctl")
}

fn existing(file: PathBuf, otherwise: &str) -> PathBuf {
    assert!(file.is_file(), "{otherwise} (looked for {})", file.display());
    file
}
