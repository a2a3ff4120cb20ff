//! A machine's state in a directory: `memory`, `device-state` and `snapshot.json`.
//!
//! `memory` holds guest memory byte for byte, with holes where the guest never wrote; a restored machine maps it
//! privately, so that a restore reads only what the guest touches and unwritten pages are shared by all machines
//! that were restored from it. `device-state` is QEMU's migration stream. A machine whose memory is not in a file that
//! can be mapped keeps it in the stream, and has no `memory`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Error, MachineSpec, Result, Snapshot, allocated_bytes};
use virtmark_model::Accelerator;

/// Version of the directory's format.
const FORMAT: u32 = 1;

/// What must agree between the machine that was kept and the one that is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) qemu_version: String,
    pub(crate) accelerator: Accelerator,
    pub(crate) machine: String,
    pub(crate) vcpus: u32,
    pub(crate) memory_bytes: u64,
    /// Whether `memory` is a file of its own; otherwise it is in the stream.
    pub(crate) memory_in_file: bool,
    /// Bytes of `device-state`, so that one cut short is noticed.
    pub(crate) device_state_bytes: u64,
}

/// The files of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

impl Files {
    /// Those in `directory`.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf() }
    }

    /// Makes the directory, which must not exist.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        fs::create_dir(directory)
            .map_err(Error::io(format!("create the snapshot directory {}", directory.display())))?;
        Ok(Self::in_directory(directory))
    }

    pub(crate) fn memory(&self) -> PathBuf {
        self.directory.join("memory")
    }

    pub(crate) fn device_state(&self) -> PathBuf {
        self.directory.join("device-state")
    }

    fn manifest(&self) -> PathBuf {
        self.directory.join("snapshot.json")
    }

    /// Writes the manifest, which makes the snapshot whole.
    pub(crate) fn seal(&self, mut manifest: Manifest) -> Result<Snapshot> {
        let what = || format!("write the snapshot {}", self.directory.display());
        manifest.format = FORMAT;
        manifest.device_state_bytes = self.device_state().metadata().map_err(Error::io(what()))?.len();
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| Error::io(what())(error.into()))?;
        fs::write(self.manifest(), text).map_err(Error::io(what()))?;
        let disk_bytes = allocated_bytes(&self.directory).map_err(Error::io(what()))?;
        Ok(Snapshot { directory: self.directory.clone(), disk_bytes })
    }

    /// Reads the manifest and refuses a snapshot that is not whole.
    pub(crate) fn open(&self) -> Result<Manifest> {
        let what = || format!("restore the snapshot {}", self.directory.display());
        let damaged = |reason: String| Error::io(what())(io::Error::new(io::ErrorKind::InvalidData, reason));
        let text = fs::read(self.manifest()).map_err(Error::io(what()))?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("snapshot.json is damaged: {error}")))?;
        if manifest.format != FORMAT {
            return Err(damaged(format!("it has format {}, this virtmark reads {FORMAT}", manifest.format)));
        }
        let expected = [
            (self.device_state(), Some(manifest.device_state_bytes)),
            (self.memory(), manifest.memory_in_file.then_some(manifest.memory_bytes)),
        ];
        for (path, bytes) in expected {
            let Some(bytes) = bytes else { continue };
            let found = path.metadata().map_err(Error::io(format!("{} ({})", what(), path.display())))?.len();
            if found != bytes {
                return Err(damaged(format!("{} has {found} bytes instead of {bytes}", path.display())));
            }
        }
        Ok(manifest)
    }
}

impl Manifest {
    /// Refuses a machine that is not what was kept.
    pub(crate) fn check(
        &self,
        qemu_version: &str,
        accelerator: Accelerator,
        machine: &str,
        spec: &MachineSpec,
    ) -> Result<()> {
        let differences = [
            ("QEMU version", self.qemu_version.clone(), qemu_version.to_owned()),
            ("accelerator", self.accelerator.to_string(), accelerator.to_string()),
            ("machine type", self.machine.clone(), machine.to_owned()),
            ("vCPUs", self.vcpus.to_string(), spec.vcpus.to_string()),
            ("memory bytes", self.memory_bytes.to_string(), spec.memory_bytes.to_string()),
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

/// Copies guest memory to a new file of the same length, leaving holes where the source has holes or zeros.
pub(crate) fn copy_memory(source: &File, target: &Path, length: u64) -> io::Result<()> {
    let copy = File::create_new(target)?;
    copy.set_len(length)?;
    let mut chunk = vec![0; 1 << 20];
    let mut position = 0;
    while position < length {
        let start = match rustix::fs::seek(source, SeekFrom::Data(position)) {
            Ok(start) => start,
            // There is no more data behind this position.
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(start))?.min(length);
        position = start;
        while position < end {
            let wanted = chunk.len().min(usize::try_from(end - position).unwrap_or(usize::MAX));
            source.read_exact_at(&mut chunk[..wanted], position)?;
            if chunk[..wanted].iter().any(|byte| *byte != 0) {
                copy.write_all_at(&chunk[..wanted], position)?;
            }
            position += wanted as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            qemu_version: "7.2".into(),
            accelerator: Accelerator::Tcg,
            machine: "pc".into(),
            vcpus: 1,
            memory_bytes: 4096,
            memory_in_file: true,
            device_state_bytes: 0,
        }
    }

    fn spec() -> MachineSpec {
        MachineSpec {
            name: "m".into(),
            vcpus: 1,
            memory_bytes: 4096,
            image: None,
            disks: Vec::new(),
            kernel_arguments: vec![],
            snapshots: true,
            confined: false,
            ready_timeout: std::time::Duration::from_secs(1),
        }
    }

    fn sealed(directory: &Path) -> Files {
        let files = Files::create(&directory.join("s")).unwrap();
        fs::write(files.device_state(), b"state").unwrap();
        fs::write(files.memory(), [7; 4096]).unwrap();
        files.seal(manifest()).unwrap();
        files
    }

    #[test]
    fn a_whole_snapshot_opens_and_a_cut_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = sealed(directory.path());
        assert_eq!(files.open().unwrap().device_state_bytes, 5);
        fs::write(files.device_state(), b"sta").unwrap();
        assert!(files.open().unwrap_err().to_string().contains("3 bytes instead of 5"));
        fs::write(files.device_state(), b"state").unwrap();
        fs::remove_file(files.memory()).unwrap();
        assert!(files.open().is_err());
    }

    #[test]
    fn a_damaged_manifest_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let files = sealed(directory.path());
        fs::write(files.manifest(), b"{\"format\": 1").unwrap();
        assert!(files.open().unwrap_err().to_string().contains("snapshot.json is damaged"));
    }

    #[test]
    fn a_machine_of_another_shape_is_refused() {
        let kept = manifest();
        assert!(kept.check("7.2", Accelerator::Tcg, "pc", &spec()).is_ok());
        let larger = MachineSpec { memory_bytes: 8192, ..spec() };
        let error = kept.check("7.2", Accelerator::Tcg, "pc", &larger).unwrap_err();
        assert!(error.to_string().contains("memory bytes 4096, the machine 8192"), "{error}");
        assert!(kept.check("8.0", Accelerator::Tcg, "pc", &spec()).is_err());
        assert!(kept.check("7.2", Accelerator::Kvm, "pc", &spec()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn memory_is_copied_byte_for_byte(
            pieces in prop::collection::vec((0u64..3_000_000, prop::collection::vec(any::<u8>(), 1..5000)), 0..6),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let length = 3_100_000;
            let source_path = directory.path().join("source");
            let source = File::create_new(&source_path).unwrap();
            source.set_len(length).unwrap();
            for (position, bytes) in &pieces {
                source.write_all_at(bytes, *position).unwrap();
            }
            let source = File::open(&source_path).unwrap();
            let target = directory.path().join("target");
            copy_memory(&source, &target, length).unwrap();
            prop_assert_eq!(fs::read(source_path).unwrap(), fs::read(target).unwrap());
        }
    }
}
