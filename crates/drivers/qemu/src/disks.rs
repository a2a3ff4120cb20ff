//! The disks of a machine: sparse files that live as long as it does.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{Disk, Error, MachineSpec, Result};

/// A virtio disk's serial number has room for this many bytes.
const MAX_NAME_BYTES: usize = 20;

/// Makes a file for each disk, among the machine's large files, which go when the machine is removed.
pub(crate) fn create(run_dir: &RunDir, spec: &MachineSpec) -> Result<Vec<PathBuf>> {
    if spec.disks.is_empty() {
        return Ok(Vec::new());
    }
    check(&spec.disks).map_err(|reason| {
        Error::io(format!("give {} its disks", spec.name))(io::Error::new(
            io::ErrorKind::InvalidInput,
            reason,
        ))
    })?;
    let bytes = spec.disks.iter().map(|disk| disk.size_bytes).fold(0, u64::saturating_add);
    let directory = run_dir.bulk_dir(&spec.name, bytes)?;
    let file = |disk: &Disk| {
        let path = directory.join(format!("{}.raw", disk.name));
        let made = File::create_new(&path).and_then(|file| file.set_len(disk.size_bytes));
        made.map_err(Error::io(format!("make the disk {}", path.display()))).map(|()| path)
    };
    spec.disks.iter().map(file).collect()
}

/// Bytes that the disks take on the host.
pub(crate) fn allocated_bytes(disks: &[PathBuf]) -> io::Result<u64> {
    disks.iter().map(|path| Ok(path.metadata()?.blocks() * 512)).sum()
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
}
