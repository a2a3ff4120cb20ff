//! How much of the host a run may use.

use rustix::fs::{Access, access, statvfs};

use super::{Check, Host, Status, gibibytes};
use crate::facts::{Cgroups, usable_cpus};
use crate::memory::{available_bytes_in, meminfo_bytes};

/// A guest of 512 MiB and a snapshot of it.
const WANTED_BYTES: u64 = 1 << 30;

pub(super) fn cpus(host: &Host) -> Check {
    let check = |status, finding: String| Check::new("cpus", "CPUs", status, finding);
    let usable = usable_cpus(&host.source, &host.cpu);
    let all = host.cpu.processors;
    let model = if host.cpu.model.is_empty() { "unknown model" } else { &host.cpu.model };
    match Cgroups::read(&host.source).limits().cpus {
        Some(quota) if quota < f64::from(usable) => check(
            Status::Warning,
            format!("{model}: {usable} of {all} usable, and a cgroup quota of {quota:.2} CPUs: guests are stopped when it is spent"),
        )
        .with_remedy("lift the quota: `--cpus` of the container, `CPUQuota=` of the unit, or the limit of the pod"),
        _ if usable < 2 => check(
            Status::Warning,
            format!("{model}: {usable} of {all} usable: guest, its VMM and virtmark take turns on it"),
        )
        .with_remedy("give this machine or container a second CPU"),
        _ => check(Status::Good, format!("{model}: {usable} of {all} usable")),
    }
}

pub(super) fn memory(host: &Host) -> Check {
    let check = |status, finding: String| Check::new("memory", "Memory", status, finding);
    let total = meminfo_bytes(&host.source, "MemTotal");
    let Some((available, total)) = available_bytes_in(&host.source).zip(total) else {
        return check(Status::Warning, "/proc/meminfo does not tell".into()).with_remedy("mount /proc");
    };
    let limit = Cgroups::read(&host.source).limits().memory_bytes;
    let limit = limit.map(|limit| format!(", {} by cgroup", gibibytes(limit))).unwrap_or_default();
    let finding = format!("{} available of {}{limit}", gibibytes(available), gibibytes(total));
    if available < WANTED_BYTES {
        return check(Status::Warning, finding)
            .with_remedy("end other programs, or raise the memory limit of the container");
    }
    check(Status::Good, finding)
}

pub(super) fn shared_memory(host: &Host) -> Check {
    let check = |status, finding: String| Check::new("shared-memory", "/dev/shm", status, finding);
    let remedy = "`sudo mount -o remount,size=50% /dev/shm`; in a container, start that with `--shm-size=4g`; \
                  or set VIRTMARK_SCRATCH to a directory with room";
    match statvfs(host.source.path("dev/shm")) {
        Err(_) => check(
            Status::Warning,
            "not there: snapshots are kept on disk, and restoring them measures that".into(),
        )
        .with_remedy(
            "`sudo mount -t tmpfs tmpfs /dev/shm`, or set VIRTMARK_SCRATCH to a directory in memory",
        ),
        Ok(space) => {
            let (free, size) = (space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize);
            let finding = format!("{} free of {}", gibibytes(free), gibibytes(size));
            if free < WANTED_BYTES {
                return check(Status::Warning, format!("{finding}: larger snapshots are kept on disk"))
                    .with_remedy(remedy);
            }
            check(Status::Good, finding)
        }
    }
}

pub(super) fn cgroups(host: &Host) -> Check {
    let check = |status, finding: String| Check::new("cgroups", "cgroups", status, finding);
    let cgroups = Cgroups::read(&host.source);
    let Some(version) = cgroups.version() else {
        return check(Status::Info, "none: machines cannot be given limits".into());
    };
    let chain = cgroups.chain("memory");
    let own =
        chain.as_ref().and_then(|chain| Some((chain.is_v2, host.source.path(chain.directories.first()?))));
    let Some((is_v2, own)) = own.filter(|(_, own)| own.is_dir()) else {
        return check(Status::Info, format!("v{version}, not mounted where this process could see it"))
            .with_remedy("in a container, mount /sys/fs/cgroup");
    };
    let controllers = std::fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let controllers = if is_v2 { format!(", controllers: {}", list(&controllers)) } else { String::new() };
    if access(&own, Access::WRITE_OK).is_ok() {
        check(Status::Good, format!("v{version}, own cgroup writable{controllers}"))
    } else {
        check(
            Status::Info,
            format!("v{version}, own cgroup not writable{controllers}: machines cannot be given limits"),
        )
        .with_remedy("run in a delegated cgroup: `systemd-run --user --scope -p Delegate=yes virtmark …`")
    }
}

fn list(controllers: &str) -> String {
    let names: Vec<_> = controllers.split_whitespace().collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}
