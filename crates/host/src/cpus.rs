//! Lists of CPUs, as the kernel writes them and as `taskset -c` takes them (cpuset(7), list format).

/// The CPUs that this process may use, in rising order; none where the kernel does not tell.
pub fn allowed() -> Option<Vec<usize>> {
    numbers(of_status(&std::fs::read_to_string("/proc/self/status").ok()?)?)
}

/// A list of CPUs, each by its number.
pub fn list(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The list of those that a process may use, in its `status` (proc(5)).
pub(crate) fn of_status(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
}

/// How many CPUs a list such as `0-3,8` names.
pub(crate) fn count(list: &str) -> Option<u32> {
    let length = |(first, last): (u32, u32)| last.checked_sub(first)?.checked_add(1);
    ranges(list).try_fold(0_u32, |sum, range| sum.checked_add(length(range?)?))
}

/// Which they are.
fn numbers(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in ranges(list) {
        let (first, last) = range?;
        cpus.extend(first as usize..=last as usize);
    }
    Some(cpus)
}

/// The first and the last CPU of each part; `None` for a part that is none.
fn ranges(list: &str) -> impl Iterator<Item = Option<(u32, u32)>> {
    list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some((first.parse().ok()?, last.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_cpus_are_read_and_written() {
        assert_eq!(numbers("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(numbers("\t0-2,5,8-9\n"), Some(vec![0, 1, 2, 5, 8, 9]));
        assert_eq!(numbers("3"), Some(vec![3]));
        assert_eq!(numbers("x"), None);
        assert_eq!(numbers(""), None);
        assert_eq!(list(&[0, 3]), "0,3");
        assert!(allowed().is_some_and(|cpus| !cpus.is_empty()));
    }

    #[test]
    fn a_list_that_is_none_has_no_count() {
        for list in ["", "a", "3-1", "0-", "0,,1", "0-4294967295"] {
            assert_eq!(count(list), None, "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn a_list_counts_what_it_was_written_from(cpus in prop::collection::btree_set(0_u32..300, 1..80)) {
            prop_assert_eq!(count(&write_list(&cpus)), Some(cpus.len() as u32));
        }
    }

    /// Runs of neighbours as ranges, as the kernel writes them.
    fn write_list(cpus: &BTreeSet<u32>) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &cpu in cpus {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        let write = |(first, last): &(u32, u32)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        ranges.iter().map(write).collect::<Vec<_>>().join(",")
    }
}
