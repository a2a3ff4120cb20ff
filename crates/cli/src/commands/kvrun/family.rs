//! A process with all that are below it, to be asked to end and waited for.

use std::fs;
use std::time::Instant;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use virtmark_host::rundir::wait_until_gone;

/// A process and its descendants. Each is held by a descriptor, so no signal meets a later process with its number.
pub(super) struct Family(Vec<OwnedFd>);

impl Family {
    /// The process, whose number this is until it is waited for, and all that are below it now; nobody when it has ended.
    pub(super) fn of(process: OwnedFd, pid: Pid) -> Self {
        let (mut members, mut parents) = (Vec::new(), vec![pid]);
        while let Some(parent) = parents.pop() {
            for child in children(parent) {
                let Ok(descriptor) = pidfd_open(child, PidfdFlags::empty()) else { continue };
                // Still a child after the descriptor was made: it is the child's.
                if children(parent).contains(&child) {
                    members.push(descriptor);
                    parents.push(child);
                }
            }
        }
        if wait_until_gone(&process, Instant::now()) {
            // Its number may be another's by now.
            return Self(Vec::new());
        }
        members.push(process);
        Self(members)
    }

    /// Sends the signal to each that is there.
    pub(super) fn signal(&self, signal: Signal) {
        for member in &self.0 {
            // One that has ended needs none.
            let _ = pidfd_send_signal(member, signal);
        }
    }

    /// Whether all end until then.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        self.0.iter().all(|member| wait_until_gone(member, deadline))
    }
}

/// The children of all threads of a process; none of one that is gone.
fn children(parent: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let text = lists.collect::<Vec<_>>().join(" ");
    text.split_ascii_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn children_of_children_are_asked_and_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (ready, asked) = (directory.path().join("ready"), directory.path().join("asked"));
        // The outer shell dies of the signal at once; the inner one has something to do first.
        let inner = "trap 'sleep 0.3; echo yes >\"$ASKED\"; exit 0' TERM; echo yes >\"$READY\"; \
                     while :; do sleep 0.05; done";
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "/bin/sh -c \"$INNER\"; exit 7"])
            .envs([("INNER", inner.as_ref()), ("READY", ready.as_os_str()), ("ASKED", asked.as_os_str())])
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            assert!(Instant::now() < deadline, "the shell does not start");
            thread::sleep(Duration::from_millis(10));
        }
        let pid = Pid::from_child(&shell);
        let open = || pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let family = Family::of(open(), pid);
        assert!(!family.wait(Instant::now() + Duration::from_millis(20)));
        family.signal(Signal::TERM);
        assert!(family.wait(Instant::now() + PATIENCE));
        assert!(asked.exists());
        // Ended, and still there for who waits for it.
        assert!(Family::of(open(), pid).0.is_empty());
        assert!(!shell.wait().unwrap().success());
    }
}
