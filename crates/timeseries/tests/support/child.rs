//! Tests that run themselves again as another process.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The variable that tells a child which store it works on.
const STORE: &str = "VIRTMARK_TEST_STORE";

/// A command that runs one ignored test of this program on a store.
pub(crate) fn command(test: &str, store: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]).env(STORE, store);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The store this child was started for.
pub(crate) fn store() -> std::path::PathBuf {
    std::env::var_os(STORE).expect("run by another test, which names the store").into()
}

/// A child that is killed, at the latest when the test ends.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
