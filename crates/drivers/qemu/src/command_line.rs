//! The command line of one QEMU process: what the specification asks for, and nothing else.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use virtmark_hypervisor::link::PORT_NAME;
use virtmark_hypervisor::{BootImage, MachineSpec};
use virtmark_model::Accelerator;

use crate::boot::BootPlan;

/// Where guest memory lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory<'a> {
    /// In QEMU's own anonymous memory.
    Anonymous,
    /// In a file that others can map: an inherited descriptor.
    Shared(RawFd),
    /// In private pages over a file that is never written: what is not touched stays shared with other machines.
    PrivateOver(&'a Path),
}

/// Descriptors that QEMU inherits, each one end of a socket pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sockets {
    /// The agent's virtio-serial port.
    pub(crate) agent: RawFd,
    /// The serial console.
    pub(crate) console: RawFd,
    /// The control connection.
    pub(crate) qmp: RawFd,
}

/// Everything that decides a QEMU process.
#[derive(Debug)]
pub(crate) struct CommandLine<'a> {
    pub(crate) accelerator: Accelerator,
    /// One file for each disk of the specification.
    pub(crate) disks: &'a [PathBuf],
    pub(crate) image: &'a BootImage,
    pub(crate) incoming: bool,
    pub(crate) memory: Memory<'a>,
    pub(crate) plan: &'a BootPlan,
    pub(crate) sockets: Sockets,
    pub(crate) spec: &'a MachineSpec,
}

impl CommandLine<'_> {
    /// The arguments, program name not included.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        arguments.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot").flag("-S");
        arguments.option("-display", "none");
        arguments.option("-name", format!("{},debug-threads=on", escaped(&self.spec.name)));
        arguments.option("-accel", self.accelerator.to_string());
        arguments.option("-cpu", self.plan.cpu);
        arguments.option("-smp", self.spec.vcpus.to_string());
        self.memory_arguments(&mut arguments);
        self.boot_arguments(&mut arguments);
        let Sockets { agent, console, qmp } = self.sockets;
        arguments.option("-chardev", format!("socket,id=qmp,fd={qmp}"));
        arguments.option("-mon", "chardev=qmp,mode=control");
        arguments.option("-chardev", format!("socket,id=console,fd={console}"));
        arguments.option("-serial", "chardev:console");
        arguments.option("-chardev", format!("socket,id=agent,fd={agent}"));
        arguments.option("-device", "virtio-serial-pci,id=serial,max_ports=2");
        arguments.option("-device", format!("virtserialport,bus=serial.0,chardev=agent,name={PORT_NAME}"));
        self.disk_arguments(&mut arguments);
        if self.incoming {
            arguments.option("-incoming", "defer");
        }
        arguments.0
    }

    fn memory_arguments(&self, arguments: &mut Arguments) {
        let bytes = self.spec.memory_bytes;
        let (path, share) = match self.memory {
            Memory::Anonymous => {
                arguments.option("-machine", self.plan.machine).option("-m", format!("{bytes}B"));
                return;
            }
            Memory::Shared(fd) => (OsString::from(format!("/proc/self/fd/{fd}")), "on"),
            Memory::PrivateOver(path) => (escaped_path(&absolute(path)), "off"),
        };
        arguments.option("-machine", format!("{},memory-backend=memory", self.plan.machine));
        arguments.option("-m", format!("{bytes}B"));
        let mut object =
            OsString::from(format!("memory-backend-file,id=memory,size={bytes}B,share={share},mem-path="));
        object.push(path);
        arguments.option("-object", object);
    }

    /// The host's page cache is in between, and what the guest flushes is on the host's disk.
    fn disk_arguments(&self, arguments: &mut Arguments) {
        // A device without MSI needs no table of vectors, and the guest none of its emulation.
        let vectors = if self.plan.has_msi() { "" } else { ",vectors=0" };
        for (disk, path) in self.spec.disks.iter().zip(self.disks) {
            let node = node_name(&disk.name);
            let mut blockdev = OsString::from(format!(
                "driver=raw,node-name={node},discard=unmap,file.driver=file,file.filename="
            ));
            blockdev.push(escaped_path(path));
            arguments.option("-blockdev", blockdev);
            arguments.option(
                "-device",
                format!(
                    "virtio-blk-pci,id={node},drive={node},serial={},disable-legacy=on{vectors}",
                    disk.name
                ),
            );
        }
    }

    fn boot_arguments(&self, arguments: &mut Arguments) {
        let modules = (!self.spec.disks.is_empty()).then_some("virtmark.modules=virtio_blk");
        let kernel_arguments: Vec<&str> = self
            .plan
            .kernel_arguments
            .iter()
            .copied()
            .chain(modules)
            .chain(self.spec.kernel_arguments.iter().map(String::as_str))
            .collect();
        arguments.option("-kernel", absolute(&self.image.kernel));
        arguments.option("-initrd", absolute(&self.image.initramfs));
        arguments.option("-append", kernel_arguments.join(" "));
    }
}

/// What QEMU calls a disk, apart from its other devices.
pub(crate) fn node_name(disk: &str) -> String {
    format!("{DISK_PREFIX}{disk}")
}

/// What a node's name has before the name of its disk.
pub(crate) const DISK_PREFIX: &str = "disk-";

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }
}

/// QEMU works in a directory of its own.
fn absolute(path: &Path) -> PathBuf {
    // Fails for an empty path, or where there is no working directory; QEMU then says what is wrong with it.
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// QEMU separates options by commas; a comma inside a value is written twice.
fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

fn escaped_path(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let doubled = path
        .as_os_str()
        .as_bytes()
        .iter()
        .flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
    OsString::from_vec(doubled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use virtmark_hypervisor::Disk;
    use virtmark_model::ImageFacts;

    fn line(memory: Memory<'_>, incoming: bool) -> String {
        line_with(memory, incoming, 2, &[])
    }

    fn line_with(memory: Memory<'_>, incoming: bool, vcpus: u32, disks: &[Disk]) -> String {
        let spec = MachineSpec {
            name: "a,b".into(),
            vcpus,
            memory_bytes: 256 << 20,
            image: None,
            disks: disks.to_vec(),
            kernel_arguments: vec!["workload_duration=15".into()],
            snapshots: false,
            confined: false,
            ready_timeout: Duration::from_secs(1),
        };
        let image = BootImage { kernel: "/k".into(), initramfs: "/i".into(), facts: ImageFacts::default() };
        let paths: Vec<PathBuf> = disks.iter().map(|disk| format!("/d,{}", disk.name).into()).collect();
        let command_line = CommandLine {
            accelerator: Accelerator::Tcg,
            disks: &paths,
            image: &image,
            incoming,
            memory,
            plan: &BootPlan::choose(Accelerator::Tcg, vcpus),
            sockets: Sockets { agent: 5, console: 4, qmp: 3 },
            spec: &spec,
        };
        let arguments = command_line.arguments();
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_machine_has_what_was_asked_for_and_no_default_devices() {
        let line = line(Memory::Anonymous, false);
        assert!(line.starts_with("-nodefaults -no-user-config -no-reboot -S "), "{line}");
        assert!(line.contains("-name a,,b,debug-threads=on -accel tcg "), "{line}");
        assert!(line.contains("-smp 2 "), "{line}");
        assert!(line.contains("-m 268435456B "), "{line}");
        assert!(line.contains(" workload_duration=15 "), "{line}");
        assert!(!line.contains("memory-backend") && !line.contains("-incoming"), "{line}");
    }

    #[test]
    fn memory_is_shared_for_snapshots_and_private_over_them() {
        let shared = line(Memory::Shared(9), false);
        assert!(shared.contains("share=on,mem-path=/proc/self/fd/9 "), "{shared}");
        let private = line(Memory::PrivateOver(Path::new("/s,n/memory")), true);
        assert!(private.contains("share=off,mem-path=/s,,n/memory "), "{private}");
        assert!(private.ends_with("-incoming defer"), "{private}");
    }

    #[test]
    fn disks_come_with_the_module_that_drives_them() {
        let disk = Disk { name: "data".into(), size_bytes: 1 << 20 };
        let line = line_with(Memory::Anonymous, false, 1, std::slice::from_ref(&disk));
        assert!(line.contains(" virtmark.modules=virtio_blk workload_duration=15 "), "{line}");
        assert!(line.contains("node-name=disk-data,") && line.contains("file.filename=/d,,data "), "{line}");
        assert!(line.contains("serial=data,disable-legacy=on,vectors=0"), "{line}");
        let line = line_with(Memory::Anonymous, false, 2, &[disk]);
        assert!(!line.contains("vectors="), "{line}");
        assert!(!line_with(Memory::Anonymous, false, 1, &[]).contains("virtmark.modules"));
    }
}
