//! A machine that moves to another QEMU process of this host while it runs.

use std::time::Instant;

use virtmark_hypervisor::{
    Capability, Error, MachineSpec, MachineState, Migrated, Migration, MigrationChannel, MigrationMode,
    Result,
};
use virtmark_model::Stopwatch;

use super::{QemuMachine, image_of, refuse_shared};
use crate::disks::MachineDisk;
use crate::vm::{Departure, Origin, Vm};

impl QemuMachine {
    /// Moves the machine, which runs. Phases: `prepare`, `spawn`, `setup`, `copy`, `switch`, `finish`, `remove`.
    pub(super) fn move_on(&mut self, migration: &Migration) -> Result<Migrated> {
        let mut watch = Stopwatch::start();
        let vm = self.vm_in(MachineState::Running, "migrate")?;
        if (migration.mode, migration.channel) == (MigrationMode::Multifd, MigrationChannel::Unix) {
            let reason =
                "several connections are made by address, which a pair of sockets has not: use --channel tcp";
            return Err(vm.not_migrated(reason));
        }
        let disks = vm.disks.iter().map(MachineDisk::for_another).collect::<Result<_>>()?;
        refuse_shared(&self.spec, Capability::Migrate)?;
        check_room(&self.spec, virtmark_host::memory_available_bytes())?;
        self.moves += 1;
        // With a dot, which no machine's name has.
        let home = format!("{}.{}", self.spec.name, self.moves);
        let origin = Origin::Move { home: &home, disks };
        let image = image_of(&self.spec)?;
        let mut destination = Vm::launch(&self.platform, &self.spec, image, &self.plan, origin, &mut watch)?;
        let source = self.vm_in(MachineState::Running, "migrate")?;
        let departure = match leave(source, &mut destination, migration, &mut watch) {
            Ok(departure) => departure,
            Err(error) => {
                // The first error is the one that matters; the run directory removes what stays.
                let _ = destination.remove(&self.platform.run_dir);
                return Err(error);
            }
        };
        let left_at = Instant::now();
        watch.mark_at("copy", departure.stopped_at.unwrap_or(left_at));
        // Whatever is found now, the guest is there and not here.
        let figures = source.migration_figures(&departure);
        let arrived = destination.wait_restored(self.spec.ready_timeout, &mut Stopwatch::start());
        let answered_at = destination.link.first_answer();
        let source = self.vm.replace(destination);
        let arrival = self.vm_in(MachineState::Running, "migrate")?;
        if arrived.is_ok() {
            watch.mark_at("switch", answered_at.unwrap_or(left_at).min(Instant::now()));
        }
        let clock = arrived.and_then(|()| arrival.set_clock());
        watch.mark("finish");
        let removed = source.map_or(Ok(()), |source| source.make_way(arrival));
        watch.mark("remove");
        clock?;
        removed?;
        let answered_at = answered_at.unwrap_or(left_at);
        Ok(Migrated { timeline: watch.finish(), answered_at, figures: figures? })
    }
}

fn leave(
    source: &mut Vm,
    destination: &mut Vm,
    migration: &Migration,
    watch: &mut Stopwatch,
) -> Result<Departure> {
    source.send_to(destination, migration)?;
    watch.mark("setup");
    source.watch_departure(destination, migration)
}

/// Refuses a machine for which there is no room twice: the kernel would kill one of both, or something else.
fn check_room(spec: &MachineSpec, available_bytes: Option<u64>) -> Result<()> {
    match available_bytes {
        Some(available) if available < spec.memory_bytes => Err(Error::OutOfMemory {
            machine: format!("a second process of {}, to which it would migrate", spec.name),
            wanted_bytes: spec.memory_bytes,
            reason: format!("{available} bytes are free on this host or in its cgroup"),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_machine_without_room_for_two_of_it_is_refused_before_anything_moves() {
        let spec = MachineSpec {
            name: "m".into(),
            vcpus: 1,
            memory_bytes: 1 << 30,
            image: None,
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_arguments: Vec::new(),
            snapshots: false,
            confined: false,
            ready_timeout: Duration::from_secs(1),
        };
        let error = check_room(&spec, Some((1 << 30) - 1)).unwrap_err();
        assert!(
            matches!(error, Error::OutOfMemory { wanted_bytes, .. } if wanted_bytes == 1 << 30),
            "{error}"
        );
        assert!(error.to_string().contains("1073741823 bytes are free"), "{error}");
        assert!(check_room(&spec, Some(1 << 30)).is_ok() && check_room(&spec, None).is_ok());
    }
}
