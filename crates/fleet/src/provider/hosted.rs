//! Machines of a hypervisor as a provider.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_host::process::kill_children_named;
use virtmark_hypervisor::{
    Capability, Error, GuestLink, Hypervisor, Machine as VirtualMachine, MachineSpec, MachineState, Network,
    Result, ssh,
};

use super::{Provider, Replica};
use crate::Limit;
use crate::map::{Address, DEFAULT_PORT, Host, Machine};

/// The segment that machines share.
const SEGMENT: &str = "machines";
/// How long a greeting may take, at first and at most: in between, the machine is looked at.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
const LONGEST_PATIENCE: Duration = Duration::from_secs(8);
/// Longer than any machine takes to start.
const FOREVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How machines are entered, and so when they are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// By their agent; ready when it has answered.
    Agent,
    /// By SSH; ready when the agent has told the host key and the server has greeted.
    Ssh,
}

/// How machines that are entered by SSH are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkChoice {
    /// A bridge where this process may make one, otherwise forwarded ports.
    #[default]
    Auto,
    /// A bridge of the host, which all machines share.
    Bridge,
    /// A network of its own for each machine, with its SSH port on the host's loopback interface.
    User,
}

impl NetworkChoice {
    /// The network interface of each machine on this platform. `outbound` lets guests with forwarded ports reach what the
    /// host reaches. A platform that cannot do it says why.
    pub fn network(self, hypervisor: &dyn Hypervisor, outbound: bool) -> Result<Network> {
        let capabilities = hypervisor.capabilities();
        let shared = match self {
            // Guests on a bridge reach nothing beyond this host.
            Self::Auto => !outbound && capabilities.has(Capability::SharedNetwork),
            Self::Bridge => true,
            Self::User => false,
        };
        let (network, needs) = match shared {
            true => (Network::Shared { segment: SEGMENT.into() }, Capability::SharedNetwork),
            false => {
                let forwards = vec![DEFAULT_PORT];
                (Network::User { forwards, restricted: !outbound }, Capability::Network)
            }
        };
        if capabilities.has(needs) { Ok(network) } else { Err(hypervisor.unsupported(needs)) }
    }
}

/// Machines of a hypervisor, all alike.
pub struct Hosted {
    hypervisor: Arc<dyn Hypervisor>,
    spec: MachineSpec,
    door: Door,
}

impl Hosted {
    /// Machines of this specification, apart from the name and the time they have. For [`Door::Ssh`] it has a network
    /// interface and an image whose guest runs an SSH server, as that of the image `bench` does.
    pub fn new(hypervisor: Arc<dyn Hypervisor>, spec: MachineSpec, door: Door) -> Self {
        Self { hypervisor, spec, door }
    }
}

impl Provider for Hosted {
    fn set_up(&self, name: &str, limit: &Limit) -> Result<Box<dyn Replica>> {
        let vmm = name.to_owned();
        // A start cannot be given up, but it ends with its VMM.
        let _hearing = limit.cancel.on_cancel(move || {
            kill_children_named(&vmm);
        });
        let ready_timeout = limit.left().unwrap_or(FOREVER);
        let spec = MachineSpec { name: name.into(), ready_timeout, ..self.spec.clone() };
        let (machine, _) = self.hypervisor.create(&spec)?;
        let mut one = One {
            machine,
            place: Machine {
                name: name.into(),
                // Of a machine without a network, whose address is never looked at.
                address: Address { host: Host::Name(name.to_ascii_lowercase()), port: DEFAULT_PORT },
                aliases: Vec::new(),
            },
            known_hosts: String::new(),
            link: None,
        };
        let entered = one.enter(self.door, limit);
        if let Err(error) = entered {
            let error = one.machine.explain(error);
            // Whatever comes of it, the first error is the one to tell.
            let _ = one.machine.destroy();
            return Err(error);
        }
        Ok(Box::new(one))
    }
}

/// One machine of a hypervisor.
struct One {
    machine: Box<dyn VirtualMachine>,
    place: Machine,
    known_hosts: String,
    link: Option<Arc<dyn GuestLink>>,
}

impl One {
    fn enter(&mut self, door: Door, limit: &Limit) -> Result<()> {
        // Its VMM may have been started just after those that there were had been killed.
        self.still_wanted(limit)?;
        self.machine.start()?;
        let link = self.machine.guest()?;
        self.link = Some(Arc::clone(&link));
        if door == Door::Ssh {
            let address = self.machine.reach(DEFAULT_PORT).ok_or_else(|| {
                let reason = "it has no network interface on which the host reaches its SSH server";
                Error::io(format!("reach {} by SSH", self.place.name))(std::io::Error::other(reason))
            })?;
            self.place.address = Address { host: Host::Ip(address.ip()), port: address.port() };
            let deadline = limit.deadline.unwrap_or_else(|| Instant::now() + FOREVER);
            self.known_hosts = ssh::host_key(&*link, deadline)?.known_hosts_line(address);
            self.greeted(address, deadline, limit)?;
        }
        self.still_wanted(limit)
    }

    fn greeted(&self, address: SocketAddr, deadline: Instant, limit: &Limit) -> Result<()> {
        let mut patience = FIRST_PATIENCE;
        loop {
            let until = deadline.min(Instant::now() + patience);
            match ssh::wait(address, until) {
                Ok(()) => return Ok(()),
                Err(error) if until == deadline || self.machine.state() != MachineState::Running => {
                    return Err(error);
                }
                Err(_) => {}
            }
            self.still_wanted(limit)?;
            patience = (patience * 2).min(LONGEST_PATIENCE);
        }
    }

    fn still_wanted(&self, limit: &Limit) -> Result<()> {
        match limit.cancel.is_cancelled() {
            true => Err(Error::Cancelled { machine: self.place.name.clone(), request: "the set-up".into() }),
            false => Ok(()),
        }
    }
}

impl Replica for One {
    fn machine(&self) -> &Machine {
        &self.place
    }

    fn known_hosts(&self) -> &str {
        &self.known_hosts
    }

    fn link(&self) -> Option<Arc<dyn GuestLink>> {
        self.link.clone()
    }

    fn ended(&self) -> Option<String> {
        let state = self.machine.state();
        // It is asked of all machines before every step, and a console is long.
        if state == MachineState::Running {
            return None;
        }
        let console = self.machine.console_tail();
        let last = console.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let said = last.map(|line| format!("; its console's last line is {line:?}")).unwrap_or_default();
        Some(format!("it is {state}{said}"))
    }

    fn tear_down(&mut self) -> Result<()> {
        self.link = None;
        self.machine.destroy().map(drop)
    }
}
