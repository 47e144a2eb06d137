//! The judge: the statistics that compare the canary with the stable version.
