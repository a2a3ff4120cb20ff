//! What a module says about itself in its `.modinfo` section: `key=value` strings, each ended by a zero byte
//! (Linux `include/linux/module.h`, `MODULE_INFO`).

use crate::elf::Elf;

/// The parts of `.modinfo` that decide where a module can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModInfo {
    /// Modules that must be loaded before, by name.
    pub(crate) depends: Vec<String>,
    /// Release of the kernel it was built for.
    pub(crate) release: String,
}

impl ModInfo {
    /// Reads `.modinfo` of a module file; the error says what is wrong.
    pub(crate) fn parse(module: &[u8]) -> Result<Self, String> {
        let elf = Elf::parse(module)?;
        let sections = elf.sections()?;
        let section = sections
            .iter()
            .find(|section| section.name == b".modinfo")
            .ok_or("it has no .modinfo section")?;
        let strings = elf
            .slice(section.offset, section.size_bytes)
            .ok_or("its .modinfo section lies outside the file")?;
        let release = value(strings, b"vermagic=")
            .and_then(|magic| magic.split(' ').next().map(str::to_owned))
            .filter(|release| !release.is_empty())
            .ok_or("it does not say for which kernel it was built")?;
        let depends = value(strings, b"depends=")
            .unwrap_or_default()
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| name.replace('-', "_"))
            .collect();
        Ok(Self { depends, release })
    }
}

fn value(strings: &[u8], key: &[u8]) -> Option<String> {
    strings
        .split(|byte| *byte == 0)
        .find_map(|string| string.strip_prefix(key))
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    #[test]
    fn needs_and_release_are_read() {
        let info = ModInfo::parse(&testing::module("x", &["virtio", "virtio-ring"], "6.1.0")).unwrap();
        assert_eq!(info.depends, ["virtio", "virtio_ring"]);
        assert_eq!(info.release, "6.1.0");
    }

    #[test]
    fn no_needs_is_an_empty_list() {
        assert!(ModInfo::parse(&testing::module("x", &[], "6")).unwrap().depends.is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_sections_never_panic(strings in proptest::collection::vec(any::<u8>(), 0..200)) {
            let file = testing::relocatable(&BTreeMap::from([(".modinfo", (2, strings))]));
            let _ = ModInfo::parse(&file);
        }

        #[test]
        fn arbitrary_headers_never_panic(at in 16usize..64, value in any::<u8>(), cut in 0usize..600) {
            let mut file = testing::module("x", &["y"], "6");
            file[at] = value;
            file.truncate(cut);
            let _ = ModInfo::parse(&file);
        }
    }
}
