//! The file of a bench; `docs/kvbench.md` describes it.

mod check;

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;
use virtmark_payload::{DEFAULT_ROOT, LONGEST_S, time_of};

use crate::Need;

/// A bench, as its file has it. Paths are as they are written: relative ones are beside the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchFile {
    /// What it is called; letters, digits, `.`, `_` and `-`.
    name: Option<Spanned<String>>,
    /// Where results are kept.
    pub results: Option<PathBuf>,
    /// How machines are entered.
    #[serde(default)]
    pub via: Via,
    /// How often each payload is run, unless it says otherwise itself.
    #[serde(default = "once")]
    repetitions: NonZeroU32,
    /// How many machines a payload needs.
    #[serde(default = "all")]
    ready: Spanned<NeedText>,
    /// The machines.
    #[serde(default)]
    pub machines: Machines,
    /// What is run on them, in this order.
    #[serde(rename = "payload")]
    pub payloads: Vec<Payload>,
}

/// The machines of a bench.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machines {
    /// How many.
    pub count: NonZeroU16,
    /// What their names begin with.
    pub name: String,
    /// What they boot.
    pub image: String,
    /// What runs them.
    pub hypervisor: HypervisorName,
    /// What executes guest code.
    pub accel: AccelName,
    /// Virtual CPUs of each.
    pub vcpus: NonZeroU32,
    /// Memory of each, in MiB.
    pub memory_mib: NonZeroU32,
    /// How they are connected, where they are entered by SSH.
    pub network: NetworkName,
    /// Whether guests of user-mode networks reach what the host reaches.
    pub outbound: bool,
    /// Added to the kernel command line.
    pub kernel_arguments: Vec<String>,
    /// Machines that are set up at the same time; none for one on each CPU.
    pub parallel: Option<NonZeroUsize>,
    /// When all of them must be ready, in seconds.
    #[serde(rename = "timeout_s")]
    pub timeout: Seconds,
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            count: NonZeroU16::MIN,
            name: "vm".into(),
            image: "bench".into(),
            hypervisor: HypervisorName::Qemu,
            accel: AccelName::Auto,
            vcpus: NonZeroU32::MIN,
            // Cannot fail: it is not zero.
            memory_mib: NonZeroU32::MIN.saturating_add(255),
            network: NetworkName::Auto,
            outbound: false,
            kernel_arguments: Vec::new(),
            parallel: None,
            timeout: Seconds(Duration::from_secs(300)),
        }
    }
}

/// A payload of a bench.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The archive.
    file: Spanned<PathBuf>,
    /// How often it is run; none for what the bench says.
    repetitions: Option<NonZeroU32>,
    /// When a run is given up; none for what `payload.toml` says.
    #[serde(rename = "timeout_s")]
    pub timeout: Option<Seconds>,
    /// How long the upload may take on each machine, and after it unpacking.
    #[serde(rename = "transfer_timeout_s", default = "transfer")]
    pub transfer_timeout: Seconds,
    /// Where it is unpacked on the machines.
    #[serde(default = "root")]
    root: Spanned<String>,
    /// Machines that it runs on at the same time; none for all.
    pub parallel: Option<NonZeroUsize>,
    /// Environment variables for it.
    #[serde(default = "no_parameters")]
    parameters: Spanned<BTreeMap<String, String>>,
}

/// How machines are entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// By their agent.
    Agent,
    /// By SSH.
    #[default]
    Ssh,
}

/// What executes guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccelName {
    /// KVM where it runs guests, otherwise software emulation.
    Auto,
    /// Hardware virtualisation.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// What runs machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HypervisorName {
    /// No hypervisor: the bare host, by its agent.
    Native,
    /// QEMU.
    Qemu,
}

/// How machines are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// A bridge where this user may make one, otherwise forwarded ports.
    Auto,
    /// A bridge that they share with the host.
    Bridge,
    /// A network for each.
    User,
}

/// A time that is written in seconds: more than zero, at most a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        let told = || format!("{seconds} is no time in seconds: more than 0, at most {LONGEST_S}");
        time_of(seconds).map(Self).ok_or_else(|| serde::de::Error::custom(told()))
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

/// `all`, `any`, or a number.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected \"all\", \"any\", or a number of machines from 1")]
enum NeedText {
    Count(NonZeroUsize),
    Word(NeedWord),
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NeedWord {
    All,
    Any,
}

fn once() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn all() -> Spanned<NeedText> {
    Spanned::new(0..0, NeedText::Word(NeedWord::All))
}

fn root() -> Spanned<String> {
    Spanned::new(0..0, DEFAULT_ROOT.into())
}

fn no_parameters() -> Spanned<BTreeMap<String, String>> {
    Spanned::new(0..0, BTreeMap::new())
}

fn transfer() -> Seconds {
    Seconds(Duration::from_secs(600))
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BenchFileError {
    /// It makes no sense.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// It cannot be read.
    #[error("cannot read the bench {}; check that it exists and is readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BenchFile {
    /// Reads a file.
    pub fn from_file(path: &Path) -> Result<Self, BenchFileError> {
        let bytes = fs::read(path).map_err(|source| BenchFileError::Read { path: path.into(), source })?;
        Self::parse(&bytes, path)
    }

    /// Reads the text of a file; the path is for messages. A key that is unknown is an error, and so is everything that
    /// could not be done.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, BenchFileError> {
        let invalid = |before: &[u8], problem| {
            let (line, column) = after(before);
            BenchFileError::Invalid { path: path.into(), line, column, problem }
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| invalid(&bytes[..error.valid_up_to()], "this is not UTF-8".into()))?;
        let wrong = |place: Range<usize>, problem| invalid(&bytes[..place.start.min(bytes.len())], problem);
        let file: Self = toml::from_str(text)
            .map_err(|error| wrong(error.span().unwrap_or_default(), error.message().replace('\n', ", ")))?;
        file.check(text).map_err(|(place, problem)| wrong(place, problem))?;
        Ok(file)
    }

    /// What it calls itself.
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.get_ref().as_str())
    }

    /// How many machines a payload needs.
    pub fn ready(&self) -> Need {
        match self.ready.get_ref() {
            NeedText::Count(count) => Need::AtLeast(*count),
            NeedText::Word(NeedWord::All) => Need::All,
            NeedText::Word(NeedWord::Any) => Need::AtLeast(NonZeroUsize::MIN),
        }
    }

    /// How often a payload is run.
    pub fn repetitions(&self, payload: &Payload) -> u32 {
        payload.repetitions.unwrap_or(self.repetitions).get()
    }
}

impl Payload {
    /// The archive, as it is written.
    pub fn file(&self) -> &Path {
        self.file.get_ref()
    }

    /// Where it is unpacked on the machines.
    pub fn root(&self) -> &str {
        self.root.get_ref()
    }

    /// Environment variables for it.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        self.parameters.get_ref()
    }
}

/// Line and column of what comes after these bytes, both from 1, columns in characters.
fn after(before: &[u8]) -> (usize, usize) {
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    (before.iter().filter(|byte| **byte == b'\n').count() + 1, column)
}

#[cfg(test)]
mod tests;
