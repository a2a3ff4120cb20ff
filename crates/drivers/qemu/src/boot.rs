//! How a guest is started: machine type, CPU model and kernel arguments, for each accelerator.
//!
//! Chosen by measurement: `docs/boot.md` has the figures and the alternatives that lost.

use virtmark_hypervisor::BootImage;
use virtmark_model::Accelerator;

use crate::tsc;

/// How a guest is started under one accelerator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootPlan {
    /// The value of `-machine`, without the accelerator.
    pub(crate) machine: &'static str,
    /// The value of `-cpu`.
    pub(crate) cpu: &'static str,
    /// Kernel arguments.
    pub(crate) kernel_arguments: Vec<&'static str>,
}

/// Devices of the PC that no guest here uses.
const PC: &str = "pc,usb=off,vmport=off,smbus=off,hpet=off";

/// Wanted of every guest: quiet, except for a panic; the console on the serial port; a panic ends the machine.
const COMMON: [&str; 5] = ["console=ttyS0", "quiet", "loglevel=1", "panic=-1", "random.trust_cpu=on"];

/// Work at boot that emulation makes dear, and that no measurement needs: self-tests, mitigations (which emulation
/// does not need), patching of lock prefixes, security modules, checks of the clock.
const EMULATED: [&str; 8] = [
    "tsc=reliable",
    "no_timer_check",
    "mitigations=off",
    "nokaslr",
    "cryptomgr.notests",
    "noreplace-smp",
    "lsm=",
    "audit=0",
];

/// Without ACPI there is no second CPU, no interrupt for MSI, no power button and no 0.2 s of table interpretation.
/// Restarting is then the way to end: QEMU exits on it.
const EMULATED_SINGLE: [&str; 4] = ["acpi=off", "pci=conf1,nomsi", "reboot=t", "virtmark.shutdown=restart"];

/// Emulated CPU of guests that need little.
const EMULATED_CPU: &str = "qemu64";

/// The same with random numbers, for guests that draw keys at boot: the kernel gathers some by itself for a second or two
/// otherwise.
const EMULATED_CPU_RANDOM: &str = "qemu64,+rdrand";

impl BootPlan {
    /// The same for a machine that boots this image.
    pub(crate) fn of_image(self, image: Option<&BootImage>) -> Self {
        let has_root = image.is_some_and(|image| image.root.is_some());
        let cpu = if has_root && self.cpu == EMULATED_CPU { EMULATED_CPU_RANDOM } else { self.cpu };
        Self { cpu, ..self }
    }

    /// The plan for a machine with this many virtual CPUs and an image that is no more than an initramfs.
    pub(crate) fn choose(accelerator: Accelerator, vcpus: u32) -> Self {
        let mut kernel_arguments = COMMON.to_vec();
        match accelerator {
            Accelerator::Kvm => Self { machine: PC, cpu: "host", kernel_arguments },
            Accelerator::Tcg => {
                kernel_arguments.extend(EMULATED);
                kernel_arguments.extend(tsc::kernel_argument());
                if vcpus == 1 {
                    kernel_arguments.extend(EMULATED_SINGLE);
                }
                Self { machine: PC, cpu: EMULATED_CPU, kernel_arguments }
            }
        }
    }

    /// Whether its devices can use MSI interrupts.
    pub(crate) fn has_msi(&self) -> bool {
        !self.kernel_arguments.iter().any(|argument| argument.ends_with("nomsi"))
    }

    /// Whether the machine has ACPI, and with it a power button.
    pub(crate) fn has_acpi(&self) -> bool {
        !self.kernel_arguments.contains(&"acpi=off")
    }

    /// One line for the record: everything that a machine of this plan is started with, whatever it was asked to be.
    pub(crate) fn summary(&self) -> String {
        let arguments = self.kernel_arguments.join(" ");
        format!(
            "machine {}, cpu {}, PVH direct kernel start, kernel arguments {arguments}",
            self.machine, self.cpu
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_cpus_keep_acpi_which_lists_them() {
        let has =
            |vcpus, argument| BootPlan::choose(Accelerator::Tcg, vcpus).kernel_arguments.contains(&argument);
        assert!(has(1, "acpi=off"));
        assert!(!has(2, "acpi=off"));
    }

    #[test]
    fn emulated_guests_with_a_root_have_random_numbers() {
        let mut image = BootImage {
            kernel: "/k".into(),
            initramfs: "/i".into(),
            root: None,
            facts: virtmark_model::ImageFacts::default(),
        };
        let cpu = |accelerator, image: &BootImage| BootPlan::choose(accelerator, 1).of_image(Some(image)).cpu;
        assert_eq!(cpu(Accelerator::Tcg, &image), "qemu64");
        image.root = Some(virtmark_hypervisor::RootDisk { file: "/r".into(), size_bytes: 512 });
        assert_eq!(cpu(Accelerator::Tcg, &image), "qemu64,+rdrand");
        assert_eq!(cpu(Accelerator::Kvm, &image), "host");
    }

    #[test]
    fn hardware_guests_keep_their_mitigations() {
        let plan = BootPlan::choose(Accelerator::Kvm, 1);
        assert!(!plan.kernel_arguments.contains(&"mitigations=off"));
    }
}
