//! The agent's witness in a guest that is moved: what it is asked, and what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use virtmark_hypervisor::{Command, Error, ExecStatus, GuestLink, Result};
use virtmark_model::FailureClass;

use super::Load;

/// Memory of known content.
const KNOWN_BYTES: u64 = 16 << 20;

/// How long the witness may take for anything: its memory is filled first, under emulation too.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the witness says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told(BTreeMap<String, u64>);

impl Told {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }
}

/// Starts it, with the writer of a load that has one.
pub(super) fn start(machine: &str, guest: &dyn GuestLink, load: &Load, over_bytes: u64) -> Result<()> {
    let mut words = format!("start {KNOWN_BYTES}");
    if let Load::Dirty { bytes_per_second } = load {
        words += &format!(" {bytes_per_second} {over_bytes}");
    }
    ask(machine, guest, &words).map(drop)
}

/// Forgets what it has seen.
pub(super) fn reset(machine: &str, guest: &dyn GuestLink) -> Result<()> {
    ask(machine, guest, "reset").map(drop)
}

/// What it has seen.
pub(super) fn tell(machine: &str, guest: &dyn GuestLink) -> Result<Told> {
    Ok(Told::parse(&ask(machine, guest, "tell")?))
}

/// The checksum of its known memory, and of everything else that must not change: the guest's names.
pub(super) fn fingerprint(machine: &str, guest: &dyn GuestLink) -> Result<String> {
    let sum = ask(machine, guest, "sum")?;
    let names = run(machine, guest, "cat /proc/sys/kernel/hostname /proc/sys/kernel/random/boot_id")?;
    Ok(sum + &names)
}

/// The agent is process 1 of its guest, whatever the root it has.
fn ask(machine: &str, guest: &dyn GuestLink, words: &str) -> Result<String> {
    run(machine, guest, &format!("/proc/1/exe witness {words}"))
}

/// What a line prints; an error unless it succeeds.
pub(super) fn run(machine: &str, guest: &dyn GuestLink, line: &str) -> Result<String> {
    let mut command = Command::shell(line);
    command.timeout = Some(PATIENCE);
    let output = guest.exec(&command)?;
    if output.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let (class, reason) = match output.status {
        ExecStatus::Exited(127) => (
            FailureClass::Unsupported,
            "the image has no stress-ng: use --image bench, or --load dirty=RATE".into(),
        ),
        status => {
            (FailureClass::Other, format!("`{line}` in its guest ended with {status:?}: {}", said.trim()))
        }
    };
    Err(Error::NotMigrated { machine: machine.into(), class, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_is_taken_by_name() {
        let told = Told::parse("ticks=12\nlargest_gap_ns=3400000\nknown_crc32c=00ff\nnonsense\n");
        assert_eq!((told.get("ticks"), told.get("largest_gap_ns")), (Some(12), Some(3_400_000)));
        assert_eq!((told.get("nonsense"), told.get("late_ticks")), (None, None));
    }
}
