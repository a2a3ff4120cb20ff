//! Whether QEMU can read and write files past the host's page cache, found out by having it open them.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::statfs;
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::MachineSpec;

use crate::command_line::escaped_path;
use crate::disks::with_root;

/// Names the directory of the files that are tried, in the place of a machine; with a dot, which no machine's name has.
const HOME: &str = "direct.probe";

/// How many bytes the file has that is tried.
const PROBE_BYTES: u64 = 1 << 20;

/// How requests that go past the page cache are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aio {
    /// By the kernel's asynchronous interface (Linux AIO).
    Native,
    /// By threads that wait.
    Threads,
}

impl Aio {
    /// QEMU's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Threads => "threads",
        }
    }
}

/// How QEMU gets past the page cache at the files of such a machine's disks; why it does not.
pub(crate) fn probe(program: &Path, run_dir: &RunDir, spec: &MachineSpec) -> Result<Aio, String> {
    let root = spec.image.as_ref().and_then(|image| image.root.as_ref()).map(|root| root.file.clone());
    let disks = with_root(spec.clone()).disks;
    let bytes = disks.iter().map(|disk| disk.size_bytes).fold(0, u64::saturating_add);
    let directory = run_dir.bulk_dir(HOME, bytes).map_err(|error| error.to_string())?;
    let found = probe_in(program, &directory, root);
    // What stays goes with the run's directory.
    let _ = run_dir.remove_machine(HOME);
    found
}

fn probe_in(program: &Path, directory: &Path, root: Option<PathBuf>) -> Result<Aio, String> {
    let own = directory.join("probe.raw");
    let made = File::create_new(&own).and_then(|file| file.set_len(PROBE_BYTES));
    made.map_err(|error| format!("cannot make {}: {error}", own.display()))?;
    let files: Vec<PathBuf> = [own].into_iter().chain(root).collect();
    if files.iter().all(|file| is_in_memory(file)) {
        return Err(format!(
            "the disks of machines are in memory here ({}), where there is no cache to pass by: name a directory on a \
             disk with VIRTMARK_SCRATCH",
            directory.display()
        ));
    }
    let try_with = |aio: Aio| files.iter().try_for_each(|file| try_to_open(program, file, aio));
    match try_with(Aio::Native) {
        Ok(()) => Ok(Aio::Native),
        Err(_) => try_with(Aio::Threads).map(|()| Aio::Threads),
    }
}

/// Why QEMU does not open a file directly. Nothing boots.
fn try_to_open(program: &Path, file: &Path, aio: Aio) -> Result<(), String> {
    let mut node = OsString::from(format!(
        "driver=raw,node-name=probe,read-only=on,cache.direct=on,file.driver=file,file.cache.direct=on,\
         file.locking=off,file.aio={},file.filename=",
        aio.as_str()
    ));
    node.push(escaped_path(file));
    let ask = || {
        let mut command = Command::new(program);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-S", "-machine", "none"]);
        command.args(["-monitor", "stdio", "-blockdev"]).arg(&node);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut monitor) = child.stdin.take() {
            // One that has ended already says why on its standard error.
            let _ = monitor.write_all(b"quit\n");
        }
        child.wait_with_output()
    };
    let output = ask().map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let node = node.to_string_lossy();
    // Its words come after the option that they are about.
    let words = line.split_once(&*node).map_or(line, |(_, words)| words.trim_start_matches(": "));
    Err(match words {
        "" => format!("QEMU did not open {} directly and ended with {}", file.display(), output.status),
        words => format!("{words} ({})", file.display()),
    })
}

/// Whether a file is in the page cache and nowhere else: in a tmpfs, which is what holds large files where there is room.
fn is_in_memory(file: &Path) -> bool {
    statfs(file).is_ok_and(|found| found.f_type == libc::TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program in QEMU's place that ends as this line of a shell does. It sees the option as `$node`.
    fn program(directory: &Path, line: &str) -> PathBuf {
        let path = directory.join("qemu");
        fs::write(&path, format!("#!/bin/sh\nfor node; do :; done\n{line}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A directory that is not in memory, if this host has one to try in.
    fn on_disk() -> Option<tempfile::TempDir> {
        let program = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(program.parent().unwrap()).ok()?;
        (!is_in_memory(directory.path())).then_some(directory)
    }

    #[test]
    fn qemu_is_asked_for_the_better_way_first_and_its_refusal_is_the_reason() {
        let Some(place) = on_disk() else {
            eprintln!("skipped: everything is in memory");
            return;
        };
        let aio = |line: &str| {
            let directory = tempfile::tempdir_in(place.path()).unwrap();
            probe_in(&program(place.path(), line), directory.path(), None)
        };
        assert_eq!(aio("exit 0"), Ok(Aio::Native));
        let threads =
            "case $node in *aio=native*) echo \"qemu: -blockdev $node: not in this build\" >&2; exit 1; esac";
        assert_eq!(aio(threads), Ok(Aio::Threads));
        let reason = aio("echo \"qemu: -blockdev $node: no O_DIRECT here\" >&2; exit 1").unwrap_err();
        assert!(reason.starts_with("no O_DIRECT here (") && reason.ends_with("probe.raw)"), "{reason}");
        assert!(aio("exit 3").unwrap_err().contains("ended with exit status: 3"));
    }

    #[test]
    fn files_in_memory_have_no_cache_to_pass_by() {
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("skipped: there is no /dev/shm");
            return;
        };
        if !is_in_memory(memory.path()) {
            eprintln!("skipped: /dev/shm is not in memory");
            return;
        }
        let reason = probe_in(Path::new("/bin/true"), memory.path(), None).unwrap_err();
        assert!(
            reason.contains("in memory here (/dev/shm/") && reason.contains("VIRTMARK_SCRATCH"),
            "{reason}"
        );
    }
}
