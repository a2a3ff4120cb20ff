//! Hardware virtualisation, as far as the host can tell without starting a guest.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::{Check, Host, Status};
use crate::source::Source;

/// What there is at `/dev/kvm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvmNode {
    /// No such file.
    Absent,
    /// The file is there, and the kernel has nothing behind it.
    NoDevice,
    /// Not for this user to open.
    NoPermission,
    /// It opens, and tells its API version, which has been 12 since 2007. It may still be unable to run a guest.
    Opens {
        /// Absent when what opened is not KVM.
        api_version: Option<i32>,
    },
    /// It does not open for another reason, in the kernel's words.
    Refuses(String),
}

/// Opens `dev/kvm` under this directory (`/`) and asks for its version.
pub fn kvm_node(root: &Path) -> KvmNode {
    KvmNode::read(&Source::new(root))
}

impl KvmNode {
    fn read(source: &Source) -> Self {
        Self::of(OpenOptions::new().read(true).write(true).open(source.path("dev/kvm")))
    }

    fn of(opened: io::Result<File>) -> Self {
        match opened {
            Ok(file) => Self::Opens { api_version: api_version(&file) },
            Err(error) => match (error.kind(), error.raw_os_error()) {
                (io::ErrorKind::NotFound, _) => Self::Absent,
                (io::ErrorKind::PermissionDenied, _) => Self::NoPermission,
                (_, Some(libc::ENODEV | libc::ENXIO)) => Self::NoDevice,
                _ => Self::Refuses(error.to_string()),
            },
        }
    }
}

/// `KVM_GET_API_VERSION`, `_IO(0xAE, 0x00)` of linux/kvm.h.
#[allow(unsafe_code)]
fn api_version(file: &File) -> Option<i32> {
    if !file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device()) {
        return None;
    }
    // SAFETY: this request takes no argument and writes no memory; other devices refuse it.
    let version = unsafe { libc::ioctl(file.as_raw_fd(), 0xAE00, 0) };
    (version >= 0).then_some(version)
}

pub(super) fn platform(host: &Host) -> Check {
    let check = |status, finding: String| Check::new("platform", "Host runs on", status, finding);
    match &host.hypervisor {
        None if host.cpu.is_x86() => check(Status::Good, "bare metal".into()),
        None => check(Status::Info, "bare metal, or a hypervisor that does not tell".into()),
        Some(name) => {
            check(Status::Info, format!("a virtual machine: {name}; guests here are nested or emulated"))
                .with_remedy("for figures to compare with other hosts, measure on bare metal")
        }
    }
}

pub(super) fn cpu_support(host: &Host) -> Check {
    let check =
        |status, finding: &str| Check::new("cpu-virtualisation", "CPU virtualisation", status, finding);
    let Host { cpu, hypervisor, .. } = host;
    match (flavour(host), hypervisor) {
        (Some(Flavour { second_level: true, name, .. }), _) => {
            check(Status::Good, &format!("{name} with second-level paging"))
        }
        (Some(Flavour { name, second_level_name, .. }), _) => {
            check(Status::Warning, &format!("{name}, without {second_level_name}: guest memory is slow"))
                .with_remedy("let the hypervisor outside, or the firmware, offer second-level paging")
        }
        (None, _) if !cpu.is_x86() => check(Status::Info, "this architecture lists no flag for it; /dev/kvm tells"),
        (None, Some(_)) => check(Status::Warning, "neither vmx nor svm: not passed on by the hypervisor outside")
            .with_remedy(
                "where the host outside is yours and runs KVM: `modprobe -r kvm_intel && modprobe kvm_intel nested=1` \
                 (or kvm_amd) and this machine with `-cpu host`; in a cloud choose a type that is metal or allows nesting",
            ),
        (None, None) => check(Status::Warning, "neither vmx nor svm: off in the firmware, or not in this CPU")
            .with_remedy("switch on Intel VT-x or AMD SVM in the firmware's set-up"),
    }
}

pub(super) fn node(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("kvm-node", "/dev/kvm", status, finding);
    let can_load = flavour(host).map(|flavour| flavour.module);
    match KvmNode::read(&host.source) {
        KvmNode::Absent | KvmNode::NoDevice => {
            let absent =
                check(Status::Warning, "not there: guests run in software emulation, many times slower");
            match can_load {
                Some(module) => absent.with_remedy(format!(
                    "`sudo modprobe {module}`; in a container, start that with `--device /dev/kvm`"
                )),
                None if host.cpu.is_x86() => absent.with_remedy("see CPU virtualisation"),
                None => absent.with_remedy(
                    "boot the host at EL2 with KVM in its kernel, or pass the device to the container",
                ),
            }
        }
        KvmNode::NoPermission => check(
            Status::Warning,
            "this user may not open it: guests run in software emulation, many times slower",
        )
        .with_remedy(
            "`sudo usermod -aG kvm $USER` and log in again, or `sudo setfacl -m u:$USER:rw /dev/kvm`",
        ),
        KvmNode::Opens { api_version: Some(version) } if can_load.is_none() && host.cpu.is_x86() => check(
            Status::Info,
            &format!(
                "opens (API {version}), though the CPU shows no virtualisation: only a guest can tell if it works"
            ),
        ),
        KvmNode::Opens { api_version: Some(version) } => {
            check(Status::Good, &format!("opens (API {version})"))
        }
        KvmNode::Opens { api_version: None } => check(Status::Warning, "opens, and is not KVM")
            .with_remedy("remove what is at /dev/kvm, then `sudo modprobe kvm`"),
        KvmNode::Refuses(why) => {
            check(Status::Warning, &format!("does not open: {why}")).with_remedy("`dmesg | grep -i kvm`")
        }
    }
}

pub(super) fn nesting(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("nested", "Nesting in guests", status, finding);
    let setting = |module: &str| host.source.text(format!("sys/module/{module}/parameters/nested"));
    let found = ["kvm_intel", "kvm_amd"].into_iter().find_map(|module| Some((module, setting(module)?)));
    match found {
        Some((module, on)) if matches!(on.as_str(), "Y" | "y" | "1") => check(Status::Good, &format!("on ({module})")),
        Some((module, _)) => check(Status::Info, &format!("off ({module}): guests cannot run guests of their own"))
            .with_remedy(format!(
                "`echo 'options {module} nested=1' | sudo tee /etc/modprobe.d/kvm-nested.conf && sudo modprobe -r {module} && sudo modprobe {module}`"
            )),
        None => check(Status::Info, "not a setting here: neither kvm_intel nor kvm_amd is loaded"),
    }
}

/// What an x86 CPU says of its virtualisation.
struct Flavour {
    name: &'static str,
    module: &'static str,
    second_level: bool,
    second_level_name: &'static str,
}

fn flavour(host: &Host) -> Option<Flavour> {
    let has = |flag| host.cpu.has(flag);
    if has("vmx") {
        // Newer kernels list VMX features on a line of their own, and keep `ept` among the flags.
        return Some(Flavour {
            name: "Intel VMX",
            module: "kvm_intel",
            second_level: has("ept"),
            second_level_name: "EPT",
        });
    }
    has("svm").then(|| Flavour {
        name: "AMD SVM",
        module: "kvm_amd",
        second_level: has("npt"),
        second_level_name: "NPT",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_the_node_does_not_open_is_told_apart() {
        let failed = |number| KvmNode::of(Err(io::Error::from_raw_os_error(number)));
        assert_eq!(failed(libc::ENOENT), KvmNode::Absent);
        assert_eq!(failed(libc::EACCES), KvmNode::NoPermission);
        assert_eq!(failed(libc::EPERM), KvmNode::NoPermission);
        assert_eq!(failed(libc::ENODEV), KvmNode::NoDevice);
        assert_eq!(failed(libc::ENXIO), KvmNode::NoDevice);
        assert!(matches!(failed(libc::EBUSY), KvmNode::Refuses(_)));
    }

    #[test]
    fn a_device_that_is_not_kvm_has_no_version() {
        assert_eq!(KvmNode::of(File::open("/dev/null")), KvmNode::Opens { api_version: None });
        assert_eq!(KvmNode::of(File::open("/proc/self/stat")), KvmNode::Opens { api_version: None });
    }
}
