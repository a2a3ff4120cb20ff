use crate::cpus;
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
    cpus::of_status(&status).and_then(cpus::count).unwrap_or(cpu.processors)
}

#[cfg(test)]
mod tests {
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
}
