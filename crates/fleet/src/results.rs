//! The directory of a run: what came home from every machine, and the two classic files.
//!
//! ```text
//! ID/
//!   ID-result               blocks `### NAME`, and the standard output of each machine that succeeded
//!   ID-errors               the same, of those that failed or had something to say: standard error, and why
//!   run.json                everything that is known, as on standard output
//!   machines/NAME/stdout    as it came, byte for byte
//!   machines/NAME/stderr
//!   machines/NAME/result.json
//! ```

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::transport::{Output, Stream};
use crate::{Failure, FailureKind, MachineRun};

/// The directory of a run.
#[derive(Clone, Debug)]
pub struct ResultsDir {
    path: PathBuf,
    id: String,
}

impl ResultsDir {
    /// Makes it below `parent`, which is made too. A run that is there already is left alone, and an error.
    pub fn create(parent: &Path, id: &str) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let path = parent.join(id);
        fs::create_dir(&path)?;
        fs::create_dir(path.join("machines"))?;
        Ok(Self { path, id: id.into() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The classic file of results.
    pub fn result_file(&self) -> PathBuf {
        self.path.join(format!("{}-result", self.id))
    }

    /// The classic file of errors.
    pub fn errors_file(&self) -> PathBuf {
        self.path.join(format!("{}-errors", self.id))
    }

    /// What came home from a machine.
    pub fn machine(&self, name: &str) -> PathBuf {
        // Names of machines are fit for files: the map sees to it.
        self.path.join("machines").join(name)
    }

    /// Makes the two files that the output of a machine goes to.
    pub(crate) fn keep(&self, name: &str) -> Result<Keeper, Failure> {
        let directory = self.machine(name);
        let attempt = || {
            fs::create_dir_all(&directory)?;
            Ok((File::create(directory.join("stdout"))?, File::create(directory.join("stderr"))?))
        };
        let (stdout, stderr) = attempt().map_err(|error| cannot("make the files in", &directory, &error))?;
        Ok(Keeper { directory, stdout, stderr, stdout_bytes: 0, stderr_bytes: 0 })
    }

    /// Writes what is known of a machine, as soon as it is.
    pub(crate) fn write_machine(&self, run: &MachineRun) -> Result<(), Failure> {
        let directory = self.machine(&run.machine.name);
        fs::create_dir_all(&directory)
            .and_then(|()| write_json(&directory.join("result.json"), run))
            .map_err(|error| cannot("write the result in", &directory, &error))
    }

    /// Writes the two classic files and `run.json`, which is what `all` is.
    pub fn finish(&self, machines: &[MachineRun], all: &impl Serialize) -> io::Result<()> {
        self.write_blocks(&self.result_file(), machines, |run| {
            run.succeeded.then_some(Block { stream: "stdout", message: None })
        })?;
        self.write_blocks(&self.errors_file(), machines, |run| {
            let message = run.failure.as_ref().map(|failure| failure.message.as_str());
            (message.is_some() || run.stderr_bytes > 0).then_some(Block { stream: "stderr", message })
        })?;
        write_json(&self.path.join("run.json"), all)
    }

    fn write_blocks<'a>(
        &self,
        file: &Path,
        machines: &'a [MachineRun],
        block: impl Fn(&'a MachineRun) -> Option<Block<'a>>,
    ) -> io::Result<()> {
        let mut target = BufWriter::new(File::create(file)?);
        for run in machines {
            let Some(block) = block(run) else { continue };
            writeln!(target, "### {}", run.machine.name)?;
            let ended = match File::open(self.machine(&run.machine.name).join(block.stream)) {
                Ok(source) => copy(source, &mut target)?,
                // A machine that was never reached has none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ended::Empty,
                Err(error) => return Err(error),
            };
            if ended == Ended::InLine {
                target.write_all(b"\n")?;
            }
            match block.message {
                Some(message) => writeln!(target, "virtmark: {message}")?,
                None if ended == Ended::Empty => target.write_all(b"\n")?,
                None => {}
            }
        }
        target.into_inner()?.sync_all()
    }
}

struct Block<'a> {
    stream: &'static str,
    message: Option<&'a str>,
}

/// How a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    AfterLine,
    Empty,
    InLine,
}

fn copy(mut source: File, target: &mut impl Write) -> io::Result<Ended> {
    let bytes = io::copy(&mut source, target)?;
    if bytes == 0 {
        return Ok(Ended::Empty);
    }
    let mut last = [0];
    source.seek(SeekFrom::Start(bytes - 1))?;
    source.read_exact(&mut last)?;
    Ok(if last == *b"\n" { Ended::AfterLine } else { Ended::InLine })
}

/// Writes a file of JSON, for people too; it is on disk when this returns.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut target = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut target, value)?;
    writeln!(target)?;
    target.into_inner()?.sync_all()
}

fn cannot(attempted: &str, path: &Path, error: &io::Error) -> Failure {
    let message =
        format!("cannot {attempted} {}: {error}; choose another place with --output", path.display());
    Failure::new(FailureKind::of_local(error), message)
}

/// Writes the output of one machine to its files, as it comes.
#[derive(Debug)]
pub(crate) struct Keeper {
    directory: PathBuf,
    stdout: File,
    stderr: File,
    pub(crate) stdout_bytes: u64,
    pub(crate) stderr_bytes: u64,
}

impl Output for Keeper {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let (file, count) = match stream {
            Stream::Stderr => (&mut self.stderr, &mut self.stderr_bytes),
            Stream::Stdout => (&mut self.stdout, &mut self.stdout_bytes),
        };
        file.write_all(bytes)?;
        *count += bytes.len() as u64;
        Ok(())
    }
}

impl Keeper {
    /// Brings it to disk; gives standard output back, to be read.
    pub(crate) fn finish(&mut self) -> Result<File, Failure> {
        let attempt = || {
            self.stdout.sync_all()?;
            self.stderr.sync_all()?;
            File::open(self.directory.join("stdout"))
        };
        attempt().map_err(|error| cannot("keep the output in", &self.directory, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::HostMap;

    fn run(
        results: &ResultsDir,
        name: &str,
        stdout: &[u8],
        stderr: &[u8],
        failure: Option<&str>,
    ) -> MachineRun {
        let map = HostMap::from_bytes(format!("10.0.0.1 {name}\n").as_bytes(), "map").unwrap();
        let mut run = MachineRun::new(map.machines()[0].clone());
        let mut keeper = results.keep(name).unwrap();
        keeper.take(Stream::Stdout, stdout).unwrap();
        keeper.take(Stream::Stderr, stderr).unwrap();
        keeper.finish().unwrap();
        (run.stdout_bytes, run.stderr_bytes) = (keeper.stdout_bytes, keeper.stderr_bytes);
        run.succeeded = failure.is_none();
        run.failure = failure.map(|message| Failure::new(FailureKind::PayloadFailed, message));
        run
    }

    #[test]
    fn the_classic_files_have_a_block_for_each_machine() {
        let directory = tempfile::tempdir().unwrap();
        let results = ResultsDir::create(directory.path(), "vmrun-1").unwrap();
        let runs = [
            run(&results, "good", b"a\nb\xff", b"", None),
            run(&results, "quiet", b"", b"a word\n", None),
            run(&results, "bad", b"lost", b"", Some("it ended with 3")),
        ];
        results.finish(&runs, &serde_json::json!({"x": 1})).unwrap();
        let read = |name: &str| fs::read(results.path().join(name)).unwrap();
        assert_eq!(read("vmrun-1-result"), b"### good\na\nb\xff\n### quiet\n\n");
        assert_eq!(read("vmrun-1-errors"), b"### quiet\na word\n### bad\nvirtmark: it ended with 3\n");
        assert_eq!(read("run.json"), b"{\n  \"x\": 1\n}\n");
        assert_eq!(read("machines/bad/stdout"), b"lost");
        let again = ResultsDir::create(directory.path(), "vmrun-1").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
