use crate::source::Source;

/// The first processor of `/proc/cpuinfo`, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) model: String,
    pub(crate) flags: Vec<String>,
    pub(crate) processors: u32,
}

impl Cpu {
    pub(crate) fn read(source: &Source) -> Self {
        Self::parse(&source.text("proc/cpuinfo").unwrap_or_default())
    }

    /// Keys differ by architecture: x86 has `model name` and `flags`; ARM has `Features` and numbers for the model.
    pub(crate) fn parse(cpuinfo: &str) -> Self {
        let pairs =
            || cpuinfo.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.trim(), v.trim()));
        let first = |key| pairs().find(|(found, _)| *found == key).map(|(_, value)| value.to_owned());
        let arm = || {
            let (implementer, part) = (first("CPU implementer")?, first("CPU part")?);
            Some(format!("ARM implementer {implementer} part {part}"))
        };
        let flags = first("flags").or_else(|| first("Features")).or_else(|| first("isa")).unwrap_or_default();
        Self {
            model: first("model name").or_else(arm).or_else(|| first("uarch")).unwrap_or_default(),
            flags: flags.split_whitespace().map(str::to_owned).collect(),
            processors: pairs().filter(|(key, _)| *key == "processor").count() as u32,
        }
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|found| found == flag)
    }

    /// Whether this is the x86 family, whose flags tell of virtualisation.
    pub(crate) fn is_x86(&self) -> bool {
        self.has("fpu") && self.has("msr")
    }
}

/// CPUs that this process may run on.
pub(crate) fn usable_cpus(source: &Source, cpu: &Cpu) -> u32 {
    let status = source.text("proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    allowed.and_then(cpu_count).unwrap_or(cpu.processors)
}

/// How many CPUs a list such as `0-3,8` names (cpuset(7), list format).
fn cpu_count(list: &str) -> Option<u32> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim().split(',').try_fold(0_u32, |sum, range| sum.checked_add(count(range)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arm_is_told_by_numbers() {
        let cpu = Cpu::parse(
            "processor\t: 0\nFeatures\t: fp asimd atomics\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\nprocessor\t: 1\n",
        );
        assert_eq!(cpu.model, "ARM implementer 0x41 part 0xd0c");
        assert_eq!(cpu.flags, ["fp", "asimd", "atomics"]);
        assert_eq!(cpu.processors, 2);
        assert!(!cpu.is_x86());
    }

    #[test]
    fn a_list_that_is_none_has_no_count() {
        for list in ["", "a", "3-1", "0-", "0,,1", "0-4294967295"] {
            assert_eq!(cpu_count(list), None, "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn a_list_counts_what_it_was_written_from(cpus in prop::collection::btree_set(0_u32..300, 1..80)) {
            prop_assert_eq!(cpu_count(&write_list(&cpus)), Some(cpus.len() as u32));
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
