//! What fio works on, on either side.

use std::path::Path;

use super::failure::ToolFailure;
use super::line::{self, Target};
use super::parse::{ParseError, fio};
use super::side::{Bench, Side};
use super::{GuestPlan, Tool};

/// The serial number of the machine's own disk.
pub(super) const DISK: &str = "virtmark-fio";
/// The file, where there is no such disk.
const FILE: &str = "virtmark-fio";

/// Where a guest has its file: in the root of a machine that could not have a disk of its own.
const GUEST_DIRECTORY: &str = "/var/tmp";

/// Finds or makes what fio works on, and writes all of it once: past the page cache where the file system has that.
///
/// `scratch` is a directory of the host that goes with the run. A guest that `is_host` has its file there as well.
pub(super) fn prepare(
    bench: &mut Bench<'_>,
    plan: &GuestPlan,
    scratch: &Path,
    is_host: bool,
) -> Result<(), ToolFailure> {
    let (path, is_device) = match bench.side {
        Side::Guest => match guest_disk(bench) {
            Some(device) => (device, true),
            None if is_host => (scratch.join(format!("{FILE}-guest")).display().to_string(), false),
            None => (format!("{GUEST_DIRECTORY}/{FILE}"), false),
        },
        Side::Host => (scratch.join(FILE).display().to_string(), false),
    };
    match lay_out(bench, plan, Target { path: path.clone(), is_device, direct: true }) {
        // EINVAL is how file systems say that they have no direct I/O.
        Err(failure) if failure.raw.as_deref().is_some_and(|raw| raw.contains("Invalid argument")) => {
            lay_out(bench, plan, Target { path, is_device, direct: false })
        }
        result => result,
    }
}

/// The disk that was asked for, as the guest names it.
fn guest_disk(bench: &Bench<'_>) -> Option<String> {
    let find = format!(
        "for s in /sys/block/*/serial; do [ \"$(cat $s)\" = {DISK} ] && d=${{s%/serial}} && echo /dev/${{d##*/}}; done; true"
    );
    bench.told(&find).filter(|device| device.starts_with("/dev/"))
}

fn lay_out(bench: &mut Bench<'_>, plan: &GuestPlan, target: Target) -> Result<(), ToolFailure> {
    let mut command = virtmark_hypervisor::Command::argv(line::layout(plan, &target));
    command.timeout = Some(line::layout_limit(plan));
    let output = bench.exec(&command).0?;
    if !output.success() {
        let read = fio::job(&String::from_utf8_lossy(&output.stdout), fio::Direction::Write);
        return Err(bench.failure_of(Tool::Fio, &output, ParseError::told(read.err().as_ref())));
    }
    bench.target = Some(target);
    Ok(())
}
