//! Settings and neighbours that make figures move.

use std::thread;
use std::time::Duration;

use super::{Check, Host, Status, gibibytes};
use crate::facts::{
    CpuTicks, bracketed, cpu_ticks, governor as governor_of, load_average_in, smt as smt_of, usable_cpus,
};
use crate::memory::{meminfo_bytes, meminfo_number};

/// Load per CPU from which neighbours are felt.
const BUSY: f64 = 0.25;
/// Share of CPU time taken by the hypervisor outside from which it is felt.
const STOLEN: f64 = 0.01;

pub(super) fn huge_pages(host: &Host) -> Check {
    let check = |finding: String| Check::new("huge-pages", "Huge pages", Status::Info, finding);
    let number = |key| meminfo_number(&host.source, key);
    match (number("HugePages_Total"), number("HugePages_Free"), meminfo_bytes(&host.source, "Hugepagesize")) {
        (Some(0), _, _) => check("none reserved".into())
            .with_remedy("to back guests with them: `echo 512 | sudo tee /proc/sys/vm/nr_hugepages` (1 GiB of 2 MiB pages)"),
        (Some(total), Some(free), Some(size)) => {
            let bytes = gibibytes(total.saturating_mul(size));
            Check { status: Status::Good, ..check(format!("{free} of {total} free, {bytes} in all")) }
        }
        _ => check("not in this kernel".into()),
    }
}

pub(super) fn transparent_huge_pages(host: &Host) -> Check {
    let check = |status, finding: &str| {
        Check::new("transparent-huge-pages", "Transparent huge pages", status, finding)
    };
    let setting = host.source.text("sys/kernel/mm/transparent_hugepage/enabled");
    match setting.as_deref().and_then(bracketed).as_deref() {
        Some("never") => check(Status::Info, "never: guest memory is mapped by 4 KiB pages")
            .with_remedy("`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`, as most distributions ship"),
        Some(setting) => check(Status::Good, setting),
        None => check(Status::Info, "not in this kernel"),
    }
}

pub(super) fn page_merging(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("page-merging", "Page merging (KSM)", status, finding);
    match host.source.number("sys/kernel/mm/ksm/run") {
        Some(1) => check(Status::Warning, "on: merges the memory of guests while they are measured, at the cost of CPU time")
            .with_remedy("`echo 2 | sudo tee /sys/kernel/mm/ksm/run`, and `systemctl disable --now ksmtuned` where that runs"),
        Some(_) => check(Status::Good, "off"),
        None => check(Status::Good, "not in this kernel"),
    }
}

pub(super) fn governor(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("governor", "CPU frequency governor", status, finding);
    match governor_of(&host.source).as_deref() {
        Some("performance") => check(Status::Good, "performance"),
        Some(other) => {
            check(Status::Warning, &format!("{other}: short measurements run at whatever frequency was left"))
                .with_remedy(
                    "`echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`",
                )
        }
        None => check(Status::Info, "none: frequency is not this host's to set"),
    }
}

pub(super) fn smt(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("smt", "Simultaneous multithreading", status, finding);
    match smt_of(&host.source) {
        Some(true) => check(Status::Info, "on: two busy CPUs may share a core, and each then does less")
            .with_remedy("for steadier figures: `echo off | sudo tee /sys/devices/system/cpu/smt/control`"),
        Some(false) => check(Status::Good, "off, or none in this CPU"),
        None => check(Status::Info, "this kernel does not tell"),
    }
}

pub(super) fn clock_source(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("clock-source", "Clock source", status, finding);
    let directory = "sys/devices/system/clocksource/clocksource0";
    match host.source.text(format!("{directory}/current_clocksource")).as_deref() {
        // These leave the user's address space for every reading of the clock.
        Some(slow @ ("acpi_pm" | "hpet" | "jiffies" | "refined-jiffies" | "xen")) => {
            check(Status::Warning, &format!("{slow}: every reading of the clock is a system call"))
                .with_remedy(format!("where `cat /{directory}/available_clocksource` lists it: `echo tsc | sudo tee /{directory}/current_clocksource`"))
        }
        Some(source) => check(Status::Good, source),
        None => check(Status::Info, "this kernel does not tell"),
    }
}

pub(super) fn address_randomisation(host: &Host) -> Check {
    let check =
        |finding: &str| Check::new("address-randomisation", "Address randomisation", Status::Info, finding);
    match host.source.number("proc/sys/kernel/randomize_va_space") {
        Some(0) => check("off: each start has the same layout, which is one of many and may be a lucky one"),
        Some(_) => check("on: layouts differ from start to start, and figures with them"),
        None => check("this kernel does not tell"),
    }
}

pub(super) fn load(host: &Host) -> Check {
    let check = |status, finding: String| Check::new("load", "Load", status, finding);
    let Some([one, five, fifteen]) = load_average_in(&host.source) else {
        return check(Status::Info, "/proc/loadavg does not tell".into());
    };
    let cpus = usable_cpus(&host.source, &host.cpu).max(1);
    let finding = format!("{one:.2} {five:.2} {fifteen:.2} over 1, 5 and 15 minutes, for {cpus} CPUs");
    if one > BUSY * f64::from(cpus) {
        return check(Status::Warning, finding)
            .with_remedy("end what else runs: `top -o %CPU` shows it; then wait a minute");
    }
    check(Status::Good, finding)
}

pub(super) fn steal(host: &Host, interval: Duration) -> Check {
    let check = |status, finding: String| Check::new("steal", "CPU time stolen", status, finding);
    let before = cpu_ticks(&host.source);
    thread::sleep(interval);
    let Some((before, after)) = before.zip(cpu_ticks(&host.source)) else {
        return check(Status::Info, "this kernel does not count it".into());
    };
    let now = CpuTicks {
        steal: after.steal.saturating_sub(before.steal),
        total: after.total.saturating_sub(before.total),
    };
    let finding = format!(
        "{} of {} ticks in the last {} ms; {} since boot",
        now.steal,
        now.total,
        interval.as_millis(),
        percent(share(after))
    );
    // One tick is what the counter resolves, and proves nothing.
    if share(after) > STOLEN || (now.steal > 1 && share(now) > STOLEN) {
        return check(Status::Warning, finding).with_remedy(
            "other machines on the hardware below take CPU time: choose a dedicated host or a type with dedicated CPUs",
        );
    }
    check(Status::Good, finding)
}

fn share(ticks: CpuTicks) -> f64 {
    if ticks.total == 0 { 0.0 } else { ticks.steal as f64 / ticks.total as f64 }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_is_none() {
        assert_eq!(share(CpuTicks { steal: 0, total: 0 }), 0.0);
        assert_eq!(percent(share(CpuTicks { steal: 1, total: 40 })), "2.50 %");
    }
}
