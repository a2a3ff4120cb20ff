//! From options to machines that are ready to be worked with.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::Context;
use virtmark_fleet::map::Machine;
use virtmark_fleet::provider::{
    Door, Hosted, Login, NetworkChoice, Replicas, SetUpPlan, SetUpWatch, set_up as set_up_all,
};
use virtmark_host::signals::Interrupt;
use virtmark_hypervisor::{Cancel, Network};
use virtmark_image::Store;

use crate::args::{Driver, MachineArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::platform::{self, Platform, Prepared};
use crate::progress::Progress;
use crate::stop::Stop;

/// The file of the machines' host keys, in the directory that is named.
pub(crate) const KNOWN_HOSTS: &str = "known_hosts";
/// The account that the image bench lets in.
const USER: &str = "root";
/// Where these machines are reached.
const SSH_PORT: u16 = 22;

/// Which machines are wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) machine: &'a MachineArguments,
    pub(crate) count: usize,
    /// What their names begin with.
    pub(crate) prefix: &'a str,
    pub(crate) door: Door,
    pub(crate) network: NetworkChoice,
    pub(crate) outbound: bool,
    pub(crate) parallel: Option<NonZeroUsize>,
    /// When all of them must be ready.
    pub(crate) time: Duration,
}

/// Opens the platform; none when the user stops it meanwhile.
pub(crate) fn open(
    machine: &MachineArguments,
    prepared: Prepared,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Option<Platform>> {
    let stop = Stop::watch(interrupt.clone(), progress.clone())?;
    platform::open_watched(machine, prepared, progress, &stop)
}

/// Sets up all of them, or none.
pub(crate) fn set_up(
    wanted: &Wanted<'_>,
    platform: &Platform,
    progress: &Progress,
    cancel: &Cancel,
) -> anyhow::Result<(Replicas, Duration)> {
    let started = Instant::now();
    let mut spec = platform.machine(wanted.machine, wanted.time);
    if wanted.door == Door::Ssh {
        check_image(wanted.machine, platform)?;
        let network = wanted.network.network(platform.hypervisor.as_ref(), wanted.outbound)?;
        if wanted.outbound && matches!(network, Network::Shared { .. }) {
            let message =
                "machines on a bridge reach this host and each other; --outbound needs --network user";
            return Err(Failure::usage(message).into());
        }
        spec.networks = vec![network];
        spec.kernel_arguments.push(key_pair()?.kernel_argument());
    }
    let cpus = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let parallel = wanted.parallel.unwrap_or(cpus);
    let provider = Hosted::new(platform.hypervisor.clone(), spec, wanted.door);
    let plan = SetUpPlan::numbered(wanted.prefix, wanted.count, parallel, Some(wanted.time));
    let told = Told { progress, door: wanted.door };
    let replicas = set_up_all(&provider, &plan, &told, cancel)?;
    Ok((replicas, started.elapsed()))
}

/// How the machines are logged in to, with their host keys in this file.
pub(crate) fn login(known_hosts: &std::path::Path) -> anyhow::Result<Login> {
    Ok(Login { user: USER.into(), key: key_pair()?.private, known_hosts: known_hosts.into() })
}

/// Refuses what would be waited for in vain.
fn check_image(machine: &MachineArguments, platform: &Platform) -> Result<(), Failure> {
    if machine.hypervisor == Driver::Native {
        return Err(Failure::usage("the bare host is no machine to set up; leave out --hypervisor native"));
    }
    match platform.image.as_ref().is_some_and(|image| image.root.is_some()) {
        true => Ok(()),
        false => {
            let message = format!(
                "the image {} has no SSH server (port {SSH_PORT}); use --image bench, or one that was made like it",
                machine.image()
            );
            Err(Failure { exit: Exit::Usage, message })
        }
    }
}

fn key_pair() -> anyhow::Result<virtmark_image::KeyPair> {
    let store = Store::open(Store::default_dir()?)?;
    store.ensure_key_pair().context("cannot make the key by which machines are entered")
}

struct Told<'a> {
    progress: &'a Progress,
    door: Door,
}

impl SetUpWatch for Told<'_> {
    fn ready(&self, machine: &Machine, time: Duration) {
        let Machine { name, address, .. } = machine;
        let place = match self.door {
            Door::Agent => String::new(),
            Door::Ssh => format!(" at {address}"),
        };
        self.progress.note(&format!("{name} is ready{place} after {:.1} s", time.as_secs_f64()));
    }
}
