//! What QEMU can do on this host, for `virtmark doctor`.

use std::path::Path;
use std::sync::Arc;

use virtmark_host::doctor::{Check, Status};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Error};

use crate::discover::Program;
use crate::probe::{self, KvmFinding, KvmState};

/// Looks for QEMU, and finds out whether KVM really runs guests, for which it may boot `image` once. Without an image
/// only the node can be looked at.
pub fn checks(
    program: Option<&Path>,
    image: Option<&BootImage>,
    run_dir: &Arc<RunDir>,
    cache: &Path,
    notice: &mut dyn FnMut(&str),
) -> Vec<Check> {
    let program = Program::find(program);
    let qemu = qemu(&program);
    let Ok(program) = &program else { return vec![qemu] };
    let finding = match (probe::node(), image) {
        (Some(finding), _) => Some(Ok(finding)),
        (None, Some(image)) => Some(probe::kvm(program, image, run_dir, cache, notice)),
        (None, None) => None,
    };
    vec![qemu, accelerator(finding)]
}

fn qemu(program: &Result<Program, Error>) -> Check {
    match program {
        Ok(Program { path, version }) => {
            Check::new("qemu", "QEMU", Status::Good, format!("{version} at {}", path.display()))
        }
        Err(Error::HypervisorMissing { program, reason, remedy }) => {
            Check::new("qemu", "QEMU", Status::Bad, format!("{program}: {reason}")).with_remedy(remedy)
        }
        Err(error) => Check::new("qemu", "QEMU", Status::Bad, error.to_string()),
    }
}

fn accelerator(finding: Option<Result<KvmFinding, Error>>) -> Check {
    let check = |status, finding: String| Check::new("kvm", "KVM runs guests", status, finding);
    match finding {
        None => check(Status::Info, "not tried: there is no image to boot".into())
            .with_remedy("`virtmark image build tiny`"),
        Some(Err(error)) => check(Status::Warning, format!("could not be tried: {error}")),
        Some(Ok(KvmFinding { state: KvmState::Usable, reason })) => {
            check(Status::Good, format!("yes{}: {reason}", nested()))
        }
        Some(Ok(KvmFinding { state: KvmState::Unusable, reason })) => {
            check(Status::Warning, format!("present but unusable: {reason}; guests are emulated"))
                .with_remedy(
                    "a host that passes on vmx or svm, or bare metal; `dmesg | grep -i kvm` may tell more",
                )
        }
        Some(Ok(KvmFinding { state: KvmState::Absent | KvmState::Forbidden, reason })) => {
            check(Status::Warning, format!("no: {reason}; guests are emulated")).with_remedy("see /dev/kvm")
        }
    }
}

/// Whether working KVM here is itself inside a virtual machine.
fn nested() -> &'static str {
    if virtmark_host::facts::host_facts().host_hypervisor.is_some() { ", nested" } else { ", in hardware" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_qemu_is_bad_and_says_what_to_install() {
        let check = qemu(&Program::find(Some(Path::new("/nonexistent/qemu"))));
        assert_eq!(check.status, Status::Bad);
        assert!(check.remedy.unwrap().contains("apt-get install qemu-system-x86"));
    }

    #[test]
    fn kvm_that_hangs_is_not_taken_for_kvm() {
        let hung =
            KvmFinding { state: KvmState::Unusable, reason: "a guest did not reach user space".into() };
        let check = accelerator(Some(Ok(hung)));
        assert_eq!(check.status, Status::Warning);
        assert!(check.finding.starts_with("present but unusable"), "{}", check.finding);
        let works = KvmFinding { state: KvmState::Usable, reason: "a guest ran".into() };
        assert_eq!(accelerator(Some(Ok(works))).status, Status::Good);
        assert_eq!(accelerator(None).status, Status::Info);
    }
}
