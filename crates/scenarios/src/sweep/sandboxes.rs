//! A sandbox service as a target: one command in a sandbox, or a sandbox's whole life, for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use virtmark_hypervisor::{Command, Error, ExecStatus, Hypervisor, Machine, MachineSpec};
use virtmark_load::{CallFailure, Limit, Target, Worker};

use super::plan::PerRequest;

/// The least time that a service can be asked to keep to.
const LEAST: Duration = Duration::from_millis(1);

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
