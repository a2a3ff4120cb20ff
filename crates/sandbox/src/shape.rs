//! What a sandbox is made of.

use virtmark_hypervisor::{BootImage, Disk, MachineSpec};
use virtmark_model::HypervisorFacts;

use crate::admission::Needs;
use crate::api::ImageName;
use crate::templates::Subject;
use crate::{Error, Options, Result};

/// Name of the disk of a sandbox that has one.
const DISK: &str = "data";

/// What a sandbox is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// As the client asked for it.
    pub(crate) image_name: Option<ImageName>,
    pub(crate) image: BootImage,
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
    pub(crate) disk_mib: u64,
}

impl Shape {
    /// Refuses sizes that no sandbox may have.
    pub(crate) fn check(&self, options: &Options) -> Result<()> {
        let between = |field, value, least, most, unit| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::InvalidRequest(format!("{field} is {value}; {least} to {most}{unit} are possible")))
        };
        between("vcpus", self.vcpus.into(), 1, u64::from(options.max_vcpus).min(options.total_vcpus), "")?;
        let most = options.max_memory_mib.min(options.total_memory_mib);
        between("memory_mib", self.memory_mib, options.min_memory_mib, most, " MiB")?;
        between("disk_mib", self.disk_mib, 0, options.max_disk_mib, " MiB")
    }

    /// What its machine needs.
    pub(crate) fn needs(&self) -> Needs {
        Needs { sandboxes: 0, vcpus: self.vcpus.into(), memory_mib: self.memory_mib }
    }

    /// The machine of this name.
    pub(crate) fn spec(&self, name: &str, options: &Options, snapshots: bool) -> MachineSpec {
        let disk = Disk { name: DISK.into(), size_bytes: self.disk_mib << 20 };
        MachineSpec {
            name: name.into(),
            vcpus: self.vcpus,
            memory_bytes: self.memory_mib << 20,
            image: Some(self.image.clone()),
            disks: if self.disk_mib == 0 { Vec::new() } else { vec![disk] },
            networks: Vec::new(),
            kernel_arguments: options.kernel_arguments.clone(),
            snapshots,
            confined: options.confined,
            ready_timeout: options.ready_timeout,
        }
    }

    /// Everything that a template for it depends on.
    pub(crate) fn subject(&self, hypervisor: &HypervisorFacts, options: &Options) -> Subject {
        Subject::new(self, hypervisor, options)
    }
}
