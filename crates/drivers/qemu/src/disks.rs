//! The disks of a machine: what is written to, over what is not written to any more.
//!
//! A disk starts as a sparse file. When a snapshot is taken, that file becomes a layer, which nobody writes again and
//! which the snapshot shares, and an empty overlay comes over it. A machine that is restored has the snapshot's layers
//! below an overlay of its own, or a copy that shares their blocks where the file system has such copies.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{Disk, Error, MachineSpec, Result};
use virtmark_image::qcow2;

use crate::sparse;

/// A virtio disk's serial number has room for this many bytes.
const MAX_NAME_BYTES: usize = 20;

/// Below what is written to there are at most this many files when a snapshot is taken. Reading looks through them one
/// by one, so few are good; putting them together copies the disk, so not too few.
pub(crate) const MOST_LAYERS: usize = 8;

/// The disk that becomes its guest's root, of a machine whose image has one.
pub(crate) const ROOT: &str = "root";

/// How a file holds a disk's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// What was written, over another file.
    Qcow2,
    /// Byte for byte.
    Raw,
}

impl Format {
    /// QEMU's word for it, and the end of a file's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// One file of a disk.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) file: File,
    pub(crate) format: Format,
    /// Where it is, or was: a snapshot may be gone while a machine restored from it runs.
    pub(crate) path: PathBuf,
    /// CRC32C of its content, where that is known and final.
    pub(crate) checksum: Option<u32>,
    /// Whether this machine made it.
    pub(crate) own: bool,
}

/// A disk of one machine.
#[derive(Debug)]
pub(crate) struct MachineDisk {
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    /// What is not written to any more, lowest first.
    pub(crate) layers: Vec<Layer>,
    /// What is written to.
    pub(crate) top: Layer,
    directory: PathBuf,
    /// How many overlays have come over it since the machine was made.
    overlays: u32,
    /// How many of them before its QEMU was started, which knows those by the names of layers.
    overlays_before: u32,
}

/// The machine with the disk that its image's root is on, before those it is asked to have.
pub(crate) fn with_root(mut spec: MachineSpec) -> MachineSpec {
    if let Some(root) = spec.image.as_ref().and_then(|image| image.root.as_ref()) {
        spec.disks.insert(0, Disk { name: ROOT.into(), size_bytes: root.size_bytes });
    }
    spec
}

/// Makes a file for each disk, among the machine's large files, which go when the machine is removed. What is written to
/// the root goes over the image's file, which nobody writes to.
pub(crate) fn create(run_dir: &RunDir, spec: &MachineSpec) -> Result<Vec<MachineDisk>> {
    let root = spec.image.as_ref().and_then(|image| image.root.as_ref());
    let places = place(run_dir, spec)?.into_iter();
    let disks = places.map(|(disk, directory)| match root.filter(|_| disk.name == ROOT) {
        Some(root) => MachineDisk::over(disk, directory, vec![Layer::of_image(&root.file)?]),
        None => MachineDisk::empty(disk, directory),
    });
    disks.collect()
}

/// Makes disks over the layers of a snapshot's disks, which are in the order of the specification.
pub(crate) fn restore(
    run_dir: &RunDir,
    spec: &MachineSpec,
    kept: Vec<Vec<Layer>>,
) -> Result<Vec<MachineDisk>> {
    let places = place(run_dir, spec)?.into_iter().zip(kept);
    places.map(|((disk, directory), layers)| MachineDisk::over(disk, directory, layers)).collect()
}

/// Refuses disks that cannot be.
pub(crate) fn check_disks(spec: &MachineSpec) -> Result<()> {
    check(&spec.disks).map_err(|reason| {
        let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
        Error::io(format!("give {} its disks", spec.name))(source)
    })
}

/// Each disk with the directory for its files.
fn place<'a>(run_dir: &RunDir, spec: &'a MachineSpec) -> Result<Vec<(&'a Disk, PathBuf)>> {
    if spec.disks.is_empty() {
        return Ok(Vec::new());
    }
    check_disks(spec)?;
    let bytes = spec.disks.iter().map(|disk| disk.size_bytes).fold(0, u64::saturating_add);
    let directory = run_dir.bulk_dir(&spec.name, bytes)?;
    Ok(spec.disks.iter().map(|disk| (disk, directory.clone())).collect())
}

impl MachineDisk {
    fn empty(disk: &Disk, directory: PathBuf) -> Result<Self> {
        let top = Layer::create(directory.join(format!("{}.raw", disk.name)), Format::Raw, |file| {
            file.set_len(disk.size_bytes)
        })?;
        Ok(Self::of(disk, directory, Vec::new(), top))
    }

    fn over(disk: &Disk, directory: PathBuf, layers: Vec<Layer>) -> Result<Self> {
        if let [Layer { file, format: Format::Raw, .. }] = &layers[..] {
            let path = directory.join(format!("{}.raw", disk.name));
            let shared = |copy: &File| Ok(rustix::fs::ioctl_ficlone(copy, file)?);
            if let Ok(top) = Layer::create(path, Format::Raw, shared) {
                return Ok(Self::of(disk, directory, Vec::new(), top));
            }
            // The file systems do not share blocks, and an overlay says what else may be wrong.
        }
        let top = Layer::create(directory.join(format!("{}.0.qcow2", disk.name)), Format::Qcow2, |file| {
            qcow2::write_empty(file, disk.size_bytes)
        })?;
        Ok(Self::of(disk, directory, layers, top))
    }

    fn of(disk: &Disk, directory: PathBuf, layers: Vec<Layer>, top: Layer) -> Self {
        let Disk { name, size_bytes } = disk.clone();
        Self { name, size_bytes, layers, top, directory, overlays: 0, overlays_before: 0 }
    }

    /// The same files for another QEMU, to which the machine moves. Only one of the two may write to them at any time.
    pub(crate) fn for_another(&self) -> Result<Self> {
        let layers = self.layers.iter().map(Layer::again).collect::<Result<_>>()?;
        Ok(Self {
            name: self.name.clone(),
            size_bytes: self.size_bytes,
            layers,
            top: self.top.again()?,
            directory: self.directory.clone(),
            overlays: self.overlays,
            overlays_before: self.overlays,
        })
    }

    /// The name in QEMU of what is written to, for a disk that is called `node` there.
    pub(crate) fn top_node(&self, node: &str) -> String {
        overlay_node(node, self.overlays - self.overlays_before)
    }

    /// The name in QEMU of the next overlay.
    pub(crate) fn next_node(&self, node: &str) -> String {
        overlay_node(node, self.overlays - self.overlays_before + 1)
    }

    /// The names in QEMU of the layers.
    pub(crate) fn layer_nodes(&self, node: &str) -> Vec<String> {
        let overlays = (self.overlays - self.overlays_before) as usize;
        let count = self.layers.len();
        // The uppermost was the overlay before the one that is written to; those below the first were there at the start.
        let name = |number: usize| match overlays.checked_sub(count - number) {
            Some(overlay) => overlay_node(node, overlay as u32),
            None => lower_node(node, number),
        };
        (0..count).map(name).collect()
    }

    /// Whether it has as many layers as it may have.
    pub(crate) fn is_deep(&self) -> bool {
        self.layers.len() >= MOST_LAYERS
    }

    /// Notes that all is in what is written to now, and removes the machine's own names of what was below it.
    pub(crate) fn forget_layers(&mut self) {
        for layer in self.layers.drain(..).filter(|layer| layer.own) {
            // What stays goes with the machine.
            let _ = fs::remove_file(&layer.path);
        }
    }

    /// Makes the file of the next overlay.
    pub(crate) fn next_overlay(&self) -> Result<Layer> {
        let name = format!("{}.{}.qcow2", self.name, self.overlays + 1);
        Layer::create(self.directory.join(name), Format::Qcow2, |file| {
            qcow2::write_empty(file, self.size_bytes)
        })
    }

    /// Notes that from now on `overlay` is written to.
    pub(crate) fn put_over(&mut self, overlay: Layer) {
        let frozen = std::mem::replace(&mut self.top, overlay);
        self.layers.push(frozen);
        self.overlays += 1;
    }

    /// Brings what was written to the disk, so that QEMU has less to wait for when it does the same.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.top.file.sync_data()
    }

    /// Bytes on disk in files that only this machine has.
    fn allocated_bytes(&self) -> io::Result<u64> {
        let own = self.layers.iter().chain([&self.top]).filter(|layer| layer.own);
        let metadata = own.map(|layer| layer.file.metadata());
        metadata
            .map(|found| found.map(|found| if found.nlink() == 1 { found.blocks() * 512 } else { 0 }))
            .sum()
    }
}

/// What QEMU calls a layer that was there when the machine was made; a disk is called `node` there.
pub(crate) fn lower_node(node: &str, number: usize) -> String {
    format!("{node}.l{number}")
}

/// What is written to has the disk's own name until the first overlay comes over it.
fn overlay_node(node: &str, number: u32) -> String {
    if number == 0 { node.to_owned() } else { format!("{node}.o{number}") }
}

impl Layer {
    /// The file of an image, which many machines have.
    fn of_image(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(format!("open {}", path.display())))?;
        Ok(Self { file, format: Format::Qcow2, path: path.to_path_buf(), checksum: None, own: false })
    }

    /// Makes a file of the machine with the content that `fill` writes; it is not there when that fails.
    fn create(path: PathBuf, format: Format, fill: impl FnOnce(&File) -> io::Result<()>) -> Result<Self> {
        let failed = |error| Error::io(format!("make the disk {}", path.display()))(error);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        if let Err(error) = fill(&file) {
            // The machine's directory goes anyway; the first error is the one that matters.
            let _ = fs::remove_file(&path);
            return Err(failed(error));
        }
        Ok(Self { file, format, path, checksum: None, own: true })
    }

    /// The same file again.
    fn again(&self) -> Result<Self> {
        let file = File::from(self.descriptor()?);
        let Self { format, path, checksum, own, .. } = self;
        Ok(Self { file, format: *format, path: path.clone(), checksum: *checksum, own: *own })
    }

    /// A descriptor of its own for QEMU.
    pub(crate) fn descriptor(&self) -> Result<OwnedFd> {
        let what = || format!("duplicate the descriptor of the disk {}", self.path.display());
        self.file.try_clone().map(OwnedFd::from).map_err(Error::io(what()))
    }

    /// Gives a layer that nobody writes any more another name, `target`: by a link, else by a copy that shares its
    /// blocks, else by a copy of what is not a hole. Gives its CRC32C.
    pub(crate) fn keep(&mut self, target: &Path) -> io::Result<u32> {
        let length = self.file.metadata()?.len();
        let copied = match self.link(target) {
            true => None,
            false => {
                let copy = File::create_new(target)?;
                match rustix::fs::ioctl_ficlone(&copy, &self.file) {
                    Ok(()) => None,
                    // Not on this file system, or not between these two.
                    Err(_) => Some(sparse::copy(&self.file, &copy, length)?),
                }
            }
        };
        let checksum = match copied.or(self.checksum) {
            Some(checksum) => checksum,
            None => sparse::checksum(&self.file, length)?,
        };
        self.checksum = Some(checksum);
        Ok(checksum)
    }

    /// Whether `target` is now a name of this file.
    fn link(&self, target: &Path) -> bool {
        if fs::hard_link(&self.path, target).is_err() {
            return false;
        }
        let same = || -> io::Result<bool> {
            let (ours, linked) = (self.file.metadata()?, target.metadata()?);
            Ok((ours.dev(), ours.ino()) == (linked.dev(), linked.ino()))
        };
        let linked = same().unwrap_or(false);
        if !linked {
            // The path has become another file's. What stays there is refused a moment later.
            let _ = fs::remove_file(target);
        }
        linked
    }
}

/// Bytes that the disks take on the host in files that only their machine has.
pub(crate) fn allocated_bytes(disks: &[MachineDisk]) -> io::Result<u64> {
    disks.iter().map(MachineDisk::allocated_bytes).sum()
}

fn check(disks: &[Disk]) -> Result<(), String> {
    for (number, Disk { name, size_bytes }) in disks.iter().enumerate() {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.starts_with('-') || name.len() > MAX_NAME_BYTES || !name.chars().all(fits)
        {
            return Err(format!(
                "{name:?} is not a name of a disk: use 1 to {MAX_NAME_BYTES} lower-case letters, digits and hyphens"
            ));
        }
        if disks[..number].iter().any(|other| other.name == *name) {
            return Err(format!("two disks are named {name}"));
        }
        if *size_bytes == 0 || size_bytes % 512 != 0 {
            return Err(format!(
                "disk {name} has {size_bytes} bytes; a size is a multiple of 512 above zero"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn disks_that_cannot_be_are_refused_with_the_reason() {
        let disk = |name: &str, size_bytes| Disk { name: name.into(), size_bytes };
        assert_eq!(check(&[disk("data", 512), disk("log-1", 1 << 30)]), Ok(()));
        let reasons = [
            (vec![disk("", 512)], "not a name"),
            (vec![disk("a,b", 512)], "not a name"),
            (vec![disk("-a", 512)], "not a name"),
            (vec![disk("abcdefghijklmnopqrstu", 512)], "not a name"),
            (vec![disk("a", 512), disk("a", 512)], "two disks"),
            (vec![disk("a", 0)], "0 bytes"),
            (vec![disk("a", 513)], "513 bytes"),
        ];
        for (disks, reason) in reasons {
            let error = check(&disks).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    /// Names of what is written to and of the layers below it, through a snapshot, a move to another QEMU and the next one.
    #[test]
    fn another_qemu_knows_the_files_it_was_started_with_as_layers() {
        let place = tempfile::tempdir().unwrap();
        let disk = Disk { name: "data".into(), size_bytes: 1 << 20 };
        let mut disk = MachineDisk::empty(&disk, place.path().into()).unwrap();
        let names = |disk: &MachineDisk| (disk.top_node("n"), disk.layer_nodes("n").join(" "));
        assert_eq!(names(&disk), ("n".into(), String::new()));
        disk.put_over(disk.next_overlay().unwrap());
        assert_eq!(names(&disk), ("n.o1".into(), "n".into()));
        let mut moved = disk.for_another().unwrap();
        drop(disk);
        assert_eq!(names(&moved), ("n".into(), "n.l0".into()));
        assert_eq!(moved.next_node("n"), "n.o1");
        moved.put_over(moved.next_overlay().unwrap());
        assert_eq!(names(&moved), ("n.o1".into(), "n.l0 n".into()));
        moved.forget_layers();
        assert_eq!(names(&moved), ("n.o1".into(), String::new()));
        moved.put_over(moved.next_overlay().unwrap());
        assert_eq!(names(&moved), ("n.o2".into(), "n.o1".into()));
    }

    #[test]
    fn layers_are_kept_by_link_or_copy_and_never_taken_for_others() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let fill = |file: &File| file.write_all_at(b"content", 5);
        let mut layer = Layer::create(path("a"), Format::Raw, fill).unwrap();
        let expected = crc32c::crc32c(b"\0\0\0\0\0content");
        assert_eq!(layer.keep(&path("b")).unwrap(), expected);
        assert_eq!(path("b").metadata().unwrap().nlink(), 2);
        // The name is gone and then another file's; the content is kept all the same.
        fs::remove_file(path("a")).unwrap();
        assert_eq!(layer.keep(&path("c")).unwrap(), expected);
        fs::write(path("a"), "other").unwrap();
        assert_eq!(layer.keep(&path("d")).unwrap(), expected);
        for name in ["c", "d"] {
            assert_eq!(fs::read(path(name)).unwrap(), b"\0\0\0\0\0content");
        }
        assert!(layer.keep(&path("d")).is_err(), "a file was replaced");
    }
}
