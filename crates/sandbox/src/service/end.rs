//! The end of sandboxes: asked for, over, failed, or with the service.

use std::sync::Arc;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{MachineState, StopMode};
use virtmark_model::FailureClass;

use super::Core;
use crate::Result;
use crate::api::{Destroyed, SandboxId, SandboxInfo, SandboxList, SandboxState, SandboxUsage};
use crate::gone::Gone;
use crate::sandbox::Sandbox;

/// How often it is looked for sandboxes that are over or have failed.
const REAP_INTERVAL: Duration = Duration::from_millis(250);
/// How many machines are destroyed at the same time.
const DESTROYERS: usize = 8;
/// How long what is still being worked on may take to notice that its machine is gone.
const CUT_GRACE: Duration = Duration::from_secs(10);

impl Core {
    pub(super) fn destroy(&self, id: SandboxId) -> Destroyed {
        let sandbox = self.house().sandboxes.get(&id).cloned();
        let destroyed = sandbox.is_some_and(|sandbox| self.end(&sandbox, Gone::Asked));
        Destroyed { sandbox_id: id, destroyed }
    }

    /// Ends a sandbox: its commands are cut, its machine is destroyed, and what it held is free. The first who ends it
    /// does all of this; gives whether it was the caller.
    pub(super) fn end(&self, sandbox: &Arc<Sandbox>, reason: Gone) -> bool {
        if !sandbox.begin_end(&reason) {
            return false;
        }
        {
            let mut house = self.house();
            house.gone.note(sandbox.id().clone(), reason.clone());
            house.sandboxes.remove(sandbox.id());
        }
        if let Gone::Failed { class, message } = &reason {
            self.counters.failed(*class);
            self.options.notice.tell(&format!("{} failed: {message}", sandbox.id()));
        }
        let holdings = sandbox.holdings().take();
        if let Some(mut holdings) = holdings
            && let Err(error) = holdings.machine.destroy()
        {
            // Dropping it tries once more.
            self.options.notice.tell(&format!("cannot destroy {}: {error}", sandbox.id()));
        }
        self.counters.destroyed(&reason);
        true
    }

    pub(super) fn list(&self) -> SandboxList {
        let sandboxes = self.everybody();
        SandboxList { sandboxes: sandboxes.iter().map(|sandbox| info(sandbox, None)).collect() }
    }

    pub(super) fn inspect(&self, id: &SandboxId) -> Result<SandboxInfo> {
        let sandbox = self.sandbox(id)?;
        // While somebody is busy with its machine, with a snapshot say, nothing is known of that and nobody waits for it.
        let usage = sandbox.try_holdings().and_then(|held| held.as_ref()?.machine.usage().ok());
        let usage = usage.unwrap_or_default();
        let usage = SandboxUsage {
            cpu_ns: usage.cpu_ns,
            rss_bytes: usage.rss_bytes,
            pss_bytes: usage.pss_bytes,
            private_bytes: usage.private_bytes,
            disk_bytes: usage.disk_bytes,
        };
        Ok(info(&sandbox, Some(usage)))
    }

    /// Ends what is over and what has failed, until the service stops.
    pub(super) fn reap(&self) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            drop(stopped);
            for sandbox in self.everybody() {
                // One that somebody is busy with, with a snapshot say, is looked at again next time; it takes no more work.
                if sandbox.is_over() && sandbox.try_holdings().is_some() {
                    self.end(&sandbox, Gone::Expired);
                } else if let Some(end) = died(&sandbox) {
                    self.end(&sandbox, end);
                }
            }
            self.sift_pool();
            stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            if !*stopped {
                stopped = self
                    .stopping
                    .wait_timeout(stopped, REAP_INTERVAL)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
    }

    pub(super) fn drain(&self, deadline: Instant) {
        self.gate.close();
        let warm = self.pool.close();
        self.gate.wait_idle(deadline);
        self.house().closed = true;
        self.end_all();
        drop(warm);
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopping.notify_all();
        let last = Instant::now() + CUT_GRACE;
        self.starting.cut(last);
        self.gate.wait_idle(last);
    }

    /// Ends every sandbox, several at a time.
    fn end_all(&self) {
        let everybody = self.everybody();
        thread::scope(|scope| {
            for share in everybody.chunks(everybody.len().div_ceil(DESTROYERS).max(1)) {
                scope.spawn(move || {
                    for sandbox in share {
                        self.end(sandbox, Gone::Shutdown);
                    }
                });
            }
        });
    }

    fn everybody(&self) -> Vec<Arc<Sandbox>> {
        self.house().sandboxes.values().cloned().collect()
    }
}

/// How a machine that should run has ended, if it has.
fn died(sandbox: &Sandbox) -> Option<Gone> {
    let mut holdings = sandbox.try_holdings()?;
    let machine = &mut holdings.as_mut()?.machine;
    if machine.state() != MachineState::Stopped {
        return None;
    }
    // The stop of a machine that has ended by itself fails with the reason.
    let (class, message) = match machine.stop(StopMode::Forced) {
        Err(error) => (error.class(), error.to_string()),
        Ok(_) => (FailureClass::Other, "its machine ended by itself".into()),
    };
    Some(Gone::Failed { class, message })
}

fn info(sandbox: &Sandbox, usage: Option<SandboxUsage>) -> SandboxInfo {
    let state = if sandbox.end().is_some() { SandboxState::Ending } else { SandboxState::Running };
    SandboxInfo { created: sandbox.created.clone(), state, usage }
}
