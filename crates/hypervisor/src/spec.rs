//! What a machine is asked to be.

use std::path::PathBuf;
use std::time::Duration;

use virtmark_image::Image;
use virtmark_model::ImageFacts;

use crate::Network;

/// What a machine is asked to be. A platform gives it these things and nothing else.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// Short name for messages and labels; letters, digits and hyphens. No two machines have one at the same time.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory, in bytes.
    pub memory_bytes: u64,
    /// What it boots; `None` on platforms that boot nothing.
    pub image: Option<BootImage>,
    /// Empty disks that it gets, in the order in which its guest finds them.
    pub disks: Vec<Disk>,
    /// Network interfaces, in the order in which its guest finds them. Its agent gives them their addresses before it takes
    /// the first request. Without any the guest has only its own loopback interface.
    pub networks: Vec<Network>,
    /// Added at the end of the kernel command line.
    pub kernel_arguments: Vec<String>,
    /// Whether snapshots of it will be taken, which some platforms must know beforehand.
    pub snapshots: bool,
    /// Whether its VMM is locked in as far as the host permits: fewer system calls, an unprivileged user when started
    /// as root, limits on memory and CPU.
    pub confined: bool,
    /// How long the guest may take to answer after start or restore.
    pub ready_timeout: Duration,
}

/// An empty disk of a machine. Its content lives as long as the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Short name for labels, which is also the serial number that the guest sees; lower-case letters, digits and
    /// hyphens, at most 20, and a letter or digit first.
    pub name: String,
    /// Size in bytes, a multiple of 512.
    pub size_bytes: u64,
}

/// What a machine boots, as files of the host.
#[derive(Clone, Debug)]
pub struct BootImage {
    /// Kernel file, an ELF with a PVH entry or a bzImage.
    pub kernel: PathBuf,
    /// Initial RAM file system with the agent as `/init`.
    pub initramfs: PathBuf,
    /// The file system that the agent makes the guest's root once it is there; `None` to stay in the initramfs.
    pub root: Option<RootDisk>,
    /// What goes on record about it.
    pub facts: ImageFacts,
}

/// A disk image with an ext4 file system. What a guest writes goes to a disk of its own over it, which goes with its
/// machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootDisk {
    /// The file, in the format qcow2. Nobody may write to it while a machine has it.
    pub file: PathBuf,
    /// Size of the disk that it holds, in bytes.
    pub size_bytes: u64,
}

impl BootImage {
    /// What this image boots. The image must be held for as long as machines are made from it, so that nobody removes
    /// its files.
    pub fn of(image: &Image) -> Self {
        Self {
            kernel: image.kernel.clone(),
            initramfs: image.initramfs.clone(),
            root: image
                .root
                .as_ref()
                .map(|root| RootDisk { file: root.file.clone(), size_bytes: root.size_bytes }),
            facts: ImageFacts {
                id: image.id.clone(),
                name: image.name.clone(),
                kernel_sha256: image.kernel_sha256.clone(),
                initramfs_sha256: Some(image.initramfs_sha256.clone()),
                kernel_release: Some(image.kernel_release.clone()),
            },
        }
    }
}
