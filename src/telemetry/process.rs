//! What this process takes of its machine: processors, memory and files, sampled about once a second.
//!
//! What the system does not tell is `None`, never a guess.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);

/// From the start to the first sample that has shares of time.
const FIRST: Duration = Duration::from_millis(250);

/// How often the open files are counted, in samples: that costs as much as there are.
const FILES_EVERY: u64 = 5;

/// Over how many samples rates are the mean.
const RATE_OVER: usize = 10;

/// The process and its machine at one time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Processor time since the sample before, as a share of all processors that this process may use: 0 to 1.
    pub process_cpu: Option<f64>,
    /// Time in which the machine's processors were not idle since the sample before: 0 to 1.
    pub machine_cpu: Option<f64>,
    /// Processor time since the start, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory of this process that is in RAM.
    pub resident_bytes: Option<u64>,
    pub virtual_bytes: Option<u64>,
    /// What this process may have: the smallest limit of its control groups, else the machine's memory.
    pub memory_limit_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub open_files_limit: Option<u64>,
    /// When the process began, in seconds since the Unix epoch.
    pub started_at: Option<u64>,
    /// Checks begun in a second, the mean of the last ten.
    pub checks_per_second: Option<f64>,
}

/// The newest [`Sample`], for whoever asks or waits for the next.
#[derive(Debug, Default)]
pub struct ProcessWatch(watch::Sender<Sample>);

impl ProcessWatch {
    /// The newest sample; empty before the first.
    pub fn get(&self) -> Sample {
        *self.0.borrow()
    }

    /// Told of every sample from now on. One that is not looked at in time is replaced by the next.
    pub fn subscribe(&self) -> watch::Receiver<Sample> {
        self.0.subscribe()
    }
}

/// Samples until the stop.
pub async fn sample(metrics: Arc<Metrics>, stopping: CancellationToken) {
    let Some(mut sampler) = Sampler::new() else {
        tracing::warn!("this system does not tell what the process takes of it: CPU and memory are not shown");
        return;
    };
    let mut ticks = tokio::time::interval_at(Instant::now() + FIRST, EVERY);
    // What was slept through is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sample = sampler.sample(metrics.checks_started.get());
        metrics.process.0.send_replace(sample);
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
    }
}

struct Sampler {
    system: System,
    pid: Pid,
    processors: f64,
    memory_limit: Option<u64>,
    /// When the process's time was looked at, and what it was in milliseconds.
    before: Option<(Instant, u64)>,
    files: (Option<u64>, Option<u64>),
    samples: u64,
    /// When, and how many checks had begun then; the oldest first.
    checks: std::collections::VecDeque<(Instant, u64)>,
}

impl Sampler {
    /// `None` where the system is not known.
    fn new() -> Option<Self> {
        if !sysinfo::IS_SUPPORTED_SYSTEM {
            return None;
        }
        let mut system = System::new();
        system.refresh_memory();
        let machine = Some(system.total_memory()).filter(|bytes| *bytes > 0);
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let of_groups = group_limit(Path::new("/sys/fs/cgroup"), &groups);
        Some(Self {
            pid: sysinfo::get_current_pid().ok()?,
            // Fewer than the machine has, where a control group says so.
            processors: number(std::thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64),
            // "No limit" is written as a number beyond all memory.
            memory_limit: [machine, of_groups].into_iter().flatten().min(),
            system,
            before: None,
            files: (None, None),
            samples: 0,
            checks: std::collections::VecDeque::new(),
        })
    }

    fn sample(&mut self, checks: u64) -> Sample {
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        self.system.refresh_cpu_usage();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), true, kind);
        let now = Instant::now();
        let Some(process) = self.system.process(self.pid) else { return Sample::default() };
        let cpu_ms = process.accumulated_cpu_time();
        let share = |(at, before): (Instant, u64)| {
            let elapsed = (now - at).as_secs_f64();
            (elapsed > 0.0).then(|| number(cpu_ms.saturating_sub(before)) / 1000.0 / elapsed / self.processors)
        };
        let process_cpu = self.before.and_then(share);
        if self.samples.is_multiple_of(FILES_EVERY) {
            let count = |n: Option<usize>| n.map(|n| n as u64);
            self.files = (count(process.open_files()), count(process.open_files_limit()));
        }
        let known = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
        let sample = Sample {
            process_cpu,
            machine_cpu: self.before.map(|_| f64::from(self.system.global_cpu_usage()) / 100.0),
            cpu_seconds: Some(number(cpu_ms) / 1000.0),
            resident_bytes: known(process.memory()),
            virtual_bytes: known(process.virtual_memory()),
            memory_limit_bytes: self.memory_limit,
            open_files: self.files.0,
            open_files_limit: self.files.1,
            started_at: known(process.start_time()),
            checks_per_second: self.rate(now, checks),
        };
        self.before = Some((now, cpu_ms));
        self.samples += 1;
        sample
    }

    fn rate(&mut self, now: Instant, checks: u64) -> Option<f64> {
        self.checks.push_back((now, checks));
        if self.checks.len() > RATE_OVER + 1 {
            self.checks.pop_front();
        }
        let (since, before) = *self.checks.front()?;
        let elapsed = (now - since).as_secs_f64();
        (elapsed > 0.0).then(|| number(checks.saturating_sub(before)) / elapsed)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn number(n: u64) -> f64 {
    n as f64
}

/// The smallest memory limit of a process's control groups and those around them; `groups` is its
/// `/proc/<pid>/cgroup`. `None` without a limit.
fn group_limit(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            all if all.split(',').any(|one| one == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        limit_upwards(&root, path, file)
    });
    limits.min()
}

fn limit_upwards(root: &Path, path: &str, file: &str) -> Option<u64> {
    let mut folder: PathBuf = root.join(path.trim_start_matches('/'));
    let mut least = None;
    loop {
        let limit = std::fs::read_to_string(folder.join(file)).ok().and_then(|text| text.trim().parse::<u64>().ok());
        least = [least, limit].into_iter().flatten().min();
        // In a container the path may be that of the host, and only the root is there.
        if folder == root || !folder.pop() || !folder.starts_with(root) {
            return least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_the_groups_around_counts() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        put("system.slice/monitor.service/memory.max", "max\n");
        put("system.slice/memory.max", "200000000\n");
        put("user.slice/memory.max", "100\n");
        let of = |groups: &str| group_limit(root.path(), groups);
        assert_eq!(of("0::/system.slice/monitor.service\n"), Some(200_000_000));
        assert_eq!(of("0::/\n"), None);
        assert_eq!(of("0::/of/the/host\n"), None);
        assert_eq!(of(""), None);
        put("memory.max", "50000000\n");
        assert_eq!(of("0::/of/the/host\n"), Some(50_000_000));
        put("memory/docker/memory.limit_in_bytes", "40000000\n");
        assert_eq!(of("5:cpu,cpuacct:/x\n4:memory:/docker\n0::/\n"), Some(40_000_000));
    }

    #[tokio::test]
    async fn a_sample_is_of_this_process() {
        let mut sampler = Sampler::new().unwrap();
        let first = sampler.sample(0);
        assert_eq!((first.process_cpu, first.machine_cpu), (None, None), "shares are of a time");
        let begun = Instant::now();
        let mut spent = 0_u64;
        while begun.elapsed() < Duration::from_millis(300) {
            spent = std::hint::black_box(spent + 1);
        }
        let second = sampler.sample(30);
        let cpu = second.process_cpu.unwrap();
        assert!(cpu > 0.0 && cpu <= 1.5, "{second:?}");
        assert!(second.cpu_seconds > first.cpu_seconds, "{first:?} {second:?}");
        let (resident, limit) = (second.resident_bytes.unwrap(), second.memory_limit_bytes.unwrap());
        assert!((1_000_000..limit).contains(&resident), "{second:?}");
        assert!(second.open_files.unwrap() > 2 && second.checks_per_second.unwrap() > 0.0, "{second:?}");
    }
}
