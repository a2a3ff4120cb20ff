//! Machines that run machines themselves: nested virtualisation, and disks with what they need for it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command_line::escaped_path;

/// What machines get that are hosts of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosting {
    /// Disks, in the order in which the guest finds them.
    pub disks: Vec<ReadOnlyDisk>,
}

/// A file of the host as a disk that the guest reads and cannot write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOnlyDisk {
    /// The serial number that the guest sees; lower-case letters, digits and hyphens, at most 20.
    pub name: String,
    /// The content, byte for byte. Nobody may write to it while a machine has it.
    pub file: PathBuf,
}

/// AMD's virtualisation with nested paging, which QEMU's emulator implements and KVM hands on to its guests where it
/// may. With `enforce` a QEMU that cannot do it says so and ends, instead of leaving it out.
pub(crate) const CPU: &str = "max,+svm,+npt,enforce";

impl Hosting {
    /// The arguments that its disks need.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        for disk in &self.disks {
            let node = format!("fixed-{}", disk.name);
            let mut blockdev = OsString::from(format!(
                "driver=raw,node-name={node},read-only=on,file.driver=file,file.locking=off,file.filename="
            ));
            blockdev.push(escaped_path(&disk.file));
            let device =
                format!("virtio-blk-pci,id={node},drive={node},serial={},disable-legacy=on", disk.name);
            arguments.extend(["-blockdev".into(), blockdev, "-device".into(), device.into()]);
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_read_only_and_found_by_their_name() {
        let disks = vec![ReadOnlyDisk { name: "root".into(), file: "/a,b".into() }];
        let arguments = Hosting { disks }.arguments();
        let line: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        assert_eq!(line[0], "-blockdev");
        assert!(line[1].contains("read-only=on") && line[1].ends_with("file.filename=/a,,b"), "{line:?}");
        assert!(line[3].contains("serial=root,"), "{line:?}");
        assert!(Hosting::default().arguments().is_empty());
    }
}
