//! How one stream ended for one rule.

/// Where a rule decided, or where the stream ended without that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunOutcome {
    pub(super) decided: bool,
    /// Canary requests until then.
    pub(super) canary: u64,
    /// Failed ones among them.
    pub(super) failed: u64,
}
