//! Machines that run machines themselves: nested virtualisation, and disks with what they need for it.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Program;
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

/// Why this QEMU cannot emulate a CPU with virtualisation of its own, in its words; `None` when it can. Nothing boots.
pub fn refuses_to_host(program: &Program) -> Option<String> {
    let ask = || {
        let mut command = Command::new(&program.path);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-S", "-machine", "pc"]);
        command.args(["-accel", "tcg", "-cpu", CPU, "-m", "64", "-monitor", "stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut monitor) = child.stdin.take() {
            // One that has ended already says why on its standard error.
            let _ = monitor.write_all(b"quit\n");
        }
        child.wait_with_output()
    };
    match ask() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let telling = text.lines().find(|line| line.contains("svm") || line.contains("npt"));
            let line = telling.or_else(|| text.lines().rfind(|line| !line.trim().is_empty()));
            Some(
                line.map_or_else(
                    || format!("it ended with {}", output.status),
                    |line| line.trim().to_owned(),
                ),
            )
        }
        Err(error) => Some(error.to_string()),
    }
}

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
    fn a_qemu_without_svm_is_known_by_its_own_words() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let program = |name: &str, lines: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            Program { path, version: "7.2.0".into() }
        };
        let lines = "echo 'qemu: warning: TCG does not support requested feature: CPUID.80000001H:ECX.svm [bit 2]' >&2
            echo 'qemu: TCG does not support requested features' >&2; exit 1";
        let refusal = refuses_to_host(&program("old", lines)).unwrap();
        assert!(refusal.ends_with("ECX.svm [bit 2]"), "{refusal}");
        let silent = refuses_to_host(&program("silent", "exit 3")).unwrap();
        assert!(silent.contains("exit status: 3"), "{silent}");
        // It gets a CPU that has to have it, and ends when it is told to.
        let lines =
            "read word; case \"$word $*\" in 'quit '*'-cpu max,+svm,+npt,enforce'*) exit 0;; esac; exit 1";
        assert_eq!(refuses_to_host(&program("new", lines)), None);
    }

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
