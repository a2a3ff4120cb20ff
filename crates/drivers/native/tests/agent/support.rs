//! An agent that runs as a child of the test.

use std::fs::{self, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use tempfile::TempDir;
use virtmark_agent_binary::AGENT;
use virtmark_hypervisor::link::AgentLink;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The agent's process, a directory for the test's files, and the host's end of the line.
pub(crate) struct Agent {
    pub(crate) process: Child,
    pub(crate) directory: TempDir,
    pub(crate) line: UnixStream,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = install(&directory);
        let (line, theirs) = UnixStream::pair().unwrap();
        let theirs = OwnedFd::from(theirs);
        // Other tests start processes at the same time, and each would hold the line open: the shell gets it as its
        // standard input, and passes that on.
        let process = Command::new("/bin/sh")
            .args(["-c", "exec \"$0\" --fd 0"])
            .arg(&program)
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        assert!(rustix::io::fcntl_getfd(&line).unwrap().contains(FdFlags::CLOEXEC), "{}", line.as_raw_fd());
        Self { process, directory, line }
    }

    /// A link over the line, as a host process would make it.
    pub(crate) fn link(&self) -> AgentLink {
        AgentLink::connect(self.line.try_clone().unwrap(), "test", Arc::new(|| "last words".into())).unwrap()
    }

    /// A link whose agent answers.
    pub(crate) fn ready_link(&self) -> AgentLink {
        let link = self.link();
        link.wait_ready(Instant::now() + PATIENCE).unwrap();
        link
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The largest resident set it has had.
    pub(crate) fn peak_rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Puts the agent program into a directory.
pub(crate) fn install(directory: &TempDir) -> PathBuf {
    let program = directory.path().join("virtmark-agent");
    fs::write(&program, AGENT).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}
