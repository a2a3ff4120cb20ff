//! A QEMU process as the host's kernel sees it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use virtmark_hypervisor::{MetricKind, Sink};

/// Longer than any of the files that are read.
const BUFFER_BYTES: usize = 1024;

/// One process, its files open once it was looked at.
pub(super) struct Process {
    path: PathBuf,
    start_ticks: u64,
    ticks_per_second: f64,
    page_bytes: f64,
    vcpus: u32,
    files: Option<Files>,
    buffer: Vec<u8>,
}

/// There is no such process any more.
pub(super) struct Gone;

/// Files that are read again and again.
struct Files {
    stat: File,
    statm: File,
    /// `/proc/PID/fd`; newer kernels (6.2) tell the number of open descriptors as its size.
    fds: File,
    fds_have_size: bool,
    vcpus: Vec<Vcpu>,
}

/// One thread that runs guest code.
struct Vcpu {
    /// Its number, or `all` when one thread runs every virtual CPU in turns.
    label: String,
    schedstat: File,
}

impl Process {
    pub(super) fn new(pid: i32, start_ticks: u64, vcpus: u32) -> Self {
        Self {
            path: PathBuf::from(format!("/proc/{pid}")),
            start_ticks,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1) as f64,
            page_bytes: rustix::param::page_size() as f64,
            vcpus,
            files: None,
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Tells what it uses. Of one that has ended and was not waited for, only its CPU time can still be told.
    pub(super) fn observe(&mut self, sink: &mut Sink<'_>) -> Result<(), Gone> {
        if self.files.is_none() {
            self.files = Some(Files::open(&self.path, self.vcpus).map_err(|_| Gone)?);
        }
        let Some(files) = &mut self.files else { return Err(Gone) };
        let buffer = &mut self.buffer;
        // Read first: it tells whether the open files are those of the right process.
        let stat = read(&files.stat, buffer).and_then(Stat::parse).ok_or(Gone)?;
        if stat.start_ticks != self.start_ticks {
            return Err(Gone);
        }
        let cpu_seconds = stat.cpu_ticks as f64 / self.ticks_per_second;
        sink("vmm_cpu_seconds_total", &[], MetricKind::Counter, cpu_seconds);
        if stat.has_ended {
            return Err(Gone);
        }
        if files.vcpus.is_empty() {
            files.vcpus = vcpu_threads(&self.path, self.vcpus).map_err(|_| Gone)?;
        }
        let mut waited_ns = None;
        for vcpu in &files.vcpus {
            let Some((run_ns, wait_ns)) = read(&vcpu.schedstat, buffer).and_then(schedstat) else { continue };
            let labels = [("vcpu", vcpu.label.as_str())];
            sink("vcpu_time_seconds_total", &labels, MetricKind::Counter, run_ns as f64 / 1e9);
            *waited_ns.get_or_insert(0) += wait_ns;
        }
        if let Some(waited_ns) = waited_ns {
            sink("vcpu_steal_seconds_total", &[], MetricKind::Counter, waited_ns as f64 / 1e9);
        }
        if let Some(pages) = read(&files.statm, buffer).and_then(|statm| number(statm.split(' ').nth(1)?)) {
            sink("vmm_resident_bytes", &[], MetricKind::Gauge, pages as f64 * self.page_bytes);
        }
        if let Ok(count) = files.open_fds(&self.path) {
            sink("vmm_open_fds", &[], MetricKind::Gauge, count as f64);
        }
        let uptime = boot_seconds() - self.start_ticks as f64 / self.ticks_per_second;
        sink("vmm_uptime_seconds", &[], MetricKind::Gauge, uptime.max(0.0));
        Ok(())
    }
}

impl Files {
    fn open(path: &Path, vcpus: u32) -> io::Result<Self> {
        let fds = File::open(path.join("fd"))?;
        let fds_have_size = fds.metadata()?.len() > 0;
        let open = |name: &str| File::open(path.join(name));
        Ok(Self {
            stat: open("stat")?,
            statm: open("statm")?,
            fds,
            fds_have_size,
            vcpus: vcpu_threads(path, vcpus)?,
        })
    }

    fn open_fds(&self, path: &Path) -> io::Result<u64> {
        if self.fds_have_size {
            return Ok(self.fds.metadata()?.len());
        }
        Ok(fs::read_dir(path.join("fd"))?.count() as u64)
    }
}

/// The threads that run guest code, by their names; none until all of them are there.
fn vcpu_threads(path: &Path, vcpus: u32) -> io::Result<Vec<Vcpu>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(path.join("task"))? {
        let task = task?.path();
        // A thread may end between the listing and the reading.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        let Some(label) = vcpu_label(name.trim_end()) else { continue };
        let Ok(schedstat) = File::open(task.join("schedstat")) else { continue };
        threads.push(Vcpu { label: label.into(), schedstat });
    }
    threads.sort_by_key(|vcpu| vcpu.label.parse().unwrap_or(u32::MAX));
    let complete = threads.len() == vcpus as usize || threads.iter().any(|vcpu| vcpu.label == "all");
    Ok(if complete { threads } else { Vec::new() })
}

/// Which virtual CPU a thread of this name runs. With `debug-threads=on` QEMU names them `CPU 3/KVM` or `CPU 3/TCG`, and
/// `ALL CPUs/TCG` the one that runs all of them.
fn vcpu_label(name: &str) -> Option<&str> {
    let (name, kind) = name.rsplit_once('/')?;
    if !matches!(kind, "KVM" | "TCG") {
        return None;
    }
    if name == "ALL CPUs" {
        return Some("all");
    }
    name.strip_prefix("CPU ").filter(|number| number.parse::<u32>().is_ok())
}

/// What is needed of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    has_ended: bool,
    /// CPU time of all threads, ended ones too, in user mode and in the kernel.
    cpu_ticks: u64,
    start_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may contain anything.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        // Numbered from 3, the state: utime is 14, stime 15, starttime 22.
        let state = fields.next()?;
        let (user, system) = (number(fields.nth(10)?)?, number(fields.next()?)?);
        let start_ticks = number(fields.nth(6)?)?;
        Some(Self { has_ended: matches!(state, "Z" | "X"), cpu_ticks: user + system, start_ticks })
    }
}

/// Nanoseconds on a CPU, and nanoseconds of waiting for one (`Documentation/scheduler/sched-stats.rst`).
fn schedstat(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.split_ascii_whitespace();
    Some((number(fields.next()?)?, number(fields.next()?)?))
}

fn number(digits: &str) -> Option<u64> {
    digits.parse().ok()
}

fn read<'a>(file: &File, buffer: &'a mut [u8]) -> Option<&'a str> {
    let length = file.read_at(buffer, 0).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()
}

fn boot_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn observed(process: &mut Process) -> (Vec<(String, f64)>, bool) {
        let mut values = Vec::new();
        let alive = process.observe(&mut |name, _, _, value| values.push((name.to_owned(), value))).is_ok();
        (values, alive)
    }

    #[test]
    fn threads_are_known_by_their_names() {
        assert_eq!(vcpu_label("CPU 0/TCG"), Some("0"));
        assert_eq!(vcpu_label("CPU 12/KVM"), Some("12"));
        assert_eq!(vcpu_label("ALL CPUs/TCG"), Some("all"));
        for other in ["qemu-system-x86", "call_rcu", "CPU x/TCG", "CPU 0/HVF", "IO mon_iothread"] {
            assert_eq!(vcpu_label(other), None, "{other}");
        }
    }

    #[test]
    fn the_line_of_a_process_is_read_by_its_fields() {
        let line = "4321 (a) R 1) S 1 4300 4200 0 -1 4194560 1 2 3 4 50 6 7 8 20 0 1 0 987654 1000 200\n";
        let stat = Stat { has_ended: false, cpu_ticks: 56, start_ticks: 987_654 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("1 (x) S 1 2 3"), None);
        assert_eq!(schedstat("123 456 7\n"), Some((123, 456)));
    }

    #[test]
    fn a_process_is_told_while_it_lives_and_its_end_is_noticed() {
        let mut child = Command::new("sleep").arg("100").stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id() as i32;
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start_ticks = Stat::parse(&text).unwrap().start_ticks;
        let mut process = Process::new(pid, start_ticks, 1);
        let (values, alive) = observed(&mut process);
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        assert!(alive);
        // No thread of it runs a guest, so there is nothing to say of virtual CPUs.
        let expected = ["vmm_cpu_seconds_total", "vmm_resident_bytes", "vmm_open_fds", "vmm_uptime_seconds"];
        assert_eq!(names, expected);
        assert!(values[1].1 > 0.0 && values[2].1 >= 3.0 && values[3].1 < 60.0, "{values:?}");

        let (values, alive) = observed(&mut Process::new(pid, start_ticks + 1, 1));
        assert!(!alive && values.is_empty(), "another process of the same number was taken for it");

        child.kill().unwrap();
        // Ended and not waited for: its CPU time is still known.
        while observed(&mut process).1 {}
        assert_eq!(observed(&mut process).0.len(), 1);
        child.wait().unwrap();
        let (values, alive) = observed(&mut process);
        assert!(!alive && values.is_empty(), "{values:?}");
    }
}
