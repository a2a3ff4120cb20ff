//! The CPUs of the host that machines may have, and how they lie.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use virtmark_model::Topology;

/// The CPUs that this process, and with it its machines, may run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostCpus(Vec<HostCpu>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HostCpu {
    number: usize,
    /// Where the kernel says that it lies: its socket, and its core there.
    place: Option<(u32, u32)>,
}

impl HostCpus {
    /// Those of this process; none where the kernel does not tell.
    pub(crate) fn find() -> Self {
        let numbers = virtmark_host::cpus::allowed().unwrap_or_default();
        Self::of(Path::new("/sys/devices/system/cpu"), numbers.into_iter())
    }

    fn of(directory: &Path, numbers: impl Iterator<Item = usize>) -> Self {
        let field = |number: usize, name: &str| -> Option<u32> {
            let path = directory.join(format!("cpu{number}/topology/{name}"));
            // -1 where the host has none.
            fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        let place = |number| Some((field(number, "physical_package_id")?, field(number, "core_id")?));
        Self(numbers.map(|number| HostCpu { number, place: place(number) }).collect())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The numbers of so many of them, one of each core before the second of any; `None` when there are too few.
    pub(crate) fn apart(&self, count: usize) -> Option<Vec<usize>> {
        let mut seen: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        let mut ordered: Vec<(usize, usize)> = self
            .0
            .iter()
            .map(|HostCpu { number, place }| {
                let before = place.map_or(0, |place| {
                    let seen = seen.entry(place).or_default();
                    *seen += 1;
                    *seen
                });
                (before, *number)
            })
            .collect();
        ordered.sort_unstable();
        (ordered.len() >= count).then(|| ordered[..count].iter().map(|(_, number)| *number).collect())
    }

    /// So many virtual CPUs as these lie: with as many threads in a core, and in as many sockets as it takes. What does
    /// not divide evenly is left out. `None` where the kernel does not say how they lie.
    pub(crate) fn shape(&self, vcpus: u32) -> Option<Topology> {
        let places: Vec<(u32, u32)> = self.0.iter().map(|cpu| cpu.place).collect::<Option<_>>()?;
        let count = |of: &dyn Fn(&(u32, u32)) -> bool| places.iter().filter(|place| of(place)).count() as u32;
        // Where some have more than others, as on hybrid CPUs, the fewest.
        let threads = places.iter().map(|place| count(&|other| other == place)).min()?;
        let threads = if vcpus.is_multiple_of(threads) { threads } else { 1 };
        let sockets: BTreeSet<u32> = places.iter().map(|(socket, _)| *socket).collect();
        let of_one = sockets.iter().map(|socket| count(&|(other, _)| other == socket)).min()?;
        let sockets = sockets.len() as u32;
        let fits_one = vcpus <= of_one;
        let sockets = if !fits_one && vcpus.is_multiple_of(sockets * threads) { sockets } else { 1 };
        Some(Topology { sockets, cores: vcpus / (sockets * threads), threads })
    }
}

#[cfg(test)]
impl HostCpus {
    /// CPUs at these places (socket, core), numbered in this order.
    pub(crate) fn at(places: &[(u32, u32)]) -> Self {
        let cpu = |(number, place): (usize, &(u32, u32))| HostCpu { number, place: Some(*place) };
        Self(places.iter().enumerate().map(cpu).collect())
    }

    /// So many CPUs of a host whose kernel does not say how they lie.
    pub(crate) fn of_unknown_places(count: usize) -> Self {
        Self((0..count).map(|number| HostCpu { number, place: None }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two sockets of two cores of two threads, numbered as Linux does: first threads first.
    const LARGE: [(u32, u32); 8] = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0), (0, 1), (1, 0), (1, 1)];

    fn shape(places: &[(u32, u32)], vcpus: u32) -> [u32; 3] {
        let Topology { sockets, cores, threads } = HostCpus::at(places).shape(vcpus).unwrap();
        [sockets, cores, threads]
    }

    #[test]
    fn virtual_cpus_lie_as_those_of_the_host() {
        assert_eq!(shape(&LARGE, 8), [2, 2, 2]);
        assert_eq!(shape(&LARGE, 4), [1, 2, 2]);
        assert_eq!(shape(&LARGE, 2), [1, 1, 2]);
        // What cannot be the same is left out.
        assert_eq!(shape(&LARGE, 3), [1, 3, 1]);
        assert_eq!(shape(&LARGE, 6), [1, 3, 2]);
        assert_eq!(shape(&[(0, 0), (0, 1)], 2), [1, 2, 1]);
        // One core with two threads and two with one each.
        assert_eq!(shape(&[(0, 0), (0, 0), (0, 1), (0, 2)], 4), [1, 4, 1]);
        assert_eq!(HostCpus::of_unknown_places(1).shape(1), None);
        assert_eq!(HostCpus::of_unknown_places(0).shape(1), None);
    }

    #[test]
    fn cores_are_shared_only_when_there_are_no_more() {
        let large = HostCpus::at(&LARGE);
        assert_eq!(large.apart(4), Some(vec![0, 1, 2, 3]));
        assert_eq!(large.apart(5), Some(vec![0, 1, 2, 3, 4]));
        assert_eq!(large.apart(9), None);
        let neighbours = HostCpus::at(&[(0, 0), (0, 0), (0, 1), (0, 1)]);
        assert_eq!(neighbours.apart(3), Some(vec![0, 2, 1]));
    }

    #[test]
    fn places_are_read_as_the_kernel_writes_them() {
        let directory = tempfile::tempdir().unwrap();
        let write = |number: usize, name: &str, text: &str| {
            let topology = directory.path().join(format!("cpu{number}/topology"));
            fs::create_dir_all(&topology).unwrap();
            fs::write(topology.join(name), text).unwrap();
        };
        for (number, core) in [(0, "0\n"), (3, "5\n")] {
            write(number, "physical_package_id", "0\n");
            write(number, "core_id", core);
        }
        write(4, "physical_package_id", "-1\n");
        let read = HostCpus::of(directory.path(), [0, 3].into_iter());
        let expected =
            [(0, Some((0, 0))), (3, Some((0, 5)))].map(|(number, place)| HostCpu { number, place });
        assert_eq!(read, HostCpus(expected.into()));
        assert_eq!(HostCpus::of(directory.path(), [4].into_iter()).shape(1), None);
        assert!(HostCpus::find().count() > 0);
    }

    proptest! {
        #[test]
        fn every_shape_has_as_many_cpus_as_asked_for(
            places in prop::collection::vec((0u32..4, 0u32..4), 1..32),
            vcpus in 1u32..64,
        ) {
            let Topology { sockets, cores, threads } = HostCpus::at(&places).shape(vcpus).unwrap();
            prop_assert_eq!(sockets * cores * threads, vcpus);
        }

        #[test]
        fn cpus_apart_are_different_ones(
            places in prop::collection::vec((0u32..3, 0u32..3), 1..32),
            count in 0usize..32,
        ) {
            match HostCpus::at(&places).apart(count) {
                None => prop_assert!(count > places.len()),
                Some(numbers) => {
                    let different: BTreeSet<usize> = numbers.iter().copied().collect();
                    prop_assert_eq!(different.len(), count);
                    let cores: BTreeSet<_> = numbers.iter().map(|number| places[*number]).collect();
                    let all: BTreeSet<_> = places.iter().collect();
                    prop_assert_eq!(cores.len(), count.min(all.len()));
                }
            }
        }
    }
}
