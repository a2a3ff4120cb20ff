//! The agent as an ordinary service, and what it has in common with init.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getppid, set_child_subreaper, set_parent_process_death_signal};
use virtmark_protocol::{NO_SESSION, Reply};

use crate::exec::BaseEnvironment;
use crate::line::Line;
use crate::options::{Options, Serve};
use crate::reap::Reaper;
use crate::serve::{Finished, Identity, Server};
use crate::transport::{AtEnd, Inherited, Tcp, Transport, VirtioSerial, Vsock};
use crate::{clock, inherited, power};

/// Serves until the line ends, the host asks it to end, or SIGTERM or SIGINT does. Nothing it started is left then.
pub(crate) fn run(started_ns: u64, options: &Options) -> io::Result<()> {
    // Fails only for names that are too long.
    let _ = rustix::thread::set_name(c"virtmark-agent");
    inherited::keep_private(None)?;
    let mut transport: Box<dyn Transport> = match &options.serve {
        Serve::Fd(number) => Box::new(Inherited { fd: Some(inherited::take(*number)?) }),
        Serve::Tcp(address) => Box::new(Tcp { address: *address, listener: None }),
        Serve::Virtio(name) => Box::new(VirtioSerial { name: name.clone() }),
        Serve::Vsock(port) => Box::new(Vsock { port: *port, listener: None }),
    };
    // SIGKILL, which a starter may have arranged for its own end, would leave no time to kill what was started. The
    // end of the line says the same, and a guard's end is told by a signal that leaves time.
    set_parent_process_death_signal(options.parent.map(|_| Signal::TERM))?;
    let parent = getppid().map(|pid| pid.as_raw_pid().unsigned_abs());
    if options.parent.is_some_and(|expected| parent != Some(expected)) {
        return Ok(());
    }
    let started_ns = if options.hold {
        if rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut [0]))? == 0 {
            return Ok(());
        }
        clock::boottime_ns()
    } else {
        started_ns
    };
    let mut agent = Agent::new(started_ns, false)?;
    let served = agent.serve_all(transport.as_mut());
    power::kill_all(false);
    served.map_err(|error| io::Error::new(error.kind(), format!("open {}: {error}", transport.describe())))
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

    /// Opens the line, when a host has connected where it has to; `None` when a signal asks the agent to end before.
    pub(crate) fn open(&mut self, transport: &mut dyn Transport) -> io::Result<Option<OwnedFd>> {
        while let Some(listener) = transport.listener()? {
            let mut fds =
                [PollFd::new(&self.reaper, PollFlags::IN), PollFd::from_borrowed_fd(listener, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let connected = !fds[1].revents().is_empty();
            self.reaper.acknowledge();
            while self.reaper.next().is_some() {}
            if self.reaper.terminated() {
                return Ok(None);
            }
            if connected {
                break;
            }
        }
        transport.open().map(Some)
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
            let Some(line) = self.open(transport)? else { return Ok(()) };
            match self.serve(line, transport.at_end(), || ()) {
                Finished::LineEnded if transport.at_end() == AtEnd::Reopen => {}
                _ => return Ok(()),
            }
        }
    }
}
