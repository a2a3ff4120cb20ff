//! Watching a tree of processes.

use std::fs;
use std::time::Duration;

use virtmark_hypervisor::{Error, MachineProbe, MetricKind, Result, Sink};

use crate::tree;

/// Watches the processes of one machine. Finding them means a look at every process of the host, which nobody should wait
/// for: everything but the age is told when asked.
pub(crate) struct NativeProbe {
    pub(crate) machine: String,
    pub(crate) pid: i32,
    pub(crate) start_ticks: u64,
}

impl NativeProbe {
    /// Fails when the process has ended, or another one has its number.
    fn check(&self) -> Result<()> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        if tree::start_ticks(&stat) == Some(self.start_ticks) {
            return Ok(());
        }
        Err(Error::WrongState { machine: self.machine.clone(), action: "watch", state: "ended".into() })
    }
}

impl MachineProbe for NativeProbe {
    fn observe(&self, sink: &mut Sink<'_>) -> Result<()> {
        self.check()?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now_seconds = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9;
        let started_seconds = self.start_ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64;
        sink("vmm_uptime_seconds", &[], MetricKind::Gauge, (now_seconds - started_seconds).max(0.0));
        Ok(())
    }

    fn has_questions(&self) -> bool {
        true
    }

    fn ask(&self, _patience: Duration, sink: &mut Sink<'_>) -> Result<()> {
        let usage = tree::usage(self.pid);
        // Of a process that took the number meanwhile nothing is told.
        self.check()?;
        if let Some(cpu_ns) = usage.cpu_ns {
            sink("vmm_cpu_seconds_total", &[], MetricKind::Counter, cpu_ns as f64 / 1e9);
        }
        if let Some(rss_bytes) = usage.rss_bytes {
            sink("vmm_resident_bytes", &[], MetricKind::Gauge, rss_bytes as f64);
        }
        Ok(())
    }
}
