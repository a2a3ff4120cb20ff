//! A program that runs beside the target for as long as the sweep: the server that is called.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Cancel, Command, Error, ExecHandle, ExecStatus, GuestLink, Result};

use super::cap::Cap;
use crate::Interrupt;

/// How long it may take until it listens.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(20);
/// What is kept of the end of what it says.
const TAIL_BYTES: usize = 2048;
/// Puts the number of its process into a file and becomes the program.
const WRITE_PID: &str = "echo $$ > \"$1\" || exit 126; shift; exec \"$@\"";

/// A program to run beside the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// A word for it, in messages and for its files.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The TCP port on which it listens when it is ready; without one it is ready at once.
    pub port: Option<u16>,
}

/// A service that was started. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Service {
    spec: ServiceSpec,
    pid_file: String,
    shared: Arc<Mutex<Said>>,
    cancel: Cancel,
    reader: Option<JoinHandle<()>>,
}

/// What has become of it.
#[derive(Debug, Default)]
struct Said {
    tail: Vec<u8>,
    end: Option<String>,
}

impl Service {
    /// Starts it and waits until it listens. `directory` is its working directory.
    pub(super) fn start(
        guest: &Arc<dyn GuestLink>,
        spec: &ServiceSpec,
        directory: &str,
        cap: &Cap,
        machine: &str,
        interrupt: &dyn Interrupt,
    ) -> Result<Self> {
        let pid_file = format!("{directory}/{}.pid", spec.name);
        let mut argv = ["/bin/sh", "-c", WRITE_PID, "sh", &pid_file].map(str::to_owned).to_vec();
        argv.extend(spec.argv.iter().cloned());
        let mut command = Command::argv(cap.around(argv));
        command.cwd = Some(directory.into());
        let cancel = Cancel::new();
        command.cancel = Some(cancel.clone());
        let handle = guest.spawn(&command)?;
        let shared = Arc::new(Mutex::new(Said::default()));
        let reader = thread::Builder::new().name("service".into()).spawn({
            let shared = Arc::clone(&shared);
            move || listen(handle, &shared)
        });
        let reader = reader.map_err(Error::io(format!("listen to {}", spec.name)))?;
        let service = Self { spec: spec.clone(), pid_file, shared, cancel, reader: Some(reader) };
        service.wait_ready(guest, machine, interrupt)?;
        Ok(service)
    }

    /// How it ended, with the last it said, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        let said = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let end = said.end.as_ref()?;
        let tail = String::from_utf8_lossy(&said.tail);
        let name = &self.spec.name;
        Some(match tail.trim() {
            "" => format!("{name} {end}"),
            tail => format!("{name} {end}; its last words: {tail}"),
        })
    }

    /// What to start it from again.
    pub(super) fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// The most memory that its process ever had, in KiB; none once it is gone.
    pub(super) fn peak_rss_kib(&self, guest: &Arc<dyn GuestLink>) -> Option<u64> {
        let pid: u32 = text(guest, &self.pid_file)?.trim().parse().ok()?;
        let status = text(guest, &format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    fn wait_ready(&self, guest: &Arc<dyn GuestLink>, machine: &str, interrupt: &dyn Interrupt) -> Result<()> {
        let Some(port) = self.spec.port else { return Ok(()) };
        let deadline = Instant::now() + READY_TIMEOUT;
        let refused = |reason: String| Error::AgentRefused {
            machine: machine.into(),
            request: format!("start {}", self.spec.name),
            reason,
        };
        loop {
            if let Some(end) = self.ended() {
                return Err(refused(end));
            }
            if listens(guest, port)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(refused(format!("nothing listens on port {port} after {READY_TIMEOUT:?}")));
            }
            if interrupt.wait(LOOK) {
                return Err(Error::Cancelled { machine: machine.into(), request: self.spec.name.clone() });
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(reader) = self.reader.take() {
            // A panic there has left nothing to do.
            let _ = reader.join();
        }
    }
}

/// Takes what it says until it ends, so that it never waits for somebody to listen.
fn listen(mut handle: Box<dyn ExecHandle>, shared: &Mutex<Said>) {
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let end = loop {
        match handle.next_output() {
            Ok(Some(chunk)) => {
                let mut said = lock();
                said.tail.extend(&chunk.data);
                let excess = said.tail.len().saturating_sub(TAIL_BYTES);
                said.tail.drain(..excess);
            }
            Ok(None) => break handle.wait().map(|(status, _)| words(status)),
            Err(error) => break Err(error),
        }
    };
    lock().end = Some(end.unwrap_or_else(|error| format!("was lost: {error}")));
}

fn words(status: ExecStatus) -> String {
    match status {
        ExecStatus::Exited(code) => format!("exited with code {code}"),
        ExecStatus::Signaled(signal) => format!("was killed by signal {signal}"),
        ExecStatus::TimedOut => "was killed at its time limit".into(),
    }
}

/// A file of the guest; none when it cannot be read.
pub(super) fn text(guest: &Arc<dyn GuestLink>, path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    guest.get(path, &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// Whether somebody listens on a TCP port, by the tables of the kernel: a connection would be a request of its own.
fn listens(guest: &Arc<dyn GuestLink>, port: u16) -> Result<bool> {
    let mut bytes = Vec::new();
    guest.get("/proc/net/tcp", &mut bytes)?;
    let mut found = has_listener(&String::from_utf8_lossy(&bytes), port);
    if !found && let Some(table) = text(guest, "/proc/net/tcp6") {
        found = has_listener(&table, port);
    }
    Ok(found)
}

/// Looks into a table of proc_pid_net(5): the second column is `address:port` in hexadecimal, the fourth the state, of
/// which 0A is `TCP_LISTEN`.
fn has_listener(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace();
        let (address, state) = (columns.nth(1).unwrap_or_default(), columns.nth(1).unwrap_or_default());
        state == "0A" && address.rsplit_once(':').is_some_and(|(_, hex)| hex == format!("{port:04X}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   0: 0100007F:1F90 00000000:0000 0A 0:0\n   \
                     1: 0100007F:18EB 0100007F:9C40 01 0:0\n   2: 00000000000000000000000001000000:18EC 00000000:0000 0A 0:0\n";
        assert!(has_listener(table, 8080));
        assert!(has_listener(table, 6380));
        assert!(!has_listener(table, 6379), "a connection is no listener");
        assert!(!has_listener("", 1));
    }
}
