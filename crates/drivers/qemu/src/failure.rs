//! What QEMU's last words mean.

use std::path::Path;

use virtmark_hypervisor::Error;

/// What is known about a QEMU process that ended although it should run.
#[derive(Debug)]
pub(crate) struct Death<'a> {
    pub(crate) accelerator: String,
    pub(crate) console: String,
    pub(crate) directory: &'a Path,
    pub(crate) kernel: &'a Path,
    pub(crate) machine: &'a str,
    pub(crate) memory_bytes: u64,
    /// The limit of its cgroup, when the kernel has killed it there.
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) status: String,
    pub(crate) stderr: String,
}

impl Death<'_> {
    /// The error that names its cause, as far as QEMU's own words tell it.
    pub(crate) fn classify(self) -> Error {
        let said = |words: &[&str]| words.iter().any(|word| self.stderr.contains(word));
        let reason = self.stderr.trim().to_owned();
        let machine = self.machine.to_owned();
        if let Some(limit) = self.memory_limit_bytes {
            let reason = format!("and its VMM needed more than the {limit} bytes that its cgroup may use");
            return Error::OutOfMemory { machine, wanted_bytes: self.memory_bytes, reason };
        }
        if said(&["Cannot allocate memory", "cannot set up guest memory", "cannot map backing store"]) {
            return Error::OutOfMemory { machine, wanted_bytes: self.memory_bytes, reason };
        }
        if said(&["KVM kernel module", "failed to initialize kvm", "/dev/kvm"]) {
            return Error::AcceleratorUnavailable { machine, accelerator: self.accelerator, reason };
        }
        if said(&["No space left on device"]) {
            return Error::DiskFull { path: self.directory.to_path_buf(), remedy: "VIRTMARK_RUN_DIR" };
        }
        if said(&[
            "could not load kernel",
            "invalid kernel",
            "Error loading uncompressed kernel",
            "linux kernel too old",
        ]) {
            return Error::KernelInvalid { path: self.kernel.to_path_buf(), reason };
        }
        let output = [reason.as_str(), self.console.as_str()].join("\n");
        Error::VmmExited { machine, status: self.status, output: output.trim().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtmark_model::FailureClass;

    fn class_of(stderr: &str) -> FailureClass {
        death(stderr, None).classify().class()
    }

    fn death(stderr: &str, memory_limit_bytes: Option<u64>) -> Death<'_> {
        Death {
            accelerator: "kvm".into(),
            console: "booting".into(),
            directory: Path::new("/run"),
            kernel: Path::new("/kernel"),
            machine: "m",
            memory_bytes: 1,
            memory_limit_bytes,
            status: "exited with code 1".into(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn a_kill_at_the_limit_of_the_cgroup_is_out_of_memory() {
        let error = death("", Some(4096)).classify();
        assert_eq!(error.class(), FailureClass::OutOfMemory);
        assert!(error.to_string().contains("more than the 4096 bytes that its cgroup may use"), "{error}");
    }

    #[test]
    fn the_words_of_qemu_name_the_cause() {
        let cases = [
            (
                "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory",
                FailureClass::OutOfMemory,
            ),
            ("Could not access KVM kernel module: Permission denied", FailureClass::AcceleratorUnavailable),
            ("qemu: could not load kernel '/kernel': Invalid argument", FailureClass::KernelInvalid),
            ("write failed: No space left on device", FailureClass::DiskFull),
            ("Segmentation fault", FailureClass::VmmExited),
            ("", FailureClass::VmmExited),
        ];
        for (stderr, class) in cases {
            assert_eq!(class_of(stderr), class, "{stderr}");
        }
    }
}
