//! What many rollouts cost: 50 of them, 25 on each of 20 Envoys, all in a release. With an optimized build
//! (`cargo test --release -p canaryctl --test cli serve::load -- --nocapture`) it asserts the processor's
//! share, too.

use super::*;

const ENVOYS: usize = 20;
const ROLLOUTS: usize = 50;
/// How long the processor's time is measured.
const OVER: Duration = Duration::from_secs(20);

/// The processor time that a process has used, in seconds.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold spaces: user and system time are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // What Linux counts this time in, on every architecture.
    ticks / 100.0
}

/// The memory that a process has in use, in MB.
fn resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_000.0
}

#[test]
fn fifty_rollouts_on_twenty_envoys() {
    let place = Place::new();
    let names: Vec<String> = (0..ROLLOUTS).map(|number| format!("r{number:02}")).collect();
    let on = |rollout: usize, envoy: usize| (rollout + envoy).is_multiple_of(2);
    let envoys: Vec<Fake> = (0..ENVOYS)
        .map(|envoy| {
            let here = names.iter().enumerate().filter(|(number, _)| on(*number, envoy));
            let here: Vec<&str> = here.map(|(_, name)| name.as_str()).collect();
            assert_eq!(here.len(), 25);
            busy(&here)
        })
        .collect();
    for (number, name) in names.iter().enumerate() {
        let of: Vec<&Fake> = envoys
            .iter()
            .enumerate()
            .filter(|(envoy, _)| on(number, *envoy))
            .map(|(_, fake)| fake)
            .collect();
        let mut rollout = patient(name, &of);
        rollout["lease"] = json!("30s");
        place.file(&format!("{name}.yaml"), &rollout);
    }
    let server = Server::start(&place, &["--tick", "1s"]);
    for name in &names {
        crate::until("the start", || server.ctl(&["start", name]).code == 0);
    }
    for name in &names {
        server.comes_to(name, is("Paused"));
    }
    let pid = server.child.id();
    let (before, since) = (processor_seconds(pid), Instant::now());
    std::thread::sleep(OVER);
    let share = (processor_seconds(pid) - before) / since.elapsed().as_secs_f64();
    let memory = resident_mb(pid);
    println!("{ROLLOUTS} rollouts: {:.1} % of a core, {memory:.1} MB", 100.0 * share);
    assert!(memory <= 100.0, "{memory:.1} MB");
    assert!(cfg!(debug_assertions) || share <= 0.15, "{:.1} % of a core", 100.0 * share);
}
