//! The command line of one QEMU process: what the specification asks for, and nothing else.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use virtmark_hypervisor::link::PORT_NAME;
use virtmark_hypervisor::{BootImage, MachineSpec};
use virtmark_model::Accelerator;

use crate::boot::BootPlan;
use crate::disks::{Format, ROOT, lower_node};
use crate::network::Nic;
use crate::tuning::Remedy;

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

/// The files of a disk, as descriptors that QEMU inherits: it needs no right to open them.
#[derive(Debug)]
pub(crate) struct DiskFiles {
    /// What is only read, lowest first.
    pub(crate) layers: Vec<DiskFile>,
    /// What is written to.
    pub(crate) top: DiskFile,
}

/// One file of a disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskFile {
    pub(crate) fd: RawFd,
    pub(crate) format: Format,
}

impl DiskFile {
    fn arguments(self, arguments: &mut Arguments, (node, options): (&str, &str), below: Option<&str>) {
        // No lock: a frozen overlay would keep that of a writer, although nothing is written to it any more, and who may
        // write which file is decided here.
        // A set of one descriptor, with the same number, which no other set has, and the name of its node.
        let Self { fd, format } = self;
        arguments.option("-add-fd", format!("fd={fd},set={fd},opaque={node}"));
        let backing = match (format, below) {
            (Format::Raw, _) | (_, None) => String::new(),
            (Format::Qcow2, Some(below)) => format!(",backing={below}"),
        };
        let blockdev = format!(
            "driver={},node-name={node},{options}{backing},file.driver=file,file.locking=off,file.filename=/dev/fdset/{fd}",
            format.as_str()
        );
        arguments.option("-blockdev", blockdev);
    }
}

/// Everything that decides a QEMU process.
#[derive(Debug)]
pub(crate) struct CommandLine<'a> {
    pub(crate) accelerator: Accelerator,
    /// The files of each disk of the specification.
    pub(crate) disks: &'a [DiskFiles],
    pub(crate) image: &'a BootImage,
    pub(crate) incoming: bool,
    pub(crate) memory: Memory<'a>,
    /// The network interfaces of the specification.
    pub(crate) nics: &'a [Nic],
    pub(crate) plan: &'a BootPlan,
    /// What the machine has beyond the usual.
    pub(crate) remedy: Option<Remedy>,
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
        for (number, nic) in self.nics.iter().enumerate() {
            arguments.0.extend(nic.arguments(number, self.vectors()));
        }
        if self.incoming {
            arguments.option("-incoming", "defer");
        }
        arguments.0
    }

    fn memory_arguments(&self, arguments: &mut Arguments) {
        let bytes = self.spec.memory_bytes;
        arguments.option("-machine", format!("{},memory-backend=memory", self.plan.machine));
        arguments.option("-m", format!("{bytes}B"));
        // One name for all kinds: a machine's state is known by it, wherever it goes on.
        let huge = self.remedy == Some(Remedy::HugePages);
        let mut object = OsString::from(match self.memory {
            Memory::Anonymous if huge => "memory-backend-memfd",
            Memory::Anonymous => "memory-backend-ram",
            Memory::Shared(_) | Memory::PrivateOver(_) => "memory-backend-file",
        });
        object.push(format!(",id=memory,size={bytes}B"));
        match self.memory {
            // Mapping it reserves the pages, so that QEMU fails at once where there are too few.
            Memory::Anonymous if huge => object.push(",share=off,hugetlb=on"),
            Memory::Anonymous => {}
            Memory::Shared(fd) => object.push(format!(",share=on,mem-path=/proc/self/fd/{fd}")),
            Memory::PrivateOver(path) => {
                object.push(",share=off,mem-path=");
                object.push(escaped_path(&absolute(path)));
            }
        }
        arguments.option("-object", object);
    }

    /// The host's page cache is in between, and what the guest flushes is on the host's disk.
    fn disk_arguments(&self, arguments: &mut Arguments) {
        let vectors = self.vectors();
        let thread = if self.remedy == Some(Remedy::IoThread) && !self.disks.is_empty() {
            arguments.option("-object", "iothread,id=io");
            ",iothread=io"
        } else {
            ""
        };
        for (disk, files) in self.spec.disks.iter().zip(self.disks) {
            let node = node_name(&disk.name);
            let mut below = None;
            for (number, file) in files.layers.iter().enumerate() {
                let name = lower_node(&node, number);
                file.arguments(arguments, (&name, "read-only=on"), below.as_deref());
                below = Some(name);
            }
            files.top.arguments(arguments, (&node, "discard=unmap"), below.as_deref());
            arguments.option(
                "-device",
                format!(
                    "virtio-blk-pci,id={node},drive={node},serial={},disable-legacy=on{vectors}{thread}",
                    disk.name
                ),
            );
        }
    }

    /// A device without MSI needs no table of vectors, and the guest none of its emulation.
    fn vectors(&self) -> &'static str {
        if self.plan.has_msi() { "" } else { ",vectors=0" }
    }

    fn boot_arguments(&self, arguments: &mut Arguments) {
        let Self { spec, nics, .. } = self;
        let drivers = [(spec.disks.is_empty(), "virtio_blk"), (nics.is_empty(), "virtio_net")];
        let drivers: Vec<&str> =
            drivers.into_iter().filter(|(none, _)| !none).map(|(_, name)| name).collect();
        let modules = (!drivers.is_empty()).then(|| format!("virtmark.modules={}", drivers.join(",")));
        let has_root = spec.disks.iter().any(|disk| disk.name == ROOT);
        // The kernel takes a name of its own from version 5.19 on.
        let root = has_root.then(|| format!("virtmark.root={ROOT},rw hostname={}", spec.name));
        let ours: Vec<String> =
            modules.into_iter().chain(root).chain(nics.iter().map(Nic::kernel_argument)).collect();
        let kernel_arguments: Vec<&str> = self
            .plan
            .kernel_arguments
            .iter()
            .copied()
            .chain(ours.iter().chain(&spec.kernel_arguments).map(String::as_str))
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

/// The disk of a node of this name: after a dot, which no disk's name has, it says which of its files that is.
pub(crate) fn disk_of(node: &str) -> Option<&str> {
    let name = node.strip_prefix(DISK_PREFIX)?;
    Some(name.split_once('.').map_or(name, |(disk, _)| disk))
}

/// What a node's name has before the name of its disk.
const DISK_PREFIX: &str = "disk-";

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

pub(crate) fn escaped_path(path: &Path) -> OsString {
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
        line_of(memory, incoming, vcpus, disks, None)
    }

    fn line_of(
        memory: Memory<'_>,
        incoming: bool,
        vcpus: u32,
        disks: &[Disk],
        remedy: Option<Remedy>,
    ) -> String {
        let spec = MachineSpec {
            name: "a,b".into(),
            vcpus,
            memory_bytes: 256 << 20,
            image: None,
            disks: disks.to_vec(),
            networks: Vec::new(),
            kernel_arguments: vec!["workload_duration=15".into()],
            snapshots: false,
            confined: false,
            ready_timeout: Duration::from_secs(1),
        };
        let image = BootImage {
            kernel: "/k".into(),
            initramfs: "/i".into(),
            root: None,
            facts: ImageFacts::default(),
        };
        let raw = |fd| DiskFile { fd, format: Format::Raw };
        let overlay = |fd| DiskFile { fd, format: Format::Qcow2 };
        let files = |_| match incoming {
            false => DiskFiles { layers: Vec::new(), top: raw(7) },
            true => DiskFiles { layers: vec![raw(7), overlay(8)], top: overlay(9) },
        };
        let disk_files: Vec<DiskFiles> = disks.iter().map(files).collect();
        let command_line = CommandLine {
            accelerator: Accelerator::Tcg,
            disks: &disk_files,
            image: &image,
            incoming,
            memory,
            nics: &[],
            plan: &BootPlan::choose(Accelerator::Tcg, vcpus),
            remedy,
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
        assert!(line.contains("-object memory-backend-ram,id=memory,size=268435456B "), "{line}");
        assert!(!line.contains("-incoming"), "{line}");
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
    fn a_remedy_changes_what_it_is_for_and_nothing_else() {
        let disk = [Disk { name: "data".into(), size_bytes: 1 << 20 }];
        let with = |remedy| line_of(Memory::Anonymous, false, 1, &disk, remedy);
        let usual = with(None);
        let huge = with(Some(Remedy::HugePages));
        let object = "-object memory-backend-memfd,id=memory,size=268435456B,share=off,hugetlb=on ";
        assert!(huge.contains(object), "{huge}");
        assert_eq!(huge.replace(object, "-object memory-backend-ram,id=memory,size=268435456B "), usual);
        let thread = with(Some(Remedy::IoThread));
        assert!(thread.contains("-object iothread,id=io ") && thread.contains(",iothread=io"), "{thread}");
        assert_eq!(thread.replace("-object iothread,id=io ", "").replace(",iothread=io", ""), usual);
    }

    #[test]
    fn disks_come_with_the_module_that_drives_them() {
        let disk = Disk { name: "data".into(), size_bytes: 1 << 20 };
        let line = line_with(Memory::Anonymous, false, 1, std::slice::from_ref(&disk));
        assert!(line.contains(" virtmark.modules=virtio_blk workload_duration=15 "), "{line}");
        let blockdev = "driver=raw,node-name=disk-data,discard=unmap,file.driver=file,file.locking=off,file.filename=/dev/fdset/7 ";
        assert!(line.contains("-add-fd fd=7,set=7,opaque=disk-data ") && line.contains(blockdev), "{line}");
        assert!(line.contains("serial=data,disable-legacy=on,vectors=0"), "{line}");
        let line = line_with(Memory::Anonymous, false, 2, &[disk]);
        assert!(!line.contains("vectors="), "{line}");
        assert!(!line_with(Memory::Anonymous, false, 1, &[]).contains("virtmark.modules"));
    }

    #[test]
    fn a_disk_of_the_root_becomes_the_root() {
        let disk = Disk { name: ROOT.into(), size_bytes: 1 << 20 };
        let line = line_with(Memory::Anonymous, false, 1, &[disk]);
        assert!(
            line.contains(
                " virtmark.modules=virtio_blk virtmark.root=root,rw hostname=a,b workload_duration=15"
            ),
            "{line}"
        );
    }

    #[test]
    fn layers_lie_below_what_is_written_to() {
        let disk = Disk { name: "data".into(), size_bytes: 1 << 20 };
        let line = line_with(Memory::Anonymous, true, 1, &[disk]);
        let parts = [
            "driver=raw,node-name=disk-data.l0,read-only=on,file.driver=file,file.locking=off,file.filename=/dev/fdset/7 ",
            "driver=qcow2,node-name=disk-data.l1,read-only=on,backing=disk-data.l0,file.driver=file,",
            "driver=qcow2,node-name=disk-data,discard=unmap,backing=disk-data.l1,file.driver=file,",
            "drive=disk-data,serial=data,",
        ];
        let found: Vec<_> = parts.iter().map(|part| line.find(part)).collect();
        assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?} in {line}");
    }
}
