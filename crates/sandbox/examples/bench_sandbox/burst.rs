//! Many at once.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use serde::Serialize;
use virtmark_host::process::usage;
use virtmark_sandbox::api::{SandboxId, StartKind};

use crate::Result;
use crate::place::Place;
use crate::verdict::{Verdict, few};

const SIZE: usize = 20;
const BURSTS: usize = 5;
const LIMIT: f64 = 1.3;

/// One burst.
#[derive(Serialize)]
pub(crate) struct Burst {
    /// From the start of all until the last has answered its command.
    wall_ns: u64,
    /// CPU time of all their VMMs, from their beginning.
    vmms_cpu_ns: u64,
    /// CPU time of this process, meanwhile.
    service_cpu_ns: u64,
    /// CPU time of everything else on this host, meanwhile, in steps of some 10 ms: what others took the burst had not.
    others_cpu_ns: u64,
    /// What the CPUs would take for this if none ever waited.
    ideal_ns: u64,
}

/// Bursts of creates with a first command, each after the end of the one before it.
pub(crate) fn measure(place: &Place) -> Result<Vec<Burst>> {
    (0..BURSTS)
        .map(|_| {
            place.wait_warm()?;
            burst(place)
        })
        .collect()
}

fn burst(place: &Place) -> Result<Burst> {
    let cpus = u64::try_from(thread::available_parallelism()?.get())?;
    let barrier = Barrier::new(SIZE + 1);
    let one = || -> std::result::Result<SandboxId, String> {
        barrier.wait();
        let run = || -> Result<SandboxId> {
            let created = place.create(StartKind::Template, None)?;
            place.exec(&created.sandbox_id, "echo benchmark")?;
            Ok(created.sandbox_id)
        };
        run().map_err(|error| error.to_string())
    };
    let (began, cpu_before_ns, host_before_ns, outcomes) = thread::scope(|scope| {
        let threads: Vec<_> = (0..SIZE).map(|_| scope.spawn(one)).collect();
        let (cpu_before_ns, host_before_ns) = (own_cpu_ns(), host_cpu_ns());
        let began = Instant::now();
        barrier.wait();
        let outcomes: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        (began, cpu_before_ns, host_before_ns, outcomes)
    });
    let wall_ns = u64::try_from(began.elapsed().as_nanos())?;
    let service_cpu_ns = own_cpu_ns()? - cpu_before_ns?;
    let host_cpu_ns = host_cpu_ns()? - host_before_ns?;
    let mut ids = Vec::new();
    for outcome in outcomes {
        ids.push(outcome.map_err(|_| "a thread of the burst panicked")??);
    }
    let mut vmms_cpu_ns = 0;
    for id in &ids {
        let usage = place.service.inspect(id)?.usage.and_then(|usage| usage.cpu_ns);
        vmms_cpu_ns += usage.ok_or("the service does not say what CPU time a sandbox has taken")?;
    }
    ids.into_iter().try_for_each(|id| place.destroy(id))?;
    let burst_cpu_ns = vmms_cpu_ns + service_cpu_ns;
    Ok(Burst {
        wall_ns,
        vmms_cpu_ns,
        service_cpu_ns,
        others_cpu_ns: host_cpu_ns.saturating_sub(burst_cpu_ns),
        ideal_ns: burst_cpu_ns / cpus,
    })
}

fn own_cpu_ns() -> Result<u64> {
    let own = i32::try_from(std::process::id())?;
    Ok(usage(own).ok_or("this process has no CPU clock")?.cpu_ns)
}

/// CPU time of this host since it was booted, guests of its own included: the first line of `/proc/stat` (proc(5)).
fn host_cpu_ns() -> Result<u64> {
    /// `USER_HZ` is 100 wherever QEMU and this program run.
    const TICK_NS: u64 = 10_000_000;
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .ok_or("/proc/stat has no line of all CPUs")?;
    let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in user and nice already.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
        return Err(format!("/proc/stat has only {} times", ticks.len()).into());
    };
    Ok((user + nice + system + irq + softirq + steal) * TICK_NS)
}

/// How much of the CPUs' time during bursts went elsewhere, from 0 to 1.
pub(crate) fn others_share(bursts: &[Burst]) -> f64 {
    let sum = |of: fn(&Burst) -> u64| bursts.iter().map(of).sum::<u64>() as f64;
    let all = sum(|burst| burst.others_cpu_ns + burst.vmms_cpu_ns + burst.service_cpu_ns);
    sum(|burst| burst.others_cpu_ns) / all
}

pub(crate) fn verdict(bursts: &[Burst]) -> Result<Verdict> {
    let ratios: Vec<f64> = bursts.iter().map(|burst| burst.wall_ns as f64 / burst.ideal_ns as f64).collect();
    let (median, range) = few(&ratios)?;
    Ok(Verdict::at_most("burst of 20, of the ideal by CPU time", "x", median, range, LIMIT))
}
