//! Facts and checks of several kinds of machine, from copies of the files that their kernels show.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use virtmark_host::doctor::{Check, KvmNode, Status, host_checks, kvm_node};
use virtmark_host::facts::{host_facts, host_facts_in};
use virtmark_model::CgroupLimits;

struct Host(tempfile::TempDir);

impl Host {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }

    fn root(&self) -> &Path {
        self.0.path()
    }
}

fn bare_metal_intel() -> Host {
    Host::new(&[
        ("dev/kvm", ""),
        ("etc/os-release", "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        ("proc/cpuinfo", &x86("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "fpu msr vmx ept smep", 4)),
        ("proc/loadavg", "0.10 0.20 0.30 1/500 4242\n"),
        (
            "proc/meminfo",
            "MemTotal: 131072000 kB\nMemAvailable: 120000000 kB\nHugePages_Total: 512\nHugePages_Free: 500\nHugepagesize: 2048 kB\n",
        ),
        ("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-1.scope\n"),
        ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("proc/self/status", "CapEff:\t0000000000000000\nCpus_allowed_list:\t0-3\n"),
        ("proc/stat", "cpu  100 0 100 9800 0 0 0 0 0 0\n"),
        ("proc/sys/kernel/arch", "x86_64\n"),
        ("proc/sys/kernel/osrelease", "6.1.0-28-amd64\n"),
        ("proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n"),
        ("sys/class/dmi/id/product_name", "PowerEdge R650\n"),
        ("sys/class/dmi/id/sys_vendor", "Dell Inc.\n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
        ("sys/devices/system/cpu/smt/active", "1\n"),
        ("sys/kernel/mm/ksm/run", "1\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ("sys/module/kvm_intel/parameters/nested", "N\n"),
    ])
}

fn container_on_cgroup_v1() -> Host {
    let mounts = "40 30 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                  41 30 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                  42 30 0:33 /docker/abc /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n";
    Host::new(&[
        ("etc/os-release", "PRETTY_NAME='Alpine Linux v3.20'\n"),
        ("proc/cpuinfo", &x86("AMD EPYC 7763 64-Core Processor", "fpu msr hypervisor svm npt", 8)),
        ("proc/loadavg", "7.50 6.00 5.00 1/500 4242\n"),
        ("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\nHugePages_Total: 0\n"),
        ("proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n2:cpuset:/docker/abc\n"),
        ("proc/self/mountinfo", mounts),
        ("proc/self/status", "CapEff:\t00000000a80435fb\nCpus_allowed_list:\t0-1,4\n"),
        ("proc/stat", "cpu  1000 0 1000 7500 0 0 0 500 0 0\n"),
        ("sys/class/dmi/id/product_name", "Virtual Machine\n"),
        ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"),
        ("sys/fs/cgroup/cpuset/cpuset.effective_cpus", "0-1,4\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
        ("sys/fs/cgroup/memory/memory.stat", "cache 5\ntotal_inactive_file 100000000\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "600000000\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"),
    ])
}

fn virtual_machine_without_nesting() -> Host {
    Host::new(&[
        ("proc/cpuinfo", &x86("QEMU Virtual CPU version 2.5+", "fpu msr hypervisor", 1)),
        ("proc/self/status", "Cpus_allowed_list:\t0\n"),
        ("proc/stat", "cpu  100 0 100 9800 0 0 0 3 0 0\n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "acpi_pm\n"),
    ])
}

fn arm_server() -> Host {
    let cpuinfo = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\nprocessor\t: 1\n";
    Host::new(&[
        ("proc/cpuinfo", cpuinfo),
        ("proc/sys/kernel/arch", "aarch64\n"),
        ("sys/class/dmi/id/product_name", "c7g.metal\n"),
        ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ])
}

fn x86(model: &str, flags: &str, processors: u32) -> String {
    (0..processors)
        .map(|n| format!("processor\t: {n}\nmodel name\t: {model}\nflags\t\t: {flags}\n\n"))
        .collect()
}

fn check<'a>(checks: &'a [Check], id: &str) -> &'a Check {
    checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

#[test]
fn bare_metal_is_told_with_all_its_settings() {
    let host = bare_metal_intel();
    let facts = host_facts_in(host.root());
    assert_eq!(facts.arch, "x86_64");
    assert_eq!(facts.boot_id.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
    assert_eq!(facts.cgroup, CgroupLimits { version: Some(2), ..CgroupLimits::default() });
    assert_eq!(facts.cpu_flags, ["fpu", "msr", "vmx", "ept", "smep"]);
    assert_eq!(facts.cpu_model, "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz");
    assert_eq!(facts.governor.as_deref(), Some("powersave"));
    assert_eq!(facts.host_hypervisor, None);
    assert_eq!(facts.huge_pages_total, Some(512));
    assert_eq!(facts.kernel, "6.1.0-28-amd64");
    assert_eq!(facts.load_average_1m, Some(0.1));
    assert_eq!(facts.logical_cpus, 4);
    assert_eq!(facts.memory_total_bytes, 131_072_000 * 1024);
    assert_eq!(facts.os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!(facts.smt, Some(true));
    assert_eq!(facts.transparent_huge_pages.as_deref(), Some("madvise"));

    let checks = host_checks(host.root());
    let status = |id| check(&checks, id).status;
    assert_eq!(status("platform"), Status::Good);
    assert_eq!(status("cpu-virtualisation"), Status::Good);
    assert_eq!(status("governor"), Status::Warning);
    assert_eq!(status("smt"), Status::Info);
    assert_eq!(status("page-merging"), Status::Warning);
    assert_eq!(status("load"), Status::Good);
    assert_eq!(status("clock-source"), Status::Good);
    assert_eq!(status("huge-pages"), Status::Good);
    assert_eq!(check(&checks, "huge-pages").finding, "500 of 512 free, 1.0 GiB in all");
    assert!(check(&checks, "nested").remedy.as_ref().unwrap().contains("modprobe -r kvm_intel"));
    assert!(check(&checks, "vsock").remedy.as_ref().unwrap().contains("modprobe vhost_vsock"));
    assert!(check(&checks, "steal").finding.starts_with("0 of 0 ticks in the last 200 ms"));
}

#[test]
fn a_container_is_told_with_its_limits() {
    let host = container_on_cgroup_v1();
    let facts = host_facts_in(host.root());
    let limits = CgroupLimits {
        cpus: Some(1.5),
        cpuset: Some("0-1,4".into()),
        memory_bytes: Some(1 << 30),
        version: Some(1),
    };
    assert_eq!(facts.cgroup, limits);
    assert_eq!(facts.logical_cpus, 3);
    assert_eq!(
        facts.host_hypervisor.as_deref(),
        Some("unidentified (Microsoft Corporation Virtual Machine)")
    );
    assert_eq!(facts.os.as_deref(), Some("Alpine Linux v3.20"));
    assert_eq!((facts.governor, facts.smt), (None, None));

    let checks = host_checks(host.root());
    assert_eq!(check(&checks, "cpus").status, Status::Warning);
    assert!(check(&checks, "cpus").finding.contains("3 of 8 usable, and a cgroup quota of 1.50 CPUs"));
    let memory = check(&checks, "memory");
    assert_eq!(
        (memory.status, memory.finding.as_str()),
        (Status::Warning, "0.5 GiB available of 15.3 GiB, 1.0 GiB by cgroup")
    );
    let node = check(&checks, "kvm-node");
    assert_eq!(node.status, Status::Warning);
    assert!(node.remedy.as_ref().unwrap().contains("modprobe kvm_amd"));
    assert_eq!(check(&checks, "shared-memory").status, Status::Warning);
    assert_eq!(check(&checks, "load").status, Status::Warning);
    assert_eq!(check(&checks, "transparent-huge-pages").status, Status::Info);
    let steal = check(&checks, "steal");
    assert_eq!(steal.status, Status::Warning);
    assert!(steal.finding.ends_with("5.00 % since boot"), "{}", steal.finding);
}

#[test]
fn a_guest_without_virtualisation_is_told_where_to_look() {
    let host = virtual_machine_without_nesting();
    let checks = host_checks(host.root());
    assert_eq!(check(&checks, "platform").status, Status::Info);
    let cpu = check(&checks, "cpu-virtualisation");
    assert_eq!(cpu.status, Status::Warning);
    assert!(cpu.remedy.as_ref().unwrap().contains("nested=1"));
    assert_eq!(check(&checks, "kvm-node").remedy.as_deref(), Some("see CPU virtualisation"));
    assert_eq!(check(&checks, "clock-source").status, Status::Warning);
    assert_eq!(check(&checks, "cpus").status, Status::Warning);
    assert_eq!(check(&checks, "steal").status, Status::Good);
    assert_eq!(kvm_node(host.root()), KvmNode::Absent);
}

#[test]
fn arm_shows_no_flags_and_no_hypervisor_on_metal() {
    let host = arm_server();
    let facts = host_facts_in(host.root());
    assert_eq!(facts.arch, "aarch64");
    assert_eq!(facts.cpu_model, "ARM implementer 0x41 part 0xd0c");
    assert_eq!(facts.logical_cpus, 2);
    assert_eq!(facts.host_hypervisor, None);
    let checks = host_checks(host.root());
    assert_eq!(check(&checks, "cpu-virtualisation").status, Status::Info);
    assert_eq!(check(&checks, "governor").status, Status::Good);

    fs::write(host.root().join("sys/class/dmi/id/product_name"), "c7g.large\n").unwrap();
    assert_eq!(host_facts_in(host.root()).host_hypervisor.as_deref(), Some("Amazon EC2 c7g.large"));
}

#[test]
fn what_is_not_there_is_absent_and_nothing_fails() {
    let host = Host::new(&[]);
    let facts = host_facts_in(host.root());
    assert_eq!((facts.cpu_model.as_str(), facts.logical_cpus, facts.memory_total_bytes), ("", 0, 0));
    assert_eq!((facts.load_average_1m, facts.os, facts.cgroup), (None, None, CgroupLimits::default()));
    assert!(host_checks(host.root()).iter().all(|check| check.status != Status::Bad));
}

#[test]
fn this_host_has_facts_and_every_warning_a_remedy() {
    let facts = host_facts();
    assert!(!facts.arch.is_empty() && !facts.kernel.is_empty());
    assert!(facts.logical_cpus > 0 && facts.memory_total_bytes > 0);
    let mut hosts = vec![host_checks(Path::new("/"))];
    hosts.extend(
        [bare_metal_intel(), container_on_cgroup_v1(), arm_server()]
            .iter()
            .map(|host| host_checks(host.root())),
    );
    for check in hosts.iter().flatten() {
        assert!(check.status < Status::Warning || check.remedy.is_some(), "{check:?}");
        assert!(!check.finding.contains('\n'), "{check:?}");
    }
    let mut ids: Vec<_> = hosts[0].iter().map(|check| &check.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), hosts[0].len(), "each check has an id of its own");
    let json = serde_json::to_value(&hosts[0][0]).unwrap();
    assert!(json["status"].is_string());
    assert_eq!(serde_json::from_value::<Check>(json).unwrap(), hosts[0][0]);
}
