//! What the service costs the host it runs on. A measurement and no test: `cargo xtask bench agent` runs it with the program as it
//! is shipped, and reads the line it prints.

use std::fs;
use std::time::Duration;

use crate::host::Host;
use crate::recorder::Machine;
use crate::server::Server;
use crate::world::{Image, Signed, noise, release};

/// Blocks of the root file system: 192 MiB.
const BLOCKS: usize = 49_152;

/// How long an idle service is watched.
const WATCHED: Duration = Duration::from_mins(1);

/// After which the threads that worked have gone, and their counts with them: they wait for ten seconds for more to do.
const SETTLES: Duration = Duration::from_secs(15);

/// A field of `/proc/PID/status`, in its own unit.
pub(crate) fn status_field(pid: u32, task: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{task}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':')
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// How often all threads together went to sleep, which is how often they had woken.
fn wake_ups(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let ids = tasks.map(|task| task.unwrap().file_name().to_string_lossy().parse().unwrap());
    ids.map(|task: u32| status_field(pid, task, "voluntary_ctxt_switches"))
        .sum()
}

/// Processor time in user and kernel mode, in hundredths of a second (`proc_pid_stat(5)`, fields 14 and 15).
pub(crate) fn cpu_hundredths(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "a measurement: `cargo xtask bench agent`"]
fn footprint() {
    let blocks = |count: usize| count * twinhull_verity::BLOCK_SIZE;
    let first = noise(1, blocks(BLOCKS));
    let mut second = first.clone();
    // One block in fifty is new, in runs of twenty.
    for start in (0..BLOCKS - 20).step_by(1000) {
        second[blocks(start)..blocks(start + 20)].copy_from_slice(&noise(start as u64 + 2, blocks(20)));
    }
    let (old, new) = (Image::new("1.0.0", first, 1), Image::new("1.1.0", second, 2));
    let folder = tempfile::tempdir().unwrap();
    let repository = Signed::new(folder.path());
    let (document, files) = release(&old, None);
    repository.publish(&document, &files);
    let host = Host::new(&old, &Machine::new(&old, None), &repository.root());
    let server = Server::new(&repository.folder);
    host.configure(&format!(
        "[updates]\nrepository = \"{}/\"\nstrategy = \"download-only\"\n",
        server.base
    ));

    let service = host.service();
    let pid = service.pid();
    host.until("up to date", |status| status["last_check"]["offered"] == "1.0.0");
    std::thread::sleep(SETTLES);
    let before = wake_ups(pid);
    std::thread::sleep(WATCHED);
    let idle_wake_ups = wake_ups(pid).saturating_sub(before);
    let idle_memory = status_field(pid, pid, "VmRSS") * 1024;

    let (document, files) = release(&new, Some(&old));
    repository.publish(&document, &files);
    let before = cpu_hundredths(pid);
    let process = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGHUP).unwrap();
    host.until("staged", |status| status["state"]["phase"] == "staged");
    let update_cpu = cpu_hundredths(pid) - before;
    std::thread::sleep(SETTLES);
    let figures = serde_json::json!({
        "root": blocks(BLOCKS),
        "idle_memory": idle_memory,
        "idle_wake_ups": idle_wake_ups,
        "idle_seconds": WATCHED.as_secs(),
        "memory_after_update": status_field(pid, pid, "VmRSS") * 1024,
        "update_peak_memory": status_field(pid, pid, "VmHWM") * 1024,
        "update_cpu_hundredths": update_cpu,
    });
    println!("footprint {figures}");
}
