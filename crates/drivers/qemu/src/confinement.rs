//! How a VMM is locked in: what a guest that has taken it over can still reach.
//!
//! Four measures, each where the host permits it (`docs/sandbox-confinement.md`): QEMU's own filter of system calls, a
//! user of its own for each VMM when virtmark is root, Landlock against changes to files, and a cgroup with limits. The
//! user changes before QEMU executes, so it never has root's rights; the files that it needs it finds among its own
//! descriptors, as `/proc/self/fd/N`, whatever the directories above them permit.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Gid, MemfdFlags, Mode, fchmod, fchown};
use serde::Serialize;
use virtmark_host::cgroup::{Limits, MachineCgroup};
use virtmark_host::process::{GROUP, Lockdown, OwnUser, Spawn, Tcp, WriteRules};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Error, MachineSpec, Network, Result};
use virtmark_model::Accelerator;

use crate::discover::Program;

const KVM: &str = "/dev/kvm";

/// Obsolete system calls, changes of user, new processes and programs, and changes of priority are denied; the filter
/// ends QEMU at the first try.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// What a VMM may use beyond its guest's memory: its own code and data, device queues, thread stacks.
const VMM_BYTES: u64 = 128 << 20;
/// What emulation translates is kept in a buffer of at most this size (`DEFAULT_CODE_GEN_BUFFER_SIZE` in QEMU's
/// `tcg/region.c`), used as the guest executes ever more code.
const TRANSLATION_BYTES: u64 = 1 << 30;
/// One page table entry of 8 bytes for 4 KiB of guest memory is a 512th; under KVM a second table doubles that, and
/// half of the allowance is to spare.
const GUEST_SHARE: u64 = 128;
/// CPUs beyond the virtual ones: the main loop, which serves devices, and the threads that do input and output.
const EXTRA_CPUS: u32 = 1;
/// Threads beyond the virtual CPUs: QEMU's pool for input and output has up to 64, and a few others are always there.
const EXTRA_TASKS: u32 = 96;

/// How machines that are `confined` are locked in on this host, a measure a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfinementFacts {
    /// Limits on memory, CPU and processes of each machine.
    pub cgroup: Measure,
    /// No file can be changed but those that the machine was given (Landlock).
    pub file_system: Measure,
    /// QEMU's filter of system calls.
    pub seccomp: Measure,
    /// The VMM does not run as root.
    pub unprivileged_user: Measure,
}

/// One measure of confinement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measure {
    /// Whether machines have it here.
    pub holds: bool,
    /// How, or why not, in one line.
    pub detail: String,
}

/// What this host permits, found out once.
#[derive(Debug)]
pub(crate) struct Confinement {
    accelerator: Accelerator,
    facts: ConfinementFacts,
    user: Option<OwnUser>,
}

/// The files that QEMU opens by their path; disks are handed to it open.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) image: BootImage,
    /// The memory of the snapshot that it goes on from.
    pub(crate) memory: Option<PathBuf>,
}

impl ConfinementFacts {
    /// Each measure with its name.
    pub fn measures(&self) -> [(&'static str, &Measure); 4] {
        let Self { cgroup, file_system, seccomp, unprivileged_user } = self;
        [
            ("cgroup", cgroup),
            ("file system", file_system),
            ("seccomp", seccomp),
            ("unprivileged user", unprivileged_user),
        ]
    }
}

impl Measure {
    fn new<T>(found: &Result<T, String>, detail: impl FnOnce(&T) -> String) -> Self {
        match found {
            Ok(found) => Self { holds: true, detail: detail(found) },
            Err(reason) => Self { holds: false, detail: reason.clone() },
        }
    }
}

impl Confinement {
    /// Finds out what this host permits, for which it executes QEMU once.
    pub(crate) fn find(program: &Program, accelerator: Accelerator, run_dir: &RunDir) -> Self {
        let user = own_user(accelerator);
        let user_facts = match rustix::process::geteuid() {
            uid if uid.is_root() => Measure::new(&user, |_| "a user of its own for each VMM".into()),
            uid => Measure { holds: true, detail: format!("that of virtmark, {uid}") },
        };
        let landlock = WriteRules::version().map_err(|error| format!("this kernel has no Landlock: {error}"));
        let cgroups = run_dir.cgroups().map_err(str::to_owned);
        let facts = ConfinementFacts {
            cgroup: Measure::new(&cgroups, |run| {
                format!("v{}: {}", run.version(), run.controllers().join(", "))
            }),
            file_system: Measure::new(&landlock, |version| format!("Landlock version {version}")),
            seccomp: Measure::new(&seccomp(&program.path), |()| SANDBOX.into()),
            unprivileged_user: user_facts,
        };
        Self { accelerator, facts, user: user.ok() }
    }

    pub(crate) fn facts(&self) -> &ConfinementFacts {
        &self.facts
    }

    /// The cgroup of a machine with its limits, called `home`; `None` where there are no cgroups.
    pub(crate) fn cgroup(
        &self,
        run_dir: &RunDir,
        home: &str,
        spec: &MachineSpec,
    ) -> Result<Option<MachineCgroup>> {
        let Ok(run) = run_dir.cgroups() else { return Ok(None) };
        run.machine(home, limits(spec, self.accelerator))
            .map(Some)
            .map_err(Error::io(format!("make the cgroup of {}", spec.name)))
    }

    /// Has a VMM give up its rights before it executes, and QEMU install its filter. Gives the paths under which it
    /// finds its files.
    pub(crate) fn lock_in(&self, spawn: &mut Spawn, files: &Files, spec: &MachineSpec) -> Result<Files> {
        let writes = if self.facts.file_system.holds {
            Some(WriteRules::new(tcp(&spec.networks)).map_err(Error::io("make Landlock rules"))?)
        } else {
            None
        };
        if self.accelerator == Accelerator::Kvm
            && let Some(rules) = &writes
        {
            allow(rules, &open(Path::new(KVM))?, Path::new(KVM))?;
        }
        let image = BootImage {
            kernel: self.readable(spawn, &files.image.kernel)?,
            initramfs: self.readable(spawn, &files.image.initramfs)?,
            root: files.image.root.clone(),
            facts: files.image.facts.clone(),
        };
        let memory =
            files.memory.as_ref().map(|path| self.writable(spawn, path, writes.as_ref())).transpose()?;
        if self.facts.seccomp.holds {
            spawn.args(["-sandbox", SANDBOX]);
        }
        // Virtmark's environment is nothing to QEMU, and may hold secrets.
        spawn.clear_env().lock_down(Lockdown { user: self.user, writes });
        Ok(Files { image, memory })
    }

    /// A file that QEMU opens to read it. One that only its owner may read is copied, into memory.
    fn readable(&self, spawn: &mut Spawn, path: &Path) -> Result<PathBuf> {
        let mut file = open(path)?;
        let mode = file.metadata().map_err(Error::io(format!("examine {}", path.display())))?.mode();
        if self.user.is_some() && mode & 0o004 == 0 {
            let mut copy = || -> io::Result<File> {
                let mut copy = File::from(rustix::fs::memfd_create("copy", MemfdFlags::CLOEXEC)?);
                io::copy(&mut file, &mut copy)?;
                Ok(copy)
            };
            file = copy().map_err(Error::io(format!("copy {} into memory", path.display())))?;
        }
        Ok(inherited(spawn, file))
    }

    /// A file that QEMU opens to write to it. A user of its own is let in by the group that only VMMs are in; they get
    /// no further than to the files that are handed to them.
    fn writable(&self, spawn: &mut Spawn, path: &Path, rules: Option<&WriteRules>) -> Result<PathBuf> {
        let file = open(path)?;
        if self.user.is_some() {
            let give = || -> io::Result<()> {
                let found = file.metadata()?;
                if found.gid() != GROUP {
                    fchown(&file, None, Some(Gid::from_raw(GROUP)))?;
                }
                if found.mode() & 0o060 != 0o060 {
                    fchmod(&file, Mode::from_raw_mode(found.mode() | 0o060))?;
                }
                Ok(())
            };
            give().map_err(Error::io(format!("give {} to the group of VMMs", path.display())))?;
        }
        if let Some(rules) = rules {
            allow(rules, &file, path)?;
        }
        Ok(inherited(spawn, file))
    }
}

/// What a machine's VMM and its guest may use together.
fn limits(spec: &MachineSpec, accelerator: Accelerator) -> Limits {
    // A disk's file may be in memory, where what is written to it counts.
    let disks = spec.disks.iter().map(|disk| disk.size_bytes);
    let translation = if accelerator == Accelerator::Tcg { TRANSLATION_BYTES } else { 0 };
    let memory_bytes = [spec.memory_bytes, spec.memory_bytes / GUEST_SHARE, VMM_BYTES, translation];
    Limits {
        cpus: spec.vcpus.saturating_add(EXTRA_CPUS),
        memory_bytes: memory_bytes.into_iter().chain(disks).fold(0, u64::saturating_add),
        tasks: spec.vcpus.saturating_add(EXTRA_TASKS),
    }
}

/// What a VMM does with TCP for its guest: it listens at forwarded ports, and makes the guest's connections.
fn tcp(networks: &[Network]) -> Tcp {
    let of = |network: &Network| match network {
        Network::User { restricted: false, .. } => Tcp::Any,
        Network::User { forwards, .. } if !forwards.is_empty() => Tcp::Listen,
        Network::Shared { .. } | Network::User { .. } => Tcp::None,
    };
    networks.iter().map(of).max().unwrap_or(Tcp::None)
}

/// The user that VMMs can have of their own; otherwise why not.
fn own_user(accelerator: Accelerator) -> Result<OwnUser, String> {
    OwnUser::check()?;
    if accelerator != Accelerator::Kvm {
        return Ok(OwnUser { group: None });
    }
    let node = fs::metadata(KVM).map_err(|error| format!("{KVM}: {error}"))?;
    match node.mode() {
        mode if mode & 0o006 == 0o006 => Ok(OwnUser { group: None }),
        mode if mode & 0o060 == 0o060 => Ok(OwnUser { group: Some(node.gid()) }),
        mode => Err(format!("only root may use {KVM} (mode {:o})", mode & 0o777)),
    }
}

/// Whether this QEMU has a filter of system calls; it reads its options in order, and ends at the second.
fn seccomp(program: &Path) -> Result<(), String> {
    let output = Command::new(program).args(["-sandbox", SANDBOX, "--version"]).output();
    let output = output.map_err(|error| format!("{} did not say: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("this QEMU has no seccomp filter: {}", words.lines().next().unwrap_or_default().trim()))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io(format!("open {}", path.display())))
}

fn allow(rules: &WriteRules, file: &File, path: &Path) -> Result<()> {
    use std::os::fd::AsFd;
    rules.allow(file.as_fd()).map_err(Error::io(format!("make a Landlock rule for {}", path.display())))
}

/// Passes a file, and gives the path under which the child finds it.
fn inherited(spawn: &mut Spawn, file: File) -> PathBuf {
    format!("/proc/self/fd/{}", spawn.pass_fd(file.into())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use virtmark_hypervisor::Disk;

    #[test]
    fn the_limit_has_room_for_guest_vmm_and_disks() {
        let mut spec = MachineSpec {
            name: "m".into(),
            vcpus: 2,
            memory_bytes: 256 << 20,
            image: None,
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_arguments: Vec::new(),
            snapshots: false,
            confined: true,
            ready_timeout: Duration::from_secs(1),
        };
        let expected = Limits { cpus: 3, memory_bytes: (256 + 2 + 128) << 20, tasks: 98 };
        assert_eq!(limits(&spec, Accelerator::Kvm), expected);
        assert_eq!(limits(&spec, Accelerator::Tcg).memory_bytes, (256 + 2 + 128 + 1024) << 20);
        spec.disks.push(Disk { name: "data".into(), size_bytes: 1 << 30 });
        assert_eq!(limits(&spec, Accelerator::Kvm).memory_bytes, (256 + 2 + 128 + 1024) << 20);
    }

    #[test]
    fn a_vmm_has_as_much_of_tcp_as_its_networks_need() {
        let user = |forwards: &[u16], restricted| Network::User { forwards: forwards.to_vec(), restricted };
        let shared = Network::Shared { segment: "lan".into() };
        assert_eq!(tcp(&[]), Tcp::None);
        assert_eq!(tcp(&[shared.clone(), user(&[], true)]), Tcp::None);
        assert_eq!(tcp(&[user(&[22], true), shared]), Tcp::Listen);
        assert_eq!(tcp(&[user(&[22], true), user(&[], false)]), Tcp::Any);
    }

    #[test]
    fn a_qemu_without_a_filter_is_noticed_by_what_it_says() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("qemu");
        let script = "#!/bin/sh\necho '-sandbox support is not enabled in this QEMU binary' >&2\nexit 1\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let reason = seccomp(&program).unwrap_err();
        assert!(reason.ends_with("-sandbox support is not enabled in this QEMU binary"), "{reason}");
        assert!(seccomp(&place.path().join("missing")).unwrap_err().contains("did not say"));
    }
}
