//! What is known of machines that are set up, in files of their run's directory: gone with them, whatever happens.
//!
//! ```text
//! <run directory>/kvrun/state.json    what `kvrun list` shows
//!                       map           the machines, as hosts(5) has them; map.json the same as JSON
//!                       known_hosts   their host keys
//!                       auth.json     how to log in, for `vmrun -A`
//!                       ssh_config    the same, for `ssh -F`
//!                       log           what a process in the background has to say
//! ```

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use virtmark_fleet::provider::Replicas;
use virtmark_host::rundir::{Roots, is_live};

use crate::args::KvrunUpArguments;
use crate::measure::describe;
use crate::output;
use crate::platform::Platform;
use crate::replicas::{KNOWN_HOSTS, login};

/// The directory in that of the run; no machine has this name, as theirs end with a number.
const DIRECTORY: &str = "kvrun";
const STATE: &str = "state.json";

/// The files of machines that this process sets up.
pub(super) struct Place {
    path: PathBuf,
    shown: Shown,
}

/// What there is to know of machines that are set up, or about to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shown {
    /// Names them among all on this host.
    pub(super) id: String,
    pub(super) state: State,
    /// The process that keeps them.
    pub(super) pid: i32,
    pub(super) detached: bool,
    pub(super) replicas: u16,
    pub(super) image: String,
    /// What they run on.
    pub(super) platform: String,
    pub(super) started_at: Timestamp,
    /// How long it took until all were ready.
    pub(super) ready_ns: Option<u64>,
    /// Each machine, once all are ready.
    pub(super) machines: Vec<ShownMachine>,
    pub(super) map: PathBuf,
    pub(super) map_json: PathBuf,
    pub(super) auth: PathBuf,
    pub(super) known_hosts: PathBuf,
    pub(super) ssh_config: PathBuf,
    pub(super) log: PathBuf,
}

/// One of the machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ShownMachine {
    pub(super) name: String,
    pub(super) address: String,
    /// How long it took until it was ready, from the start of the set-up.
    pub(super) ready_ns: u64,
}

/// How far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ready,
    SettingUp,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::SettingUp => "setting up",
        }
    }
}

impl Place {
    /// Makes the directory, so that the machines are listed from now on.
    pub(super) fn make(platform: &Platform, options: &KvrunUpArguments) -> anyhow::Result<Self> {
        let path = platform.run_dir.machine_dir(DIRECTORY)?;
        let shown = Shown {
            id: platform.run_dir.id().into(),
            state: State::SettingUp,
            pid: rustix::process::getpid().as_raw_pid(),
            detached: options.detach,
            replicas: options.replicas.get(),
            image: options.machine.image().into(),
            platform: describe(platform.hypervisor.facts()),
            started_at: Timestamp::now(),
            ready_ns: None,
            machines: Vec::new(),
            map: path.join("map"),
            map_json: path.join("map.json"),
            auth: path.join("auth.json"),
            known_hosts: path.join(KNOWN_HOSTS),
            ssh_config: path.join("ssh_config"),
            log: path.join("log"),
        };
        let place = Self { path, shown };
        place.keep()?;
        Ok(place)
    }

    /// Writes down where the machines are and how they are entered.
    pub(super) fn write(&mut self, machines: &Replicas, took: Duration) -> anyhow::Result<()> {
        let addresses = machines.map().machines().iter().map(|machine| machine.address.to_string());
        let times = machines.ready_times().zip(addresses);
        self.shown.machines = times
            .map(|((name, time), address)| ShownMachine {
                name: name.into(),
                address,
                ready_ns: nanoseconds(time),
            })
            .collect();
        self.shown.ready_ns = Some(nanoseconds(took));
        self.shown.state = State::Ready;
        let login = login(&self.shown.known_hosts)?;
        put(&self.shown.known_hosts, &machines.known_hosts())?;
        put(&self.shown.auth, &login.auth_file())?;
        put(&self.shown.ssh_config, &login.ssh_config(machines.map()))?;
        put(&self.shown.map_json, &self.map_text(machines, true)?)?;
        put(&self.shown.map, &self.map_text(machines, false)?)?;
        self.keep()
    }

    /// Writes the files that the user asked for.
    pub(super) fn write_for(&self, machines: &Replicas, options: &KvrunUpArguments) -> anyhow::Result<()> {
        let login = login(&self.shown.known_hosts)?;
        if let Some(file) = &options.auth {
            put(file, &login.auth_file())?;
        }
        if let Some(file) = &options.ssh_config {
            put(file, &login.ssh_config(machines.map()))?;
        }
        // Last: who waits for it finds the others too.
        if let Some(file) = &options.map {
            put(file, &self.map_text(machines, options.json)?)?;
        }
        Ok(())
    }

    /// The map in one of the two forms that vmrun reads.
    pub(super) fn map_text(&self, machines: &Replicas, json: bool) -> io::Result<String> {
        match json {
            true => Ok(serde_json::to_string_pretty(machines.map())? + "\n"),
            false => Ok(format!("# {}\n{}", self.shown.id, machines.map())),
        }
    }

    pub(super) fn shown(&self) -> &Shown {
        &self.shown
    }

    pub(super) fn ssh_config(&self) -> &Path {
        &self.shown.ssh_config
    }

    fn keep(&self) -> anyhow::Result<()> {
        put(&self.path.join(STATE), &serde_json::to_string_pretty(&self.shown)?)
    }
}

/// What is known of all machines of this user that are kept by a live process, the oldest first.
pub(super) fn alive() -> anyhow::Result<Vec<Shown>> {
    let runs = Roots::from_environment()?.live_runs().context("cannot look for runs that are under way")?;
    // Of other commands there is none, and a directory may go while it is looked at.
    let shown = |run: PathBuf| {
        let text = fs::read_to_string(run.join(DIRECTORY).join(STATE)).ok()?;
        serde_json::from_str(&text).ok()
    };
    let mut found: Vec<Shown> = runs.into_iter().filter_map(shown).collect();
    found.sort_by_key(|shown| shown.started_at);
    Ok(found)
}

/// Whether the process that keeps these machines lives.
pub(super) fn is_kept(shown: &Shown) -> bool {
    let run_directory = shown.map.parent().and_then(Path::parent);
    run_directory.is_some_and(is_live)
}

/// Writes a file, which appears whole or not at all.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = match fs::symlink_metadata(path) {
        // A pipe or a terminal cannot be replaced, and a link such as /dev/stdout must not be.
        Ok(metadata) if !metadata.is_file() => fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes())),
        _ => {
            let mut beside = OsString::from(path);
            beside.push(format!(".{}", std::process::id()));
            let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
            if written.is_err() {
                // Nothing is left of an attempt.
                let _ = fs::remove_file(&beside);
            }
            written
        }
    };
    written.map_err(|error| output::on(error, path))
}

/// So many machines, in words.
pub(super) fn counted(count: u16) -> String {
    match count {
        1 => "1 machine".into(),
        count => format!("{count} machines"),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("map");
        put(&file, "one\n").unwrap();
        put(&file, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1);
        let error = put(&here.path().join("no/map"), "x").unwrap_err();
        assert!(format!("{error:#}").contains("no/map"));
        put(Path::new("/dev/null"), "x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
