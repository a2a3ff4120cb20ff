//! The one thread that forks.
//!
//! `PR_SET_PDEATHSIG` is delivered when the parent *thread* exits (prctl(2)). Were children forked by whichever
//! thread asked, the end of a worker thread would kill its machines. This thread ends with the process only.

use std::io;
use std::process::Command;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

struct Request {
    command: Command,
    reply: SyncSender<io::Result<u32>>,
}

static SPAWNER: Mutex<Option<Sender<Request>>> = Mutex::new(None);

/// Starts the command and gives its pid, not yet reaped. On return the parent's copies of the descriptors that
/// the command held are closed.
pub(super) fn spawn(command: Command) -> io::Result<u32> {
    let (reply, answer) = sync_channel(1);
    spawner()?.send(Request { command, reply }).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn spawner() -> io::Result<Sender<Request>> {
    let mut spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = &*spawner {
        return Ok(sender.clone());
    }
    let (sender, requests) = channel::<Request>();
    thread::Builder::new().name("spawner".into()).spawn(move || {
        reap_by_hand();
        for Request { mut command, reply } in requests {
            let pid = command.spawn().map(|child| child.id());
            drop(command);
            // Whoever asked may be gone; then nobody holds the child, and it ends with the process.
            let _ = reply.send(pid);
        }
    })?;
    Ok(spawner.insert(sender).clone())
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts processes has panicked")
}

/// A parent that ignores SIGCHLD hands that down, and the kernel would then reap children before their exit
/// status could be read.
#[allow(unsafe_code)]
fn reap_by_hand() {
    // SAFETY: SIG_DFL installs no handler, so no code of ours can run in signal context. Nothing in this program
    // handles SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}
