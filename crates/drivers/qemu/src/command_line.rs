//! The command line of one QEMU process: what the specification asks for, and nothing else.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use virtmark_hypervisor::link::PORT_NAME;
use virtmark_hypervisor::{BootImage, MachineSpec};
use virtmark_model::{Accelerator, Topology};

use crate::boot::BootPlan;
use crate::disks::{Format, ROOT, lower_node};
use crate::network::Nic;
use crate::tuning::{Aio, LARGE_QUEUE_SIZE, Tuning};

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
    fn arguments(
        self,
        arguments: &mut Arguments,
        (node, options): (&str, &str),
        below: Option<&str>,
        direct: Option<Aio>,
    ) {
        // No lock: a frozen overlay would keep that of a writer, although nothing is written to it any more, and who may
        // write which file is decided here.
        // A set of one descriptor, with the same number, which no other set has, and the name of its node.
        let Self { fd, format } = self;
        arguments.option("-add-fd", format!("fd={fd},set={fd},opaque={node}"));
        let backing = match (format, below) {
            (Format::Raw, _) | (_, None) => String::new(),
            (Format::Qcow2, Some(below)) => format!(",backing={below}"),
        };
        // Of the format and of the file: what lies below by name does not take it over.
        let (cache, file_cache) = match direct {
            None => ("", String::new()),
            Some(aio) => (",cache.direct=on", format!(",file.cache.direct=on,file.aio={}", aio.as_str())),
        };
        let blockdev = format!(
            "driver={},node-name={node},{options}{cache}{backing},file.driver=file,file.locking=off{file_cache},\
             file.filename=/dev/fdset/{fd}",
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
    pub(crate) sockets: Sockets,
    pub(crate) spec: &'a MachineSpec,
    /// What the machine has beyond the usual.
    pub(crate) tuning: &'a Tuning,
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
        let vcpus = self.spec.vcpus;
        arguments.option(
            "-smp",
            match self.tuning.topology {
                None => vcpus.to_string(),
                Some(Topology { sockets, cores, threads }) => {
                    format!("{vcpus},sockets={sockets},cores={cores},threads={threads}")
                }
            },
        );
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
            arguments.0.extend(nic.arguments(number, self.vectors(), self.tuning));
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
        let huge = self.tuning.huge_pages;
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

    /// The host's page cache is in between unless told otherwise, and what the guest flushes is on the host's disk.
    fn disk_arguments(&self, arguments: &mut Arguments) {
        let vectors = self.vectors();
        let thread = if self.tuning.io_thread && !self.disks.is_empty() {
            arguments.option("-object", "iothread,id=io");
            ",iothread=io"
        } else {
            ""
        };
        let direct = self.tuning.direct;
        let queue = match self.tuning.large_queues {
            true => format!(",queue-size={LARGE_QUEUE_SIZE}"),
            false => String::new(),
        };
        for (disk, files) in self.spec.disks.iter().zip(self.disks) {
            let node = node_name(&disk.name);
            let mut below = None;
            for (number, file) in files.layers.iter().enumerate() {
                let name = lower_node(&node, number);
                file.arguments(arguments, (&name, "read-only=on"), below.as_deref(), direct);
                below = Some(name);
            }
            files.top.arguments(arguments, (&node, "discard=unmap"), below.as_deref(), direct);
            arguments.option(
                "-device",
                format!(
                    "virtio-blk-pci,id={node},drive={node},serial={},disable-legacy=on{vectors}{thread}{queue}",
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
mod tests;
