//! What is looked at regularly during the run: memory, open files, statistics, the journal.

use std::collections::BTreeSet;
use std::path::Path;

use crate::bench::process;
use crate::bench::running_controller::RunningController;
use crate::harness::admin::EnvoyAdmin;
use crate::{FilterStats, Running};

/// One look at everything.
#[derive(Clone, Debug)]
pub(super) struct SoakSample {
    /// Envoy's resident memory, in bytes.
    pub(super) envoy_resident: u64,
    /// What Envoy's allocator has given out, in bytes: without what it keeps for later, and without V8's.
    pub(super) envoy_allocated: u64,
    /// The controller's resident memory, in bytes.
    pub(super) controller_resident: u64,
    /// Envoy's open files, its connections included.
    pub(super) envoy_files: usize,
    /// The controller's open files, its connections included.
    pub(super) controller_files: usize,
    /// The names of the filter's statistics, without `wasmcustom.canary.`.
    pub(super) filter_statistics: BTreeSet<String>,
    /// How many statistics Envoy has in all.
    pub(super) all_statistics: usize,
    /// The size of the journal that is being written, in bytes.
    pub(super) journal: u64,
    /// The size of the folder with this journal and those of all releases before, in bytes.
    pub(super) state: u64,
}

impl SoakSample {
    /// Looks now. `state` is the folder of the controller's journals.
    pub(super) async fn take(
        envoy: &Running,
        controller: &RunningController,
        state: &Path,
    ) -> Self {
        let (envoy_pid, admin) = (envoy.envoy_pid().expect("Envoy runs"), envoy.admin());
        let statistics = FilterStats::read(admin).await;
        let names = statistics.values.keys().chain(statistics.histograms.keys()).cloned();
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let files = std::fs::read_dir(state).into_iter().flatten().flatten();
        Self {
            envoy_resident: process::resident_bytes(envoy_pid),
            envoy_allocated: allocated(admin).await,
            controller_resident: process::resident_bytes(controller.pid()),
            envoy_files: process::open_files(envoy_pid),
            controller_files: process::open_files(controller.pid()),
            filter_statistics: names.collect(),
            all_statistics: lines(admin, "/stats").await,
            journal: size(&state.join("demo.jsonl")),
            state: files.map(|file| size(&file.path())).sum(),
        }
    }
}

async fn allocated(admin: &EnvoyAdmin) -> u64 {
    let memory = admin.json("/memory").await;
    let text = memory["allocated"].as_str().and_then(|text| text.parse().ok());
    text.unwrap_or_else(|| panic!("no memory in {memory}"))
}

async fn lines(admin: &EnvoyAdmin, path: &str) -> usize {
    let (status, body) = admin.get(path).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(status, 200, "GET {path}");
    String::from_utf8_lossy(&body).lines().count()
}
