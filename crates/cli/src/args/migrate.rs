//! Options of `virtmark migrate`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use virtmark_hypervisor::{MigrationChannel, MigrationMode};
use virtmark_scenarios::migrate::{Load, MB_OF_MEMORY};

use super::pace::at_least_one;
use super::{Accel, ArchiveArguments, Driver, KernelArguments, MachineArguments};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark migrate
  virtmark migrate --memory 1024,2048,4096 --load none,stress,dirty=50M --iterations 5
  virtmark migrate --memory 1024 --load dirty=200M --mode post-copy
  virtmark migrate --mode multifd --channel tcp --max-bandwidth 1G --downtime-limit 50ms
  virtmark migrate --format csv > migration_results.csv

A machine is made, given its load and a witness, and moved once to another process of the same hypervisor on this host, \
while it runs; that as often as --iterations says, for each size and load. How long it stood still is told three times: \
by the hypervisor, by a ticker in the guest, and by a client outside that asks the guest every millisecond. Afterwards \
the memory must be what it was and the load must run, else the migration counts as a failure. Medians are graded by \
the hypervisor guide's table, by the row of the size or the next larger one. docs/migrate.md has the methods and what can go wrong.")]
pub(crate) struct MigrateArguments {
    /// Memory of the machines, in MB or with a unit [default: 1024,2048,4096,8192,16384 as far as two of a size fit on this
    /// host]
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', value_parser = memory_mb)]
    pub(crate) memory: Vec<u64>,

    /// What the guests do: none, stress (stress-ng on 80 % of the memory, image bench), or dirty=RATE in bytes a second
    #[arg(long, value_name = "LOAD,...", value_delimiter = ',', default_value = "none")]
    pub(crate) load: Vec<Load>,

    /// Memory that the writer of dirty=RATE goes over [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse_memory)]
    pub(crate) dirty_over: Option<u64>,

    /// How often each size is moved under each load
    #[arg(long, value_name = "N", default_value = "3", value_parser = at_least_one)]
    pub(crate) iterations: NonZeroU32,

    /// When memory is copied: pre-copy, post-copy or multifd
    #[arg(long, value_name = "MODE", default_value_t)]
    pub(crate) mode: MigrationMode,

    /// What connects the two processes: unix or tcp [default: unix, and tcp for multifd]
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Option<MigrationChannel>,

    /// Most that is sent in a second [default: the hypervisor's own, on record]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    pub(crate) max_bandwidth: Option<u64>,

    /// How long a guest may stand still for the rest [default: the hypervisor's own, on record]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_positive)]
    pub(crate) downtime_limit: Option<Duration>,

    /// How long memory may be copied; a guest that is still ahead then stays where it is
    #[arg(long, value_name = "TIME", default_value = "180s", value_parser = crate::duration::parse_positive)]
    pub(crate) timeout: Duration,

    /// How long the load runs before the machine moves
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::duration::parse)]
    pub(crate) settle: Duration,

    /// What standard output gets: json, or csv rows of
    /// source_hypervisor,target_hypervisor,memory,duration,downtime,transferred
    #[arg(long, value_enum, default_value_t = MigrateFormat::Json)]
    pub(crate) format: MigrateFormat,

    #[command(flatten)]
    pub(crate) place: MigrateMachineArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MigrateFormat {
    Json,
    Csv,
}

/// The machines, but for their memory.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(crate) struct MigrateMachineArguments {
    /// What runs the machines
    #[arg(long, value_enum, default_value_t = Driver::Qemu)]
    pub(crate) hypervisor: Driver,

    /// What executes guest code; auto takes KVM when a guest really runs under it
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub(crate) accel: Accel,

    /// Virtual CPUs of each machine [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) vcpus: Option<u32>,

    /// The image to boot: tiny or bench, built when it is not there, or a name or id of `virtmark image list`
    /// [default: tiny, and bench for the load stress]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,

    #[command(flatten)]
    pub(crate) kernel: KernelArguments,

    /// Added at the end of the kernel's command line; may be repeated
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) kernel_arguments: Vec<String>,

    /// The QEMU program [default: qemu-system-* of this architecture in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) qemu: Option<PathBuf>,
}

impl MigrateArguments {
    /// The machines, with the first of their sizes.
    pub(crate) fn machine(&self, first_mb: Option<u64>) -> MachineArguments {
        let MigrateMachineArguments { hypervisor, accel, vcpus, image, kernel, kernel_arguments, qemu } =
            &self.place;
        let needs_tools = self.load.contains(&Load::Stress);
        MachineArguments {
            hypervisor: *hypervisor,
            accel: *accel,
            vcpus: *vcpus,
            memory: first_mb.map(|size_mb| size_mb.saturating_mul(MB_OF_MEMORY)),
            image: image.clone().or(needs_tools.then(|| "bench".into())),
            kernel: kernel.clone(),
            kernel_arguments: kernel_arguments.clone(),
            qemu: qemu.clone(),
        }
    }

    pub(crate) fn channel(&self) -> MigrationChannel {
        self.channel.unwrap_or(match self.mode {
            MigrationMode::Multifd => MigrationChannel::Tcp,
            MigrationMode::PostCopy | MigrationMode::PreCopy => MigrationChannel::Unix,
        })
    }
}

/// Reads a size in MB, as the guide writes it, or with a unit.
fn memory_mb(text: &str) -> Result<u64, String> {
    let bytes = match text.parse::<u64>() {
        Ok(size_mb) => crate::size::parse_memory(&format!("{size_mb}M"))?,
        Err(_) => crate::size::parse_memory(text)?,
    };
    Ok(bytes / MB_OF_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_mb_unless_it_says_otherwise() {
        assert_eq!((memory_mb("1024"), memory_mb("2G"), memory_mb("256M")), (Ok(1024), Ok(2048), Ok(256)));
        assert!(memory_mb("0").is_err() && memory_mb("x").is_err());
    }
}
