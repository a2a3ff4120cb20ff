//! Two ends of a network, on either side.
//!
//! In guests: two machines on a segment that they share, or, where the platform has none, on networks of their own between
//! which the host hands TCP on. On the host: two network namespaces with a pair of virtual interfaces between them, or the
//! loopback interface where namespaces are not permitted.

use std::net::Ipv4Addr;
use std::time::Duration;

use virtmark_hypervisor::{
    Capability, Command, ExecHandle, ExecOutput, ExecStatus, Hypervisor, Machine, Network,
};

use super::failure::{ToolFailure, printed};
use super::line::Peer;
use super::side::Bench;
use super::{GuestPlan, Tool};
use crate::port::free_port;

/// Where iperf3 listens unless told otherwise.
const PORT: u16 = 5201;
/// What the server of a guest says goes to this file, below its agent's directory.
const LOG: &str = "virtmark-iperf3.log";
/// How long a server may take until it listens.
const LISTEN_LIMIT: Duration = Duration::from_secs(60);
/// The ends on the host; in namespaces of their own, so nobody else's addresses matter.
const HOST_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const HOST_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// How machines are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wiring {
    Shared,
    User,
}

/// How a platform's machines can be connected; why they cannot.
pub(super) fn wiring(hypervisor: &dyn Hypervisor) -> Result<(Wiring, Option<String>), String> {
    let absent = |capability| hypervisor.capabilities().reason_absent(capability);
    match (absent(Capability::SharedNetwork), absent(Capability::Network)) {
        (None, _) => Ok((Wiring::Shared, None)),
        (Some(reason), None) => Ok((
            Wiring::User,
            Some(format!("machines have no network that they share ({reason}); the host hands on TCP alone")),
        )),
        (Some(reason), Some(_)) => Err(format!("machines cannot be connected: {reason}")),
    }
}

impl Wiring {
    /// The interface of each of the two machines.
    pub(super) fn network(self, plan: &GuestPlan) -> Network {
        match self {
            Self::Shared => Network::Shared { segment: "guest-suite".into() },
            Self::User => Network::User { forwards: vec![plan.port.unwrap_or(PORT)], restricted: false },
        }
    }

    /// The label of samples.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::User => "user",
        }
    }

    /// Where the client in one machine finds the server in the other.
    pub(super) fn peer(self, client: &dyn Machine, server: &dyn Machine, plan: &GuestPlan) -> Option<Peer> {
        let port = plan.port.unwrap_or(PORT);
        match self {
            Self::Shared => Some(Peer { address: server.interfaces().first()?.address, port }),
            Self::User => {
                let forwarded = server.reach(port)?;
                // The host's loopback interface, as the guest sees it.
                Some(Peer { address: client.interfaces().first()?.gateway?, port: forwarded.port() })
            }
        }
    }
}

/// What has to live for as long as network tests are run. Its processes end with their machine.
pub(super) struct Held {
    _handles: Vec<Box<dyn ExecHandle>>,
}

/// Starts the server in the second machine.
pub(super) fn serve_in_guest(server: &Bench<'_>, plan: &GuestPlan) -> Result<Held, ToolFailure> {
    let handle = serve(server, plan.port.unwrap_or(PORT), &[])?;
    Ok(Held { _handles: vec![handle] })
}

/// The end of the host's network where servers run.
pub(super) struct HostEnd {
    /// The processes that the namespaces live by; none on the loopback interface.
    held: Option<Box<dyn ExecHandle>>,
    /// Words before a server's command.
    prefix: Vec<String>,
    port: u16,
}

/// Makes both ends on the host.
pub(super) fn join_on_host(bench: &mut Bench<'_>, plan: &GuestPlan) -> HostEnd {
    let enter =
        |pid: u32| -> Vec<String> { vec!["nsenter".into(), "-t".into(), pid.to_string(), "-n".into()] };
    let (address, end) = match namespaces(bench) {
        Some((handle, client, server)) => {
            bench.network = "namespaces";
            bench.network_prefix = enter(client);
            let port = plan.port.unwrap_or(PORT);
            (HOST_SERVER, HostEnd { held: Some(handle), prefix: enter(server), port })
        }
        None => {
            bench.network = "loopback";
            let port = plan.port.or_else(|| free_port().ok()).unwrap_or(PORT);
            (Ipv4Addr::LOCALHOST, HostEnd { held: None, prefix: Vec::new(), port })
        }
    };
    bench.peer = Ok(Peer { address, port: end.port });
    end
}

impl HostEnd {
    /// Starts the server. `cpus` is where it runs, as `taskset -c` takes it.
    pub(super) fn serve(&self, bench: &Bench<'_>, cpus: Option<&str>) -> Result<Held, ToolFailure> {
        let pin = cpus.map(|cpus| ["taskset", "-c", cpus].map(str::to_owned)).into_iter().flatten();
        let prefix: Vec<String> = pin.chain(self.prefix.iter().cloned()).collect();
        Ok(Held { _handles: vec![serve(bench, self.port, &prefix)?] })
    }

    /// What has to live for the network to be there.
    pub(super) fn hold(self) -> Held {
        Held { _handles: self.held.into_iter().collect() }
    }
}

/// Starts iperf3's server and waits until it listens, or says why not.
fn serve(bench: &Bench<'_>, port: u16, prefix: &[String]) -> Result<Box<dyn ExecHandle>, ToolFailure> {
    let prefix = prefix.join(" ");
    let line = format!("exec {prefix} iperf3 -s -p {port} --forceflush >{LOG} 2>&1");
    let handle = bench.spawn(&Command::shell(line))?;
    let wait = format!(
        "until grep -q -e listening -e error -e exiting -e 'not found' {LOG}; do sleep 0.05; done; cat {LOG}"
    );
    let output = bench.ask(&wait, LISTEN_LIMIT)?;
    let said = printed(&output);
    if output.success() && said.contains("listening") {
        return Ok(handle);
    }
    if said.contains("Address already in use") {
        return Err(ToolFailure::port_taken(bench.side, port));
    }
    // It was a shell that said it.
    Err(bench.failure_of(Tool::Iperf3, &ExecOutput { status: ExecStatus::Exited(1), ..output }, None))
}

/// Two network namespaces with a wire between them, and a process in each; none where that is not permitted. All of it
/// goes with these processes: nothing has a name outside of them.
fn namespaces(bench: &Bench<'_>) -> Option<(Box<dyn ExecHandle>, u32, u32)> {
    const MAKE: &str = "\
exec 2>/dev/null
command -v ip && command -v nsenter && command -v unshare || exit
exec unshare -n sh -c '
ip link set lo up || exit
unshare -n sleep infinity &
server=$!
own=$(readlink /proc/self/ns/net)
until [ \"$(readlink /proc/$server/ns/net)\" != \"$own\" ]; do sleep 0.01; done
ip link add vmc type veth peer name vms netns $server || { kill $server; exit; }
ip addr add CLIENT/24 dev vmc && ip link set vmc up &&
nsenter -t $server -n sh -c \"ip addr add SERVER/24 dev vms && ip link set vms up && ip link set lo up\" &&
echo pids $$ $server && wait
kill $server'";
    let script = MAKE.replace("CLIENT", &HOST_CLIENT.to_string()).replace("SERVER", &HOST_SERVER.to_string());
    let mut handle = bench.spawn(&Command::shell(script)).ok()?;
    let mut said = Vec::new();
    while let Ok(Some(chunk)) = handle.next_output() {
        said.extend(chunk.data);
        let text = String::from_utf8_lossy(&said);
        let line = text.lines().find(|line| line.starts_with("pids ")).filter(|_| text.ends_with('\n'));
        if let Some(line) = line {
            let mut pids = line.split(' ').skip(1).map(|pid| pid.parse().ok());
            return Some((handle, pids.next()??, pids.next()??));
        }
    }
    None
}
