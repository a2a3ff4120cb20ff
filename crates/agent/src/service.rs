//! The agent as an ordinary service, and what it has in common with init.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{WaitId, WaitIdOptions, set_child_subreaper, set_parent_process_death_signal, waitid};
use virtmark_protocol::{NO_SESSION, Reply};

use crate::clock;
use crate::exec::BaseEnvironment;
use crate::line::Line;
use crate::power;
use crate::reap::Reaper;
use crate::serve::{Finished, Identity, Server};
use crate::transport::{AtEnd, PORT_NAME, Tcp, Transport, VirtioSerial, Vsock, inherited};

const USAGE: &str = "\
Usage: virtmark-agent (--fd N | --tcp ADDRESS:PORT | --virtio [NAME] | --vsock PORT | --version)

Serves virtmark over one line:
  --fd N              an open stream socket; its end is the end of the agent and of all it started
  --tcp ADDRESS:PORT  one TCP connection at a time
  --virtio [NAME]     a virtio-serial port, by default virtmark.agent
  --vsock PORT        one vsock connection at a time
";

/// How long processes that were killed may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Whether the arguments ask for a service; the kernel gives init what it does not understand itself.
pub(crate) fn is_asked_for(arguments: &[String]) -> bool {
    arguments
        .first()
        .is_some_and(|first| ["--fd", "--tcp", "--virtio", "--vsock", "--version"].contains(&&**first))
}

/// Serves until the line ends, the host asks it to end, or SIGTERM or SIGINT does. Nothing it started is left then.
pub(crate) fn run(started_ns: u64, arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).collect();
    let transport: io::Result<Box<dyn Transport>> = match *arguments {
        ["--fd", number] => number.parse().map_err(io::Error::other).and_then(inherited).map(|fd| {
            // The end of the line says the same, and leaves time to kill what was started.
            let _ = set_parent_process_death_signal(None);
            Box::new(fd) as Box<dyn Transport>
        }),
        ["--tcp", address] => match address.parse() {
            Ok(address) => Ok(Box::new(Tcp { address, listener: None })),
            Err(error) => Err(io::Error::other(error)),
        },
        ["--virtio"] => Ok(Box::new(VirtioSerial { name: PORT_NAME.into() })),
        ["--virtio", name] => Ok(Box::new(VirtioSerial { name: name.into() })),
        ["--vsock", port] => match port.parse() {
            Ok(port) => Ok(Box::new(Vsock { port, listener: None })),
            Err(error) => Err(io::Error::other(error)),
        },
        ["--version"] => {
            println!("virtmark-agent {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let served = transport.and_then(|mut transport| {
        let mut agent = Agent::new(started_ns, false)?;
        let served = agent.serve_all(transport.as_mut());
        agent.kill_all();
        served
            .map_err(|error| io::Error::new(error.kind(), format!("open {}: {error}", transport.describe())))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtmark-agent: cannot serve {}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// What outlives a line.
pub(crate) struct Agent {
    reaper: Reaper,
    identity: Identity,
    base: BaseEnvironment,
}

impl Agent {
    /// Prepares to serve. As a service, descendants that lose their parent come back to this process.
    pub(crate) fn new(started_ns: u64, is_init: bool) -> io::Result<Self> {
        if !is_init {
            set_child_subreaper(Some(rustix::process::getpid()))?;
        }
        Ok(Self {
            reaper: Reaper::install(is_init)?,
            identity: Identity {
                kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
                init_started_ns: started_ns,
                ready_ns: 0,
                is_init,
            },
            base: BaseEnvironment::new(is_init),
        })
    }

    /// Serves one line. `afterwards` runs once the host was told that the agent is ready, before the first request.
    pub(crate) fn serve(&mut self, line: OwnedFd, at_end: AtEnd, afterwards: impl FnOnce()) -> Finished {
        let mut line = Line::new(line, at_end);
        self.identity.ready_ns = clock::boottime_ns();
        if line.send(NO_SESSION, 0, &Reply::Ready).and_then(|()| line.flush()).is_err() {
            return Finished::LineEnded;
        }
        afterwards();
        Server::new(line, &mut self.reaper, &self.identity, &self.base).run()
    }

    fn serve_all(&mut self, transport: &mut dyn Transport) -> io::Result<()> {
        loop {
            let line = transport.open()?;
            match self.serve(line, transport.at_end(), || ()) {
                Finished::LineEnded if transport.at_end() == AtEnd::Reopen => {}
                _ => return Ok(()),
            }
        }
    }

    /// Kills all that descends from the agent, until nothing is left of it or it refuses to die.
    pub(crate) fn kill_all(&mut self) {
        let deadline = Instant::now() + KILL_GRACE;
        while has_children() && Instant::now() < deadline {
            // Each kill may bring the children of what died.
            power::kill_children(self.identity.is_init);
            while self.reaper.next().is_some() {}
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::All, options).is_ok()
}
