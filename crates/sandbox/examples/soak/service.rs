//! `virtmark serve` as a child.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::Result;
use crate::footprint::{Footprint, leftovers};

/// A service in a place of its own, killed with this.
pub(crate) struct Service {
    pub(crate) url: String,
    child: Child,
    place: tempfile::TempDir,
    // Closed, it would end whoever writes to it.
    _stdout: BufReader<ChildStdout>,
}

impl Service {
    /// Starts it on a free port of loopback.
    pub(crate) fn start(virtmark: &Path) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("soak").tempdir()?;
        let at = |part: &str| place.path().join(part);
        let mut child = Command::new(virtmark)
            .args(["--quiet", "serve", "--listen", "127.0.0.1:0", "--state"])
            .arg(at("state"))
            .env("VIRTMARK_RUN_DIR", at("run"))
            .env("VIRTMARK_SCRATCH", at("scratch"))
            .env_remove("VIRTMARK_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}; build it first", virtmark.display()))?;
        let stdout = child.stdout.take().ok_or("the service has no standard output")?;
        let mut service = Self { url: String::new(), child, place, _stdout: BufReader::new(stdout) };
        service.url = service.listen()?;
        Ok(service)
    }

    /// Waits for it to say where it listens.
    fn listen(&mut self) -> Result<String> {
        let mut text = String::new();
        // One JSON object over several lines.
        while !text.trim_end().ends_with('}') {
            if self._stdout.read_line(&mut text)? == 0 {
                return Err(format!("the service ended before it listened: {}", self.child.wait()?).into());
            }
        }
        let told: Value = serde_json::from_str(&text)?;
        Ok(told["url"].as_str().ok_or("the service does not say its URL")?.to_owned())
    }

    /// What it has now.
    pub(crate) fn footprint(&self) -> Result<Footprint> {
        Footprint::of(self.child.id(), self.place.path())
    }

    /// Ends it as an operator does. It must end well, and leave nothing but its state.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        let pid = rustix::process::Pid::from_raw(pid).ok_or("the service has no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the service ended with {status}").into());
        }
        let left = leftovers(self.child.id(), self.place.path())?;
        if !left.is_empty() {
            return Err(format!("the service has ended and left {left:?}").into());
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ended already when it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
