//! Tests of the controller's page in Chromium; see `tests/browser`. The library is empty.
