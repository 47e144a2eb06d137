//! The scripts and styles of the page, which are built into the binary. See `assets/README.md` in the crate.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = concat!(
    include_str!("../../../assets/uplot-1.6.32.min.css"),
    "\n",
    include_str!("../../../assets/style.css")
);
const SCRIPT: &str = concat!(
    include_str!("../../../assets/uplot-1.6.32.min.js"),
    "\n",
    include_str!("../../../assets/idiomorph-0.8.0.min.js"),
    "\n",
    include_str!("../../../assets/app.js")
);
/// A report isn't changed by anything, so it needs no library for that.
const REPORT_SCRIPT: &str = concat!(
    include_str!("../../../assets/uplot-1.6.32.min.js"),
    "\n",
    include_str!("../../../assets/app.js")
);

/// The first digits of the assets' hash: with it in their paths, browsers may keep them for good.
static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::new().chain_update(STYLE).chain_update(SCRIPT).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

/// The policy of a report: only this script and these styles, by their hashes, and nothing from anywhere.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(REPORT_SCRIPT),
        hash(STYLE),
    )
});

/// A file of the page.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its media type with the charset.
    pub(crate) media_type: &'static str,
    pub(crate) text: &'static str,
}

/// Script and styles for a page that stands alone, with the policy that allows them.
pub(super) struct Inline {
    pub(super) policy: &'static str,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
}

impl Inline {
    pub(super) fn new() -> Self {
        Self { policy: POLICY.as_str(), style: STYLE, script: REPORT_SCRIPT }
    }
}

/// A file by its name; `None` if the page has no such file.
pub(crate) fn asset(name: &str) -> Option<Asset> {
    match name {
        "app.js" => Some(Asset { media_type: "text/javascript; charset=utf-8", text: SCRIPT }),
        "style.css" => Some(Asset { media_type: "text/css; charset=utf-8", text: STYLE }),
        _ => None,
    }
}

pub(super) fn fingerprint() -> &'static str {
    FINGERPRINT.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_can_stand_inside_a_page_and_are_small() {
        for text in [STYLE, SCRIPT, REPORT_SCRIPT] {
            let lower = text.to_lowercase();
            for ending in ["</script", "</style", "<!--"] {
                assert!(!lower.contains(ending), "{ending}");
            }
        }
        assert!(STYLE.len() + SCRIPT.len() < 150_000, "{} bytes", STYLE.len() + SCRIPT.len());
        assert!(!SCRIPT.contains("eval(") && !SCRIPT.contains("innerHTML =\""));
    }
}
