//! What QEMU can do on this host, for `virtmark doctor`.

use std::path::Path;
use std::sync::Arc;

use virtmark_host::doctor::{Check, Status};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Error};
use virtmark_model::Accelerator;

use crate::confinement::{Confinement, ConfinementFacts};
use crate::discover::Program;
use crate::probe::{self, KvmFinding, KvmState};

/// Looks for QEMU, finds out whether KVM really runs guests, for which it may boot `image` once, and how machines can
/// be confined. Without an image only the node of KVM can be looked at.
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
    let has_kvm = matches!(&finding, Some(Ok(KvmFinding { state: KvmState::Usable, .. })));
    let used = if has_kvm { Accelerator::Kvm } else { Accelerator::Tcg };
    let confinement = confinement(Confinement::find(program, used, run_dir).facts());
    vec![qemu, accelerator(finding), confinement]
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

/// Machines run without what does not hold, so it is worth knowing and no more.
fn confinement(facts: &ConfinementFacts) -> Check {
    let check = |status, finding: String| Check::new("confinement", "Confined machines", status, finding);
    let measures = facts.measures();
    let missing = measures.iter().filter(|(_, measure)| !measure.holds);
    let missing: Vec<_> = missing.map(|(name, measure)| format!("{name} ({})", measure.detail)).collect();
    if missing.is_empty() {
        let all: Vec<_> = measures.iter().map(|(name, _)| *name).collect();
        return check(Status::Good, all.join(", "));
    }
    check(Status::Info, format!("without {}", missing.join(", "))).with_remedy(
        "a kernel with Landlock, QEMU built with seccomp, and virtmark as root or in a delegated cgroup: \
         `systemd-run --user --scope -p Delegate=yes virtmark …`",
    )
}

/// Whether working KVM here is itself inside a virtual machine.
fn nested() -> &'static str {
    let host = virtmark_host::facts::host_facts();
    match (host.is_emulated(), host.host_hypervisor) {
        (true, _) => ", nested in emulation",
        (false, Some(_)) => ", nested",
        (false, None) => ", in hardware",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confinement::Measure;

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

    #[test]
    fn what_does_not_hold_is_said_with_its_reason() {
        let measure = |holds, detail: &str| Measure { holds, detail: detail.into() };
        let mut facts = ConfinementFacts {
            cgroup: measure(true, "v2: cpu, memory, pids"),
            file_system: measure(true, "Landlock version 7"),
            seccomp: measure(true, "on"),
            unprivileged_user: measure(true, "a user of its own for each VMM"),
        };
        let check = confinement(&facts);
        assert_eq!((check.status, check.remedy), (Status::Good, None));
        assert_eq!(check.finding, "cgroup, file system, seccomp, unprivileged user");
        facts.cgroup = measure(false, "/sys/fs/cgroup is not writable for this user");
        let check = confinement(&facts);
        assert_eq!(check.finding, "without cgroup (/sys/fs/cgroup is not writable for this user)");
        assert!(check.status == Status::Info && check.remedy.is_some());
    }
}
