//! `virtmark kvrun`

mod command;
mod detach;
mod down;
mod family;
mod list;
mod place;

use std::time::Duration;

use anyhow::Context;
use virtmark_fleet::provider::{Door, Replicas};
use virtmark_host::signals::{self, Interrupt};
use virtmark_hypervisor::Cancel;

use crate::args::{Driver, KvrunArguments, KvrunCommand, KvrunUpArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::platform;
use crate::progress::Progress;
use crate::replicas::{self, Wanted};
use crate::stop::cancel_on;
use place::Place;

/// What boots unless told otherwise: something that can be entered.
const IMAGE: &str = "bench";
/// Between two looks whether all machines still run.
const LOOK: Duration = Duration::from_secs(2);

pub(crate) fn run(options: KvrunArguments, quiet: bool) -> anyhow::Result<Exit> {
    match options.command {
        Some(KvrunCommand::Down { id, all: _ }) => down::run(id.as_deref(), quiet),
        Some(KvrunCommand::List { json }) => list::run(json),
        None => up(options.up, quiet),
    }
}

fn up(mut options: KvrunUpArguments, quiet: bool) -> anyhow::Result<Exit> {
    options.machine.image.get_or_insert_with(|| IMAGE.into());
    if options.machine.hypervisor == Driver::Native {
        let message = "the bare host is no machine to set up; leave out --hypervisor native";
        return Err(Failure::usage(message).into());
    }
    let progress = Progress::new("kvrun", quiet);
    // Cheapest first; an image is built before anything of the host is taken.
    let prepared = platform::prepare(&options.machine, None, &progress)?;
    if options.detach && !options.hold {
        drop(prepared);
        return detach::start(&options);
    }
    let interrupt = signals::install().context("cannot listen for signals")?;
    let holder = options.hold.then(|| detach::Holder::begin(&interrupt)).transpose()?;
    let Some(platform) = replicas::open(&options.machine, prepared, &interrupt, &progress)? else {
        return Ok(stopped(&interrupt));
    };
    let cancel = cancel_on(&interrupt, "stopping; what was set up is destroyed", &progress)?;
    let mut place = Place::make(&platform, &options)?;
    let set_up = stand(&options, &platform, &mut place, &progress, &cancel);
    let (machines, took) = match set_up {
        Err(_) if interrupt.requested() => return Ok(stopped(&interrupt)),
        result => result?,
    };
    progress.note(&format!(
        "{} ready after {:.1} s; `ssh -F {} {}-0` enters the first",
        place::counted(options.replicas.get()),
        took.as_secs_f64(),
        place.ssh_config().display(),
        options.name
    ));
    let exit = match (&options.exec, holder) {
        (Some(line), _) => command::run(line, &place, &machines, &interrupt, &progress)?,
        (None, Some(holder)) => {
            holder.ready(&place)?;
            stay(&machines, &interrupt, &progress)
        }
        (None, None) => {
            if options.map.is_none() {
                output::stdout(|output| {
                    output.write_all(place.map_text(&machines, options.json)?.as_bytes())
                })?;
                // Whoever reads it to the end does not have to wait for the end of the machines.
                let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null");
                let nowhere = nowhere.context("cannot open /dev/null")?;
                rustix::stdio::dup2_stdout(&nowhere).context("cannot close standard output")?;
            }
            progress.note("Ctrl-C destroys them");
            stay(&machines, &interrupt, &progress)
        }
    };
    for (name, error) in machines.tear_down() {
        progress.note(&format!("{name} could not be destroyed, the next start does it: {error}"));
    }
    Ok(exit)
}

/// Sets the machines up and writes down how to use them; afterwards everything is there, or nothing.
fn stand(
    options: &KvrunUpArguments,
    platform: &platform::Platform,
    place: &mut Place,
    progress: &Progress,
    cancel: &Cancel,
) -> anyhow::Result<(Replicas, Duration)> {
    let wanted = Wanted {
        machine: &options.machine,
        count: options.replicas.get().into(),
        prefix: &options.name,
        door: Door::Ssh,
        network: options.network.choice(),
        outbound: options.outbound,
        parallel: options.parallel,
        time: options.timeout,
    };
    let (machines, took) = replicas::set_up(&wanted, platform, progress, cancel)?;
    place.write(&machines, took)?;
    place.write_for(&machines, options)?;
    Ok((machines, took))
}

/// Waits for the user; machines that end by themselves meanwhile are told, and the others stay.
fn stay(machines: &Replicas, interrupt: &Interrupt, progress: &Progress) -> Exit {
    let mut watch = Deaths::default();
    while !interrupt.wait_timeout(LOOK) {
        watch.look(machines, progress);
    }
    if watch.any() { Exit::SomeFailed } else { Exit::Ok }
}

/// Machines that are known to have ended by themselves.
#[derive(Default)]
struct Deaths {
    told: Vec<String>,
}

impl Deaths {
    fn look(&mut self, machines: &Replicas, progress: &Progress) {
        for (name, reason) in machines.ended() {
            if !self.told.contains(&name) {
                progress.note(&format!("{name} has ended by itself: {reason}; the others stay"));
                self.told.push(name);
            }
        }
    }

    fn any(&self) -> bool {
        !self.told.is_empty()
    }
}

fn stopped(interrupt: &Interrupt) -> Exit {
    // Asked for only when there was one.
    Exit::Signaled(interrupt.signal().unwrap_or(2))
}
