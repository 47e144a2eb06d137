//! What Linux reports about processes and cores: processor time, memory, whose machine this is.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processor time of all of a process's threads so far, in nanoseconds. Threads that end take
/// theirs with them; an Envoy's don't while it serves.
pub(super) fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.filter_map(|task| of_task(task.expect("a thread"))).sum()
}

/// A process's resident memory in bytes.
pub(super) fn resident_bytes(pid: u32) -> u64 {
    memory(pid, "VmRSS:").expect("the process runs")
}

/// The most resident memory that a process has had so far, in bytes; `None` if it is over.
pub(super) fn peak_bytes(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// How many files, sockets and pipes a process has open.
pub(super) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// How long a core has been busy since the machine started, in nanoseconds.
pub(super) fn core_busy_ns(core: usize) -> u64 {
    // USER_HZ is 100 on every Linux that Envoy runs on.
    const TICK_NS: u64 = 10_000_000;
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let name = format!("cpu{core}");
    let line = stat.lines().find(|line| line.split_whitespace().next() == Some(&name));
    let fields = line.expect("the core is there").split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.map(|field| field.parse().expect("ticks")).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    TICK_NS * [0, 1, 2, 5, 6, 7].into_iter().map(|field| ticks[field]).sum::<u64>()
}

/// The cores that this process may use.
pub(super) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("the set of cores");
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps this thread, and all that it starts from now on, to these cores.
pub(super) fn keep_to(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).expect("the cores can be chosen");
}

/// The machine in a few words.
pub(super) fn machine() -> String {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = model.unwrap_or("a processor without a name");
    format!("{model}, {} cores, Linux {}", cores().len(), kernel.trim())
}
