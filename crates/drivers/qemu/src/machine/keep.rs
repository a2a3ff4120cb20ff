//! Keeping a machine's state: what is copied while its guest runs, while it stands still, and afterwards.

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use virtmark_hypervisor::{Error, MachineSpec, MachineState, Result, Snapshot};
use virtmark_model::{Stopwatch, Timeline};

use super::{QemuMachine, image_of, shape};
use crate::snapshot::Draft;
use crate::sparse;
use crate::vm::{Origin, Vm};

/// Where guest memory goes.
enum MemoryCopy {
    /// To the snapshot's file: memory is in a file that virtmark has open too.
    File(File),
    /// To QEMU's stream, with the rest of the state: memory is QEMU's own.
    Stream(File),
}

impl QemuMachine {
    /// Takes a snapshot of the machine, which runs. Phases: `prepare`, `pause`, `save`, `resume`, `store`.
    pub(super) fn keep(&mut self, directory: &Path) -> Result<(Snapshot, Timeline)> {
        let mut watch = Stopwatch::start();
        let vm = self.vm_in(MachineState::Running, "snapshot")?;
        let draft = Draft::begin(directory)?;
        let begun = vm.shorten_disks().and_then(|()| begin_copy(vm, &draft));
        let copy = begun.map_err(|error| draft.explain(error))?;
        watch.mark("prepare");
        vm.hold()?;
        watch.mark("pause");
        let saved = save(vm, &draft, &copy);
        watch.mark("save");
        // Whether or not it could be kept, the machine goes on.
        vm.go()?;
        watch.mark("resume");
        let checksum = saved.and_then(|()| self.finish_copy(copy, &draft));
        let checksum = checksum.map_err(|error| draft.explain(error))?;
        let shape = shape(&self.platform, &self.plan, &self.spec);
        let vm = self.vm_in(MachineState::Running, "snapshot")?;
        let snapshot = draft.finish(shape, checksum, &mut vm.disks)?;
        watch.mark("store");
        Ok((snapshot, watch.finish()))
    }

    /// Brings memory to its file, if it is not there yet. Gives the checksum of that.
    fn finish_copy(&self, copy: MemoryCopy, draft: &Draft) -> Result<u32> {
        match copy {
            MemoryCopy::File(memory) => sparse::checksum(&memory, self.spec.memory_bytes)
                .map_err(Error::io(format!("read the copied memory of {}", self.spec.name))),
            MemoryCopy::Stream(stream) => self.take_apart(stream, draft),
        }
    }

    /// Takes a state that holds memory apart, by a machine that is made for this and never executes anything: only memory
    /// in a file of its own is shared by the machines that are restored from it. Gives the checksum of guest memory.
    fn take_apart(&self, mut stream: File, draft: &Draft) -> Result<u32> {
        stream.rewind().map_err(Error::io(format!("read the state of {}", self.spec.name)))?;
        let spec =
            MachineSpec { name: format!("{}-kept", self.spec.name), snapshots: true, ..self.spec.clone() };
        // Their content does not matter to what never reads them.
        let disks = spec.disks.iter().map(|_| Vec::new()).collect();
        let origin = Origin::Restore { memory: None, disks };
        let watch = &mut Stopwatch::start();
        let mut vm = Vm::launch(&self.platform, &spec, image_of(&spec)?, &self.plan, origin, watch)?;
        let taken = vm
            .load(&stream, false)
            .and_then(|()| vm.save_devices(&draft.device_state()?))
            .and_then(|()| vm.copy_memory(&draft.memory()?));
        let removed = vm.remove(&self.platform.run_dir);
        taken.and_then(|checksum| removed.map(|()| checksum))
    }
}

/// Copies memory and brings disks to the host's disk while the guest runs, so that little of both is left to do when it
/// stands still.
fn begin_copy(vm: &mut Vm, draft: &Draft) -> Result<MemoryCopy> {
    if vm.memory.is_some() {
        let memory = draft.memory()?;
        vm.copy_memory(&memory)?;
        flush_disks(vm)?;
        return Ok(MemoryCopy::File(memory));
    }
    // First, as QEMU stops the guest itself when little memory is left.
    flush_disks(vm)?;
    let stream = draft.stream()?;
    vm.save_memory(&stream).inspect_err(|_| vm.give_up_saving())?;
    Ok(MemoryCopy::Stream(stream))
}

fn flush_disks(vm: &Vm) -> Result<()> {
    vm.disks.iter().try_for_each(|disk| {
        let what = format!("write the disk {}", disk.top.path.display());
        disk.flush().map_err(Error::io(what))
    })
}

/// Writes what changes while the guest runs, which it does not now.
fn save(vm: &mut Vm, draft: &Draft, copy: &MemoryCopy) -> Result<()> {
    match copy {
        MemoryCopy::File(memory) => {
            vm.freeze_disks()?;
            vm.save_devices(&draft.device_state()?)?;
            vm.refresh_memory(memory)
        }
        MemoryCopy::Stream(_) => {
            let saved = vm.wait_memory_saved().and_then(|()| vm.freeze_disks()).and_then(|()| vm.save_rest());
            saved.inspect_err(|_| vm.give_up_saving())
        }
    }
}
