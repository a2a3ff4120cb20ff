//! What of a bench is done: a file in the directory of its results.
//!
//! ```text
//! DIRECTORY/kvbench.json     the steps that succeeded, with the runs that have their results
//!           lock             held by the process that works on it
//!           RUN/             what came home of each run, as vmrun keeps it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{BenchFile, Machines, Payload, Via};
use crate::results::write_json;
use crate::source::hex;

const FILE: &str = "kvbench.json";
const LOCK: &str = "lock";
const VERSION: u32 = 1;

/// One run of one payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which payload, of those of the file.
    pub payload: usize,
    /// Which run of it, from 1.
    pub repetition: u32,
    /// Everything that the result depends on, as a hash. A step of the same key is done once.
    pub key: String,
}

impl Step {
    /// All steps of a bench whose payloads have these SHA-256 sums: every payload once in the order of the file, then
    /// those that are wanted more often again, so that time is no difference between them.
    pub fn all(file: &BenchFile, via: Via, sums: &[String]) -> Vec<Self> {
        let most = file.payloads.iter().map(|payload| file.repetitions(payload)).max().unwrap_or(0);
        let round = |repetition: u32| {
            let wanted = file.payloads.iter().zip(sums).enumerate();
            wanted.filter(move |(_, (payload, _))| repetition <= file.repetitions(payload)).map(
                move |(at, (payload, sum))| Self {
                    payload: at,
                    repetition,
                    key: key(&file.machines, via, payload, sum, repetition),
                },
            )
        };
        let mut steps: Vec<Self> = (1..=most).flat_map(round).collect();
        // The same payload may be there twice, before and after another: each time is a step of its own.
        let mut before = BTreeMap::<String, u32>::new();
        for step in &mut steps {
            let count = before.entry(step.key.clone()).or_default();
            if *count > 0 {
                step.key = hex(&Sha256::digest(format!("{} {count}", step.key)));
            }
            *count += 1;
        }
        steps
    }
}

/// Time limits, and how many machines are set up at once, are left out: they decide whether there is a result, not which.
fn key(machines: &Machines, via: Via, payload: &Payload, sum: &str, repetition: u32) -> String {
    let Machines { count, image, hypervisor, accel, vcpus, memory_mib, network, outbound, .. } = machines;
    let everything = json!({
        "machines": {
            "count": count, "image": image, "hypervisor": hypervisor, "accel": accel, "vcpus": vcpus,
            "memory_mib": memory_mib, "network": network, "outbound": outbound,
            "kernel_arguments": machines.kernel_arguments,
        },
        "via": via,
        "payload": {
            "sha256": sum, "root": payload.root(), "parameters": payload.parameters(),
            // Machines that work one after the other leave each other the host.
            "parallel": payload.parallel,
        },
        "repetition": repetition,
    });
    hex(&Sha256::digest(Value::to_string(&everything)))
}

/// A step that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Its key.
    pub key: String,
    /// The payload's name, for people.
    pub payload: String,
    /// Which run of it.
    pub repetition: u32,
    /// The run that has its results, here and in the archive.
    pub run: String,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// What of a bench is done; nobody else works on it while this lives.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    done: Vec<Done>,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    done: Vec<Done>,
}

/// A directory of results that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process works on it.
    #[error("another process works on {}; wait for its end, or name another `results`", directory.display())]
    Busy {
        /// The directory.
        directory: PathBuf,
    },
    /// The file makes no sense.
    #[error("cannot understand {}: {problem}; move it away, and everything is done again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It cannot be read or written.
    #[error("cannot keep what is done in {}; name another directory with `results`", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl State {
    /// Opens a directory of results, which is made where there is none.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let told = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        fs::create_dir_all(directory).map_err(told(directory))?;
        let lock_path = directory.join(LOCK);
        let lock = File::create(&lock_path).map_err(told(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(StateError::Busy { directory: directory.into() }),
            result => result.map_err(|error| told(&lock_path)(error.into()))?,
        }
        let path = directory.join(FILE);
        let done = match fs::read(&path) {
            Ok(bytes) => read(&bytes).map_err(|problem| StateError::Damaged { path, problem })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(told(&path)(error)),
        };
        Ok(Self { directory: directory.into(), done, _lock: lock })
    }

    /// The step of this key, if it is done and what came home of it is still there.
    pub fn done(&self, key: &str) -> Option<&Done> {
        let done = self.done.iter().find(|done| done.key == key)?;
        self.directory.join(&done.run).is_dir().then_some(done)
    }

    /// Keeps that a step is done. It is on disk when this returns; the one before it with the same key is forgotten.
    pub fn keep(&mut self, done: Done) -> Result<(), StateError> {
        self.done.retain(|other| other.key != done.key);
        self.done.push(done);
        let path = self.directory.join(FILE);
        let beside = self.directory.join(format!("{FILE}.new"));
        let write = || -> io::Result<()> {
            write_json(&beside, &Written { version: VERSION, done: self.done.clone() })?;
            fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| StateError::Io { path: path.clone(), source })
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Done>, String> {
    let version = serde_json::from_slice::<Value>(bytes).map_err(|error| error.to_string())?;
    match version["version"].as_u64() {
        Some(version) if version > u64::from(VERSION) => {
            Err(format!("it is of version {version}, and this virtmark knows {VERSION}"))
        }
        _ => serde_json::from_slice::<Written>(bytes).map(|written| written.done).map_err(|e| e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_TEXT: &str =
        "repetitions = 2\n[[payload]]\nfile = \"a\"\n[[payload]]\nfile = \"b\"\nrepetitions = 3\n";

    fn file(text: &str) -> BenchFile {
        BenchFile::parse(text.as_bytes(), Path::new("bench.toml")).unwrap()
    }

    fn steps(text: &str) -> Vec<Step> {
        Step::all(&file(text), Via::Ssh, &["aa".into(), "bb".into()])
    }

    fn done(key: &str, run: &str) -> Done {
        let (payload, ended_at) = ("p".into(), Timestamp::UNIX_EPOCH);
        Done { key: key.into(), payload, repetition: 1, run: run.into(), ended_at }
    }

    #[test]
    fn payloads_take_turns() {
        let order: Vec<(usize, u32)> =
            steps(FILE_TEXT).iter().map(|step| (step.payload, step.repetition)).collect();
        assert_eq!(order, [(0, 1), (1, 1), (0, 2), (1, 2), (1, 3)]);
    }

    #[test]
    fn a_key_changes_with_what_the_result_depends_on() {
        let base = steps(FILE_TEXT);
        let mut keys: Vec<&String> = base.iter().map(|step| &step.key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
        let first = |text: &str| steps(text)[0].key.clone();
        for (from, to, is_other) in [
            ("repetitions = 2\n", "repetitions = 7\n", false),
            (
                "[[payload]]\nfile = \"a\"\n",
                "[machines]\ntimeout_s = 7\n[[payload]]\nfile = \"a\"\ntimeout_s = 9\n",
                false,
            ),
            ("[[payload]]\nfile = \"a\"\n", "[[payload]]\nfile = \"z\"\n", false),
            ("[[payload]]\nfile = \"a\"\n", "[[payload]]\nfile = \"a\"\nroot = \"/x\"\n", true),
            ("[[payload]]\nfile = \"a\"\n", "[machines]\ncount = 2\n[[payload]]\nfile = \"a\"\n", true),
            (
                "[[payload]]\nfile = \"a\"\n",
                "[machines]\nmemory_mib = 512\n[[payload]]\nfile = \"a\"\n",
                true,
            ),
        ] {
            let text = FILE_TEXT.replacen(from, to, 1);
            assert_ne!(text, FILE_TEXT);
            assert_eq!(first(&text) != base[0].key, is_other, "{text}");
        }
        let other_payload = Step::all(&file(FILE_TEXT), Via::Ssh, &["cc".into(), "bb".into()]);
        let other_way = Step::all(&file(FILE_TEXT), Via::Agent, &["aa".into(), "bb".into()]);
        assert!(other_payload[0].key != base[0].key && other_way[0].key != base[0].key);
        assert_eq!(other_payload[1].key, base[1].key);
    }

    #[test]
    fn what_is_done_is_there_the_next_time() {
        let here = tempfile::tempdir().unwrap();
        let directory = here.path().join("results");
        let mut state = State::open(&directory).unwrap();
        assert!(matches!(State::open(&directory), Err(StateError::Busy { .. })));
        for run in ["run-1", "run-2"] {
            fs::create_dir(directory.join(run)).unwrap();
        }
        state.keep(done("k1", "run-1")).unwrap();
        state.keep(done("k2", "run-2")).unwrap();
        state.keep(done("k1", "run-2")).unwrap();
        drop(state);
        let state = State::open(&directory).unwrap();
        assert_eq!(state.done("k1"), Some(&done("k1", "run-2")));
        assert_eq!(state.done("k3"), None);
        // Results that somebody removed have to be made again.
        fs::remove_dir(directory.join("run-2")).unwrap();
        assert_eq!(state.done("k1"), None);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused_and_stays() {
        let here = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("", "EOF"),
            ("{\"version\": 2, \"more\": []}", "version 2"),
            ("{\"version\": 1}", "missing field"),
        ] {
            fs::write(here.path().join(FILE), text).unwrap();
            let error = State::open(here.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("move it away"), "{error}");
            assert_eq!(fs::read_to_string(here.path().join(FILE)).unwrap(), text);
        }
    }
}
