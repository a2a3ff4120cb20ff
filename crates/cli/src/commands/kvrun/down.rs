//! `virtmark kvrun down`

use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use virtmark_host::rundir::wait_until_gone;

use super::place::{self, Shown};
use crate::commands::clean_leftovers;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// How long machines may take to go before the process that keeps them is killed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a killed process may take to be gone.
const AFTER_KILL: Duration = Duration::from_secs(20);

/// Destroys the machines with this id, or all. What a killed process left is gone already: every start removes it.
pub(super) fn run(id: Option<&str>, quiet: bool) -> anyhow::Result<Exit> {
    let alive = place::alive()?;
    let chosen = match id {
        None => alive,
        Some(id) => vec![one(&alive, id)?],
    };
    // All are asked before any is waited for.
    let asked: Vec<(&Shown, Option<OwnedFd>)> = chosen.iter().map(|shown| (shown, ask(shown))).collect();
    let deadline = Instant::now() + PATIENCE;
    for (shown, process) in &asked {
        let Some(process) = process else { continue };
        if !wait_until_gone(process, deadline) {
            // One that has ended meanwhile needs no signal.
            let _ = pidfd_send_signal(process, Signal::KILL);
            if !wait_until_gone(process, Instant::now() + AFTER_KILL) {
                let message = format!(
                    "process {} keeps the machines {} and does not end; see `ps {}`",
                    shown.pid, shown.id, shown.pid
                );
                return Err(Failure { exit: Exit::Timeout, message }.into());
            }
        }
    }
    // One that was killed, by whomever, has removed nothing.
    if !chosen.is_empty() {
        clean_leftovers();
    }
    if !quiet {
        for shown in &chosen {
            output::people(&format!(
                "virtmark: destroyed {} with {}\n",
                shown.id,
                place::counted(shown.replicas)
            ));
        }
        if chosen.is_empty() {
            output::people("virtmark: no machines are set up\n");
        }
    }
    Ok(Exit::Ok)
}

/// The one whose id begins so.
fn one(alive: &[Shown], id: &str) -> Result<Shown, Failure> {
    let found: Vec<&Shown> = alive.iter().filter(|shown| shown.id.starts_with(id)).collect();
    let message = match found.as_slice() {
        [one] => return Ok((*one).clone()),
        [] => format!("no machines with the id {id} are set up; `virtmark kvrun list` has those that are"),
        several => {
            let ids: Vec<&str> = several.iter().map(|shown| shown.id.as_str()).collect();
            format!("{id} is the start of several ids: {}", ids.join(", "))
        }
    };
    Err(Failure { exit: Exit::UnknownName, message })
}

/// Asks the process to end; none where it has already.
fn ask(shown: &Shown) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(shown.pid)?, PidfdFlags::empty()).ok()?;
    // It lived after the descriptor was made, so that is its own, and not that of a later process with its number.
    place::is_kept(shown).then_some(())?;
    pidfd_send_signal(&process, Signal::TERM).ok()?;
    Some(process)
}
