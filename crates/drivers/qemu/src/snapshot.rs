//! A machine's state in a directory: `memory`, `device-state`, the layers of its disks, and `snapshot.json`.
//!
//! `memory` holds guest memory byte for byte, with holes where the guest never wrote; a restored machine maps it
//! privately, so that a restore reads only what the guest touches and unwritten pages are shared by all machines
//! that were restored from it. `device-state` is QEMU's migration stream without memory. `disk-NAME.0.raw` is the lowest
//! layer of a disk, and `disk-NAME.1.qcow2` what was written over it; they may share their blocks with those of other
//! snapshots, but no snapshot needs another one's files.
//!
//! A snapshot is made in a directory beside its own whose name starts with `.partial-`, and takes its name when all of
//! it is on the disk. What a killed process leaves of it is removed when the next one is made beside it.
//! `docs/snapshots.md` has the format and what can go wrong with it.

mod draft;

use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Disk, Error, MachineSpec, Result};
use virtmark_model::Accelerator;

pub(crate) use self::draft::Draft;
use crate::disks::{Format, Layer};
use crate::{sparse, verified};

/// Version of the directory's format.
const FORMAT: u32 = 2;

/// What must agree between the machine that was kept and the one that is restored, and what the files must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    #[serde(flatten)]
    pub(crate) shape: Shape,
    pub(crate) memory: Content,
    pub(crate) device_state: Content,
    pub(crate) disks: Vec<KeptDisk>,
}

/// What a machine must be to go on from a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) qemu_version: String,
    pub(crate) accelerator: Accelerator,
    pub(crate) machine: String,
    pub(crate) vcpus: u32,
    pub(crate) memory_bytes: u64,
    /// How many network interfaces it has; snapshots of machines without any need not say so.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) networks: usize,
}

/// What a file must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

/// A disk of the machine that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptDisk {
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    /// Lowest first.
    pub(crate) layers: Vec<KeptLayer>,
}

/// One file of a kept disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptLayer {
    pub(crate) format: Format,
    #[serde(flatten)]
    pub(crate) content: Content,
}

/// What every version of the manifest says.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// The files of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

/// A whole snapshot that fits a machine.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) device_state: File,
    /// The file to map.
    pub(crate) memory: PathBuf,
    /// The layers of each disk.
    pub(crate) disks: Vec<Vec<Layer>>,
}

impl Files {
    /// Those in `directory`.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf() }
    }

    pub(crate) fn memory(&self) -> PathBuf {
        self.directory.join("memory")
    }

    pub(crate) fn device_state(&self) -> PathBuf {
        self.directory.join("device-state")
    }

    pub(crate) fn layer(&self, disk: &str, number: usize, format: Format) -> PathBuf {
        self.directory.join(format!("disk-{disk}.{number}.{}", format.as_str()))
    }

    fn manifest(&self) -> PathBuf {
        self.directory.join("snapshot.json")
    }

    /// Opens what a machine is restored from. Refuses a snapshot that is not whole, and a machine that is not what was
    /// kept. Content that this process has not seen before is read and compared with its checksum.
    pub(crate) fn open(&self, shape: &Shape, spec: &MachineSpec) -> Result<Opened> {
        let manifest = self.read_manifest()?;
        manifest.check(shape, spec)?;
        self.open_verified(&self.memory(), manifest.memory)?;
        let disks = manifest.disks.iter().map(|disk| self.open_layers(disk)).collect::<Result<_>>()?;
        let device_state = self.open_verified(&self.device_state(), manifest.device_state)?;
        Ok(Opened { device_state, memory: self.memory(), disks })
    }

    /// Reads the manifest of a snapshot of this format.
    fn read_manifest(&self) -> Result<Manifest> {
        let path = self.manifest();
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.damaged("it has no snapshot.json"),
            _ => Error::io(format!("read {}", path.display()))(error),
        })?;
        let broken = |error: serde_json::Error| self.damaged(&format!("snapshot.json is damaged: {error}"));
        let Version { format } = serde_json::from_slice(&text).map_err(broken)?;
        if format != FORMAT {
            return Err(self.damaged(&format!("it has format {format}, and this virtmark reads {FORMAT}")));
        }
        serde_json::from_slice(&text).map_err(broken)
    }

    fn open_layers(&self, disk: &KeptDisk) -> Result<Vec<Layer>> {
        let layers = disk.layers.iter().enumerate().map(|(number, layer)| {
            let path = self.layer(&disk.name, number, layer.format);
            let file = self.open_verified(&path, layer.content)?;
            let checksum = Some(layer.content.crc32c);
            Ok(Layer { file, format: layer.format, path, checksum, own: false })
        });
        layers.collect()
    }

    fn open_verified(&self, path: &Path, content: Content) -> Result<File> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let failed = |error| Error::io(format!("read {} of a snapshot", path.display()))(error);
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.damaged(&format!("{name} is missing")),
            _ => failed(error),
        })?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.len() != content.bytes {
            let reason = format!("{name} has {} bytes instead of {}", metadata.len(), content.bytes);
            return Err(self.damaged(&reason));
        }
        if !verified::is_known(path, &metadata, content.crc32c) {
            let found = sparse::checksum(&file, content.bytes).map_err(failed)?;
            if found != content.crc32c {
                let reason = format!("{name} has the checksum {found:08x} instead of {:08x}", content.crc32c);
                return Err(self.damaged(&reason));
            }
            verified::remember(path, &metadata, found).map_err(failed)?;
            // QEMU reads the devices' state from where the file stands.
            (&file).rewind().map_err(failed)?;
        }
        Ok(file)
    }

    fn damaged(&self, reason: &str) -> Error {
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{reason}; it cannot be used any more: delete it and take a new one"),
        );
        Error::io(format!("restore the snapshot {}", self.directory.display()))(source)
    }
}

impl Manifest {
    /// Refuses a machine that is not what was kept.
    fn check(&self, shape: &Shape, spec: &MachineSpec) -> Result<()> {
        let kept = &self.shape;
        let disks: Vec<Disk> = self
            .disks
            .iter()
            .map(|disk| Disk { name: disk.name.clone(), size_bytes: disk.size_bytes })
            .collect();
        let differences = [
            ("QEMU version", kept.qemu_version.clone(), shape.qemu_version.clone()),
            ("accelerator", kept.accelerator.to_string(), shape.accelerator.to_string()),
            ("machine type", kept.machine.clone(), shape.machine.clone()),
            ("vCPUs", kept.vcpus.to_string(), shape.vcpus.to_string()),
            ("memory bytes", kept.memory_bytes.to_string(), shape.memory_bytes.to_string()),
            ("network interfaces", kept.networks.to_string(), shape.networks.to_string()),
            ("disks", in_words(&disks), in_words(&spec.disks)),
        ];
        match differences.into_iter().find(|(_, kept, wanted)| kept != wanted) {
            None => Ok(()),
            Some((what, kept, wanted)) => Err(Error::Io {
                action: format!("restore {} from a snapshot", spec.name),
                source: io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("the snapshot has {what} {kept}, the machine {wanted}; take a new snapshot"),
                ),
            }),
        }
    }
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

fn in_words(disks: &[Disk]) -> String {
    let words: Vec<String> =
        disks.iter().map(|disk| format!("{} of {} bytes", disk.name, disk.size_bytes)).collect();
    if words.is_empty() { "none".into() } else { words.join(", ") }
}

#[cfg(test)]
mod tests;
