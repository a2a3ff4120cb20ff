//! What a guest says of itself, from its `/proc`.

use virtmark_hypervisor::{GuestLink, MetricKind, Result, Sink};

/// The kernel counts CPU time for its users in hundredths of a second (`USER_HZ`) on every architecture that is in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// The columns of a `cpu` line (proc_stat(5)). Time that the guest gives to guests of its own is in `user` and `nice` too.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

type Parse = fn(&str, &mut Sink<'_>);

const FILES: [(&str, Parse); 3] =
    [("/proc/stat", stat), ("/proc/meminfo", meminfo), ("/proc/loadavg", loadavg)];

/// Reads a guest's files through its agent and tells what is in them.
///
/// # Errors
/// Those of the link. What was told before counts.
pub(crate) fn ask(guest: &dyn GuestLink, sink: &mut Sink<'_>) -> Result<()> {
    let mut content = Vec::with_capacity(4096);
    for (path, parse) in FILES {
        content.clear();
        guest.get(path, &mut content)?;
        parse(&String::from_utf8_lossy(&content), sink);
    }
    Ok(())
}

fn stat(text: &str, sink: &mut Sink<'_>) {
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(' ') else { continue };
        match key {
            "cpu" => {
                for (mode, ticks) in MODES.iter().zip(rest.split_ascii_whitespace()) {
                    let Ok(ticks) = ticks.parse::<u64>() else { continue };
                    let seconds = ticks as f64 / TICKS_PER_SECOND;
                    sink("guest_cpu_seconds_total", &[("mode", mode)], MetricKind::Counter, seconds);
                }
            }
            "procs_running" => {
                if let Ok(count) = rest.trim().parse::<u32>() {
                    sink("guest_run_queue", &[], MetricKind::Gauge, f64::from(count));
                }
            }
            _ => {}
        }
    }
}

fn meminfo(text: &str, sink: &mut Sink<'_>) {
    let available =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    if let Some(Ok(kib)) = available.map(str::parse::<u32>) {
        sink("guest_memory_available_bytes", &[], MetricKind::Gauge, f64::from(kib) * 1024.0);
    }
}

fn loadavg(text: &str, sink: &mut Sink<'_>) {
    if let Some(Ok(load)) = text.split(' ').next().map(str::parse::<f64>) {
        sink("guest_load1", &[], MetricKind::Gauge, load);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parse: Parse, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        parse(text, &mut |name, labels, _, value| {
            let labels: String = labels.iter().map(|(key, value)| format!("{{{key}={value}}}")).collect();
            lines.push(format!("{name}{labels} {value}"));
        });
        lines
    }

    #[test]
    fn files_of_a_guest_are_read() {
        let text =
            "cpu  150 0 32 1000 4 0 2 0 0 0\ncpu0 150 0 32 1000 4 0 2 0 0 0\nintr 5 0 1\nprocs_running 3\n";
        let lines = told(stat, text);
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[0], "guest_cpu_seconds_total{mode=user} 1.5");
        assert_eq!(lines[3], "guest_cpu_seconds_total{mode=idle} 10");
        assert_eq!(lines[8], "guest_run_queue 3");
        let lines = told(meminfo, "MemTotal:  99 kB\nMemAvailable:     12 kB\n");
        assert_eq!(lines, ["guest_memory_available_bytes 12288"]);
        assert_eq!(told(loadavg, "0.25 0.50 0.75 1/40 99\n"), ["guest_load1 0.25"]);
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        for parse in [stat, meminfo, loadavg] {
            assert!(told(parse, "").is_empty());
            assert!(told(parse, "cpu\nprocs_running x\nMemAvailable: many\nnothing").is_empty());
        }
    }
}
