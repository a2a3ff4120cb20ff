//! A sandbox service as a target: one command in a sandbox, or a sandbox's whole life, for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Command, Error, ExecStatus, Hypervisor, Machine, MachineSpec};
use virtmark_load::{CallFailure, Cancel, Limit, Target, Worker};

use super::plan::PerRequest;
use crate::Interrupt;

/// The least time that a service can be asked to keep to.
const LEAST: Duration = Duration::from_millis(1);

/// Runs `work` and tells it to stop when the user wants that, or when `timeout` has passed, which comes back beside its
/// result.
pub(super) fn watched<T>(
    interrupt: &dyn Interrupt,
    timeout: Duration,
    work: impl FnOnce(&Cancel) -> T,
) -> (T, bool) {
    const LOOK: Duration = Duration::from_millis(50);
    let cancel = Cancel::new();
    let deadline = Instant::now() + timeout;
    let (over, ended) = channel::<()>();
    thread::scope(|scope| {
        let cancel = &cancel;
        let watcher = scope.spawn(move || {
            // Something is sent, or the sender is gone, when the work is done.
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
                let is_late = Instant::now() >= deadline;
                if is_late || interrupt.is_requested() {
                    cancel.cancel();
                    return is_late;
                }
            }
            false
        });
        let result = work(cancel);
        drop(over);
        (result, watcher.join().unwrap_or(false))
    })
}

/// A service whose sandboxes are called.
pub(super) struct Sandboxes {
    pub(super) service: Arc<dyn Hypervisor>,
    /// Every sandbox is made like this one, under a name of its own.
    pub(super) template: MachineSpec,
    /// What each runs, for its shell.
    pub(super) command: String,
    pub(super) per_request: PerRequest,
    /// Tells the sandboxes of a sweep apart.
    pub(super) next: Arc<AtomicU64>,
}

impl Target for Sandboxes {
    fn worker(&self, _: usize) -> Result<Box<dyn Worker>, CallFailure> {
        let maker = Maker {
            service: Arc::clone(&self.service),
            template: self.template.clone(),
            command: self.command.clone(),
            next: Arc::clone(&self.next),
        };
        Ok(match self.per_request {
            PerRequest::Exec => {
                let sandbox = maker.make(self.template.ready_timeout).map_err(failure)?;
                Box::new(ExecWorker { maker, sandbox })
            }
            PerRequest::Life => Box::new(LifeWorker { maker }),
        })
    }
}

/// Makes sandboxes and runs commands in them.
struct Maker {
    service: Arc<dyn Hypervisor>,
    template: MachineSpec,
    command: String,
    next: Arc<AtomicU64>,
}

impl Maker {
    fn make(&self, limit: Duration) -> Result<Box<dyn Machine>, Error> {
        let name = format!("sweep-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let spec = MachineSpec { name, ready_timeout: limit.max(LEAST), ..self.template.clone() };
        let (mut machine, _) = self.service.create(&spec)?;
        machine.start()?;
        Ok(machine)
    }

    fn run(&self, sandbox: &dyn Machine, limit: Duration) -> Result<(), CallFailure> {
        let mut command = Command::shell(self.command.clone());
        command.timeout = Some(limit.max(LEAST));
        command.output_limit_bytes = 0;
        let guest = sandbox.guest().map_err(failure)?;
        match guest.exec(&command).map_err(failure)?.status {
            ExecStatus::Exited(0) => Ok(()),
            ExecStatus::Exited(code) => {
                Err(CallFailure::new("exit_code", format!("the command exited with code {code}")))
            }
            ExecStatus::Signaled(signal) => {
                Err(CallFailure::new("signal", format!("the command was killed by signal {signal}")))
            }
            ExecStatus::TimedOut => Err(CallFailure::timeout("the command took longer than a request may")),
        }
    }
}

/// Has a sandbox of its own, made before anything is measured.
struct ExecWorker {
    maker: Maker,
    sandbox: Box<dyn Machine>,
}

impl Worker for ExecWorker {
    fn call(&mut self, limit: &Limit) -> Result<(), CallFailure> {
        self.maker.run(self.sandbox.as_ref(), limit.left())
    }
}

/// Makes a sandbox for each request and destroys it.
struct LifeWorker {
    maker: Maker,
}

impl Worker for LifeWorker {
    fn call(&mut self, limit: &Limit) -> Result<(), CallFailure> {
        let mut sandbox = self.maker.make(limit.left()).map_err(failure)?;
        let ran = self.maker.run(sandbox.as_ref(), limit.left());
        let destroyed = sandbox.destroy().map_err(failure);
        ran.and(destroyed.map(drop))
    }
}

fn failure(error: Error) -> CallFailure {
    CallFailure::new(error.class().as_str(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wish(bool);

    impl Interrupt for Wish {
        fn is_requested(&self) -> bool {
            self.0
        }

        fn wait(&self, timeout: Duration) -> bool {
            thread::sleep(timeout);
            self.0
        }
    }

    /// Works until it is told to stop, or for as long as that.
    fn work(longest: Duration) -> impl Fn(&Cancel) -> bool {
        move |cancel| {
            let deadline = Instant::now() + longest;
            while !cancel.is_cancelled() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            cancel.is_cancelled()
        }
    }

    #[test]
    fn work_is_told_to_stop_at_the_limit_and_by_the_user_and_only_the_limit_is_late() {
        let long = Duration::from_secs(60);
        assert_eq!(watched(&Wish(false), Duration::from_millis(10), work(long)), (true, true));
        assert_eq!(watched(&Wish(true), long, work(long)), (true, false));
        let started = Instant::now();
        assert_eq!(watched(&Wish(false), long, work(Duration::ZERO)), (false, false));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
