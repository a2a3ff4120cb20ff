//! The lab's machine: what it is made of, and how it comes up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use virtmark_driver_qemu::{
    AcceleratorChoice, Hosting, Program, Qemu, QemuOptions, ReadOnlyDisk, refuses_to_host,
};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{
    BootImage, Command, Disk, GuestLink, Hypervisor, Machine, MachineSpec, MachineState,
};
use virtmark_image::{Image, KernelSource, RootRecipe, SharedFile, Store, TinyRecipe, Volume};

use crate::{Error, Result, room};

/// Where the files of the host lie in the lab, read-only.
pub const SHARE: &str = "/lab";

/// Serial numbers of the disks.
const ROOT_DISK: &str = "root";
const SHARE_DISK: &str = "share";
const SCRATCH_DISK: &str = "scratch";

/// What the lab can write to `/tmp`. It takes room on the host when it is written, and goes with the lab.
const SCRATCH_BYTES: u64 = 4 << 30;

/// Room that making the root file system takes: the archive, the tree and the disk.
const BUILD_BYTES: u64 = 2 << 30;

/// What a fresh lab needs before it is of use. Names what is missing on standard error.
const PREPARE: &str = r#"set -e
for disk in /sys/block/vd*; do
    device=/dev/${disk##*/}
    case $(cat "$disk/serial") in
        share) mount -t ext4 -o ro,noatime "$device" /lab ;;
        scratch)
            mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,nodiscard "$device"
            mount -t ext4 -o noatime "$device" /tmp
            chmod 1777 /tmp
            ;;
    esac
done
modprobe kvm_amd 2>/run/modprobe || modprobe kvm_intel 2>>/run/modprobe || { cat /run/modprobe >&2; exit 1; }
[ -c /dev/kvm ] || { echo "the modules are loaded, and there is no /dev/kvm" >&2; exit 1; }
mount -o remount,size=90% /dev/shm
mkdir -p /root/.cache/virtmark/kernels
ln -s / "/root/.cache/virtmark/kernels/$1"
"#;

/// What a lab is to be.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Directory of the image store.
    pub store: PathBuf,
    /// The QEMU program; the one from `PATH` when absent.
    pub qemu: Option<PathBuf>,
    /// Files that the lab has below [`SHARE`].
    pub shared: Vec<SharedFile>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory, in bytes. What the lab writes elsewhere than to `/tmp` is in it too.
    pub memory_bytes: u64,
    /// How long the lab may take to answer.
    pub ready_timeout: Duration,
}

impl LabOptions {
    /// The usual lab, over the image store in `store`.
    pub fn new(store: PathBuf) -> Self {
        Self {
            store,
            qemu: None,
            shared: Vec::new(),
            vcpus: 2,
            memory_bytes: 3 << 30,
            ready_timeout: Duration::from_secs(60),
        }
    }
}

/// A machine with a working `/dev/kvm`. Dropping it ends it, and removes all that it had.
pub struct Lab {
    machine: Box<dyn Machine>,
    guest: Arc<dyn GuestLink>,
    /// What was made to boot it, and is held as long as it lives.
    _image: Image,
    _root: Volume,
    _share: Volume,
}

impl Lab {
    /// Makes what is missing of its disks, boots it, and sees that it has a `/dev/kvm`. Ten to twenty seconds when the
    /// disks are there.
    pub fn start(options: &LabOptions, run_dir: Arc<RunDir>, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        room::memory(options.memory_bytes)?;
        // Before anything is made, which takes a minute.
        if let Some(reason) = refuses_to_host(&Program::find(options.qemu.as_deref())?) {
            return Err(Error::NoSvm { reason });
        }
        let store = Store::open(options.store.clone())?;
        room::disk(store.dir(), BUILD_BYTES)?;
        let image =
            store.ensure_tiny(&TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec()), &mut *progress)?;
        let root = store.ensure_root(&recipe(), &mut *progress)?;
        let share = store.ensure_share(&options.shared, &mut *progress)?;
        let boot = BootImage::of(&image);
        let qemu_options = QemuOptions {
            program: options.qemu.clone(),
            accelerator: AcceleratorChoice::Tcg,
            cache: options.store.clone(),
            vcpus: options.vcpus,
        };
        let disk =
            |name: &str, volume: &Volume| ReadOnlyDisk { name: name.into(), file: volume.file.clone() };
        let hosting = Hosting { disks: vec![disk(ROOT_DISK, &root), disk(SHARE_DISK, &share)] };
        let qemu = Qemu::new(&qemu_options, &boot, run_dir, progress)?.hosting(hosting, options.vcpus);
        let spec = MachineSpec {
            name: "lab".into(),
            vcpus: options.vcpus,
            memory_bytes: options.memory_bytes,
            image: Some(boot),
            disks: vec![Disk { name: SCRATCH_DISK.into(), size_bytes: SCRATCH_BYTES }],
            networks: Vec::new(),
            kernel_arguments: vec![format!("virtmark.root={ROOT_DISK}")],
            snapshots: false,
            confined: false,
            ready_timeout: options.ready_timeout,
        };
        progress("starting the lab");
        let (mut machine, _) = qemu.create(&spec)?;
        machine.start()?;
        let guest = machine.guest()?;
        let mut command = Command::argv(["/bin/sh", "-c", PREPARE, "prepare", &package_of(&image)]);
        command.timeout = Some(Duration::from_secs(30));
        let output = guest.exec(&command).map_err(|error| machine.explain(error))?;
        if !output.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            return Err(Error::NoKvm { reason: format!("{said} ({:?})", output.status) });
        }
        Ok(Self { machine, guest, _image: image, _root: root, _share: share })
    }

    /// The way into it.
    pub fn guest(&self) -> Arc<dyn GuestLink> {
        Arc::clone(&self.guest)
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        self.machine.state() == MachineState::Running
    }

    /// The end of its console, for messages about its end.
    pub fn console_tail(&self) -> String {
        self.machine.console_tail()
    }

    /// Ends it at once.
    pub fn end(&mut self) -> Result<()> {
        self.machine.destroy()?;
        Ok(())
    }
}

/// What the lab's root file system is made of.
fn recipe() -> RootRecipe {
    let packages = ["busybox-static", "kmod", "procps", "qemu-system-x86"];
    RootRecipe {
        name: "lab".into(),
        suite: "bookworm".into(),
        packages: packages.map(Into::into).into(),
        directories: vec![SHARE.into()],
        kernel: KernelSource::Debian,
    }
}

/// Name and version of the kernel's package, by which virtmark in the lab finds it.
fn package_of(image: &Image) -> String {
    format!("linux-image-{}_0", image.kernel_release)
}
