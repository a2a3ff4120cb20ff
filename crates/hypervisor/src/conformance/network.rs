//! Checks of machines' networks.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Check, Failure, Finding, Subject, Test, ensure, spec};
use crate::{Capability, Command, GuestLink, Machine, MachineSpec, Network, Reach, Result};

/// The guest's port that is asked.
const PORT: u16 = 7000;
/// How long a guest may take to listen there.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "without_networks_there_is_none",
        needs: &[Capability::KernelBoot],
        test: Test::Running(without_networks),
    },
    Check {
        name: "a_forwarded_port_answers",
        needs: &[Capability::Network],
        test: Test::Alone(a_forwarded_port_answers),
    },
    Check {
        name: "a_restored_machine_has_its_network",
        needs: &[Capability::Network, Capability::Restore, Capability::Snapshot],
        test: Test::Alone(a_restored_machine_has_its_network),
    },
    Check {
        name: "a_shared_network_connects_guests_and_host",
        needs: &[Capability::SharedNetwork],
        test: Test::Alone(a_shared_network_connects),
    },
];

fn without_networks(machine: &mut dyn Machine) -> Finding {
    ensure!(machine.interfaces().is_empty(), "it has {:?}", machine.interfaces());
    let output = machine.guest()?.exec(&Command::shell("ls /sys/class/net"))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(names.split_whitespace().all(|name| name == "lo"), "its guest has the interfaces {names:?}");
    Ok(())
}

fn a_forwarded_port_answers(subject: &Subject<'_>) -> Finding {
    let user = |restricted| Network::User { forwards: vec![PORT], restricted };
    let first = on(subject, "forwarded", user(true))?;
    let second = on(subject, "forwarded-too", user(false))?;
    for (machine, word) in [(&first, "first"), (&second, "second")] {
        let interfaces = machine.interfaces();
        ensure!(interfaces.len() == 1, "of one interface it has {interfaces:?}");
        let is_forwarded = matches!(&interfaces[0].reach, Reach::Forwarded(ports) if ports.len() == 1);
        ensure!(is_forwarded, "its interface is {:?}", interfaces[0]);
        let Some(address) = machine.reach(PORT) else {
            return Err(Failure(format!("port {PORT} is not reached: {interfaces:?}")));
        };
        ensure!(address.ip().is_loopback(), "its port is at {address}, for all to reach");
        let heard = says(&*machine.guest()?, address, word)?;
        ensure!(heard == word, "port {PORT} of the guest at {address} said {heard:?} instead of {word:?}");
    }
    ensure!(first.reach(PORT + 1).is_none(), "a port is reached that nobody asked for");
    Ok(())
}

fn a_restored_machine_has_its_network(subject: &Subject<'_>) -> Finding {
    let network = || Network::User { forwards: vec![PORT], restricted: true };
    let mut machine = on(subject, "networked", network())?;
    let (snapshot, _) = machine.snapshot(&subject.scratch.join("networked"))?;
    let copy = MachineSpec { networks: vec![network()], ..spec(subject, "networked-copy") };
    let restored = subject.hypervisor.restore(&snapshot, &copy);
    let checked = restored.map_err(Into::into).and_then(|(restored, _)| {
        let addresses = (machine.reach(PORT), restored.reach(PORT));
        let (Some(first), Some(second)) = addresses else {
            return Err(Failure(format!("they are reached at {addresses:?}")));
        };
        ensure!(first != second, "both are reached at {first}");
        for (machine, address, word) in [(&machine, first, "kept"), (&restored, second, "restored")] {
            let heard = says(&*machine.guest()?, address, word)?;
            ensure!(heard == word, "the {word} machine said {heard:?}");
        }
        Ok(())
    });
    subject.hypervisor.discard(snapshot)?;
    checked
}

fn a_shared_network_connects(subject: &Subject<'_>) -> Finding {
    let shared = || Network::Shared { segment: "conformance".into() };
    let (first, second) = (on(subject, "segment-one", shared())?, on(subject, "segment-two", shared())?);
    let interfaces = [first.interfaces(), second.interfaces()].concat();
    let [one, two] = &interfaces[..] else {
        return Err(Failure(format!("of one interface each they have {interfaces:?}")));
    };
    ensure!(one.mac != two.mac && one.address != two.address, "both have {one:?}");
    let Some(address) = second.reach(PORT) else {
        return Err(Failure(format!("port {PORT} is not reached: {two:?}")));
    };
    let heard = says(&*second.guest()?, address, "to the host")?;
    ensure!(heard == "to the host", "the host heard {heard:?}");
    let guest = second.guest()?;
    let mut speaker = guest.spawn(&speaking("to the guest"))?;
    let listen = format!(
        "i=0; until nc {} {PORT} 2>/dev/null || [ $i -gt 100 ]; do i=$((i+1)); sleep 0.1; done",
        two.address
    );
    let output = first.guest()?.exec(&Command::shell(listen))?;
    speaker.kill()?;
    let heard = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(heard == "to the guest", "the other guest heard {heard:?}");
    Ok(())
}

/// A machine that runs, with this network.
fn on(subject: &Subject<'_>, name: &str, network: Network) -> Result<Box<dyn Machine>> {
    let spec = MachineSpec { networks: vec![network], ..spec(subject, name) };
    let (mut machine, _) = subject.hypervisor.create(&spec)?;
    machine.start()?;
    Ok(machine)
}

/// Says `word` to whoever connects first.
fn speaking(word: &str) -> Command {
    Command::shell(format!("printf '{word}' | nc -l -p {PORT}"))
}

/// What is heard at `address` when the guest says `word` there.
fn says(guest: &dyn GuestLink, address: SocketAddr, word: &str) -> Result<String> {
    let mut speaker = guest.spawn(&speaking(word))?;
    let deadline = Instant::now() + PATIENCE;
    let heard = loop {
        match hear(address) {
            // Nobody listens in the guest yet: the connection ends as soon as it is made, or is refused.
            Ok(text) if text.is_empty() && Instant::now() < deadline => {}
            Err(_) if Instant::now() < deadline => {}
            Ok(text) => break text,
            Err(error) => break format!("nothing: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    };
    speaker.kill()?;
    Ok(heard)
}

fn hear(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The guest's program ends when both sides have said all they have to say.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
