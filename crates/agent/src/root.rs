//! A root file system on a disk, in the place of the image's own.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_move};

use crate::exec::{DEFAULT_HOME, DEFAULT_PATH};

/// Where the disk is mounted until it is the root.
const STAGE: &str = "/virtmark-root";

/// What is mounted already and goes along.
const KEPT: [&str; 3] = ["dev", "proc", "sys"];

/// What the root file system has to be started when it is the root, in the background.
const START: &str = "/etc/virtmark/start";

/// Follows the serial number of a disk that may be written to.
const WRITABLE_MARK: &str = ",rw";

/// What programs write to, on a root that nobody writes to.
const WRITABLE: [(&str, &str); 2] = [("/root", "mode=0700"), ("/var/tmp", "mode=1777")];

/// How long a disk whose driver has just been loaded may take to show.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the ext4 file system of a disk the root for this process and all that it starts from now on. `which` is the
/// disk's serial number, with `,rw` when it may be written to. The image's own files are not reachable afterwards.
pub(crate) fn switch_to(which: &str) -> io::Result<()> {
    let writable = which.strip_suffix(WRITABLE_MARK);
    let serial = writable.unwrap_or(which);
    let disk = wait_for_disk(serial)?;
    let told = |action: &str, error: io::Error| io::Error::new(error.kind(), format!("{action}: {error}"));
    fs::create_dir_all(STAGE)?;
    let access = if writable.is_some() { MountFlags::empty() } else { MountFlags::RDONLY };
    mount(&disk, STAGE, "ext4", access | MountFlags::NOATIME, None)
        .map_err(|error| told(&format!("mount {}", disk.display()), error.into()))?;
    for name in KEPT {
        mount_move(format!("/{name}"), format!("{STAGE}/{name}"))
            .map_err(|error| told(&format!("move /{name}"), error.into()))?;
    }
    // The root of an initramfs cannot be unmounted or pivoted from: the new one is mounted over it (switch_root(8)).
    std::env::set_current_dir(STAGE)?;
    mount_move(".", "/").map_err(|error| told("move the new root over the old one", error.into()))?;
    rustix::process::chroot(".")?;
    std::env::set_current_dir("/")?;
    if writable.is_some() {
        return Ok(());
    }
    for (target, options) in WRITABLE {
        let options = std::ffi::CString::new(options)?;
        mount("tmpfs", target, "tmpfs", MountFlags::NOSUID, Some(options.as_c_str()))
            .map_err(|error| told(&format!("mount {target}"), error.into()))?;
    }
    Ok(())
}

/// Starts what the root file system has for that, if it has anything, and does not wait for it. Its output goes to the
/// console; it ends with the guest.
pub(crate) fn start_services() {
    let mut command = Command::new(START);
    command.env_clear().env("PATH", DEFAULT_PATH).env("HOME", DEFAULT_HOME);
    command.current_dir("/").process_group(0).stdin(Stdio::null());
    match command.spawn() {
        // Waited for with every other process that comes to init.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => eprintln!("virtmark-agent: cannot start {START}: {error}"),
    }
}

fn wait_for_disk(serial: &str) -> io::Result<PathBuf> {
    let deadline = Instant::now() + DISK_TIMEOUT;
    loop {
        if let Some(disk) = disk_in(Path::new("/sys/block"), serial) {
            return Ok(disk);
        }
        if Instant::now() >= deadline {
            let message = format!("there is no disk with the serial number {serial}");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The device of the disk with this serial number among those that lie in `block`.
fn disk_in(block: &Path, serial: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(block).ok()?.filter_map(Result::ok);
    let disk = entries.find(|entry| {
        fs::read_to_string(entry.path().join("serial")).is_ok_and(|text| text.trim() == serial)
    })?;
    Some(Path::new("/dev").join(disk.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_by_its_whole_serial_number() {
        let block = std::env::temp_dir().join(format!("virtmark-agent-root-{}", std::process::id()));
        for (name, serial) in [("vda", "root-2\n"), ("vdb", "root"), ("loop0", "")] {
            fs::create_dir_all(block.join(name)).unwrap();
            fs::write(block.join(name).join("serial"), serial).unwrap();
        }
        fs::create_dir_all(block.join("ram0")).unwrap();
        assert_eq!(disk_in(&block, "root"), Some("/dev/vdb".into()));
        assert_eq!(disk_in(&block, "other"), None);
        fs::remove_dir_all(block).unwrap();
    }
}
