//! What a recorded machine is told by: names, labels and meanings.

use virtmark_timeseries::Kind;

/// A metric that is recorded where its source has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, as in Prometheus.
    pub name: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// Labels of its series.
    pub labels: &'static [&'static str],
    /// What it is, in a sentence.
    pub help: &'static str,
}

/// The metrics of machines, as seen from the host and from inside, and those of the recorder itself, by name.
pub const METRICS: [Metric; 23] = [
    counter("blk_bytes_total", &["machine", "disk", "direction"], "Bytes read from and written to a disk."),
    gauge(
        "blk_request_seconds",
        &["machine", "disk", "op"],
        "Average time of the requests since the last sample.",
    ),
    counter("blk_requests_total", &["machine", "disk", "op"], "Completed requests to a disk."),
    counter("guest_cpu_seconds_total", &["machine", "mode"], "CPU time as the guest's kernel splits it."),
    gauge("guest_load1", &["machine"], "Load of the guest over a minute."),
    gauge("guest_memory_available_bytes", &["machine"], "Memory that programs in the guest can still have."),
    gauge("guest_memory_bytes", &["machine"], "Memory that the machine was given."),
    gauge("guest_run_queue", &["machine"], "Threads in the guest that run or could."),
    gauge("recorder_bytes", &[], "Size of the store, fixed at its creation."),
    counter("recorder_cpu_seconds_total", &[], "CPU time of recording."),
    gauge("recorder_machines", &[], "Machines that are followed."),
    counter(
        "recorder_missed_ticks_total",
        &[],
        "Ticks at which nothing was recorded: the host was too busy.",
    ),
    counter("recorder_samples_total", &[], "Samples that were recorded."),
    counter(
        "recorder_skipped_questions_total",
        &[],
        "Questions not asked, as the one before had no answer yet.",
    ),
    counter("vcpu_all_exits_total", &["machine"], "Exits of all virtual CPUs to the hypervisor."),
    counter(
        "vcpu_exits_total",
        &["machine", "reason"],
        "Exits of all virtual CPUs that have a reason of their own.",
    ),
    counter(
        "vcpu_halt_poll_seconds_total",
        &["machine", "outcome"],
        "Time that KVM polled for work before it let halted virtual CPUs sleep.",
    ),
    counter(
        "vcpu_steal_seconds_total",
        &["machine"],
        "Time in which virtual CPUs could run and the host did not let them.",
    ),
    counter("vcpu_time_seconds_total", &["machine", "vcpu"], "CPU time of a virtual CPU's thread."),
    counter("vmm_cpu_seconds_total", &["machine"], "CPU time of the whole VMM process."),
    gauge("vmm_open_fds", &["machine"], "Open file descriptors of the VMM process."),
    gauge("vmm_resident_bytes", &["machine"], "Resident memory of the VMM process."),
    gauge("vmm_uptime_seconds", &["machine"], "Time since the VMM process was started."),
];

/// The metric of a name.
pub(super) fn metric(name: &str) -> Option<&'static Metric> {
    let place = METRICS.binary_search_by(|metric| metric.name.cmp(name)).ok()?;
    Some(&METRICS[place])
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_name() {
        for known in &METRICS {
            assert_eq!(metric(known.name), Some(known));
            let is_total = known.name.ends_with("_total");
            assert_eq!(is_total, known.kind == Kind::Counter, "{}", known.name);
        }
        assert_eq!(metric("vmm"), None);
    }
}
