//! Takes out of a module what only debuggers and tracers read: DWARF and BTF. Linux checks the BTF of each module that it
//! loads.
//!
//! The section headers stay where they are, turned into unused ones (`SHT_NULL`), so that no index in symbols and
//! relocations changes; only the contents go. Linux's loader passes over unused sections.

use crate::elf::{Elf, HEADER_BYTES, SECTION_HEADER_BYTES, SHF_ALLOC, SHT_NOBITS, SHT_NULL, Section};

/// The module without its debug sections; the error says what is wrong with the file.
pub(super) fn strip(module: Vec<u8>) -> Result<Vec<u8>, String> {
    let elf = Elf::parse(&module)?;
    let sections = elf.sections()?;
    if !sections.iter().any(is_debug) {
        return Ok(module);
    }
    let table_at = usize::try_from(elf.section_table_at()).map_err(|error| error.to_string())?;
    let mut output = module[..HEADER_BYTES].to_vec();
    let mut table = module[table_at..table_at + sections.len() * SECTION_HEADER_BYTES].to_vec();
    for section in &sections {
        let at = section.header_at - table_at;
        let header = &mut table[at..at + SECTION_HEADER_BYTES];
        if is_debug(section) {
            header.fill(0);
            continue;
        }
        if matches!(section.kind, SHT_NULL | SHT_NOBITS) {
            continue;
        }
        let contents =
            elf.slice(section.offset, section.size_bytes).ok_or("a section lies outside the file")?;
        // Sections of modules are aligned to a page at most; a larger figure is a broken file.
        let align = section.align.clamp(1, 4096) as usize;
        output.resize(output.len().next_multiple_of(align), 0);
        header[24..32].copy_from_slice(&(output.len() as u64).to_le_bytes());
        output.extend_from_slice(contents);
    }
    output.resize(output.len().next_multiple_of(8), 0);
    let table_at = output.len() as u64;
    output[40..48].copy_from_slice(&table_at.to_le_bytes());
    output.extend(table);
    Ok(output)
}

fn is_debug(section: &Section<'_>) -> bool {
    let name = section.name.strip_prefix(b".rela").unwrap_or(section.name);
    section.flags & SHF_ALLOC == 0 && (name.starts_with(b".debug_") || name == b".BTF")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing;

    #[test]
    fn only_debug_sections_lose_their_contents() {
        let file = testing::relocatable(&BTreeMap::from([
            (".debug_info", (0, vec![7; 5000])),
            (".rela.debug_info", (0, vec![8; 3000])),
            (".BTF", (0, vec![6; 100])),
            (".debug_kept", (SHF_ALLOC, vec![9; 10])),
            (".text", (SHF_ALLOC | 4, vec![1; 777])),
        ]));
        let stripped = strip(file.clone()).unwrap();
        assert!(stripped.len() + 8000 <= file.len());
        let before = Elf::parse(&file).unwrap();
        let after = Elf::parse(&stripped).unwrap();
        let old = before.sections().unwrap();
        let new = after.sections().unwrap();
        assert_eq!(old.len(), new.len());
        for (old, new) in old.iter().zip(&new) {
            if is_debug(old) {
                assert_eq!((new.kind, new.size_bytes), (SHT_NULL, 0));
            } else {
                assert_eq!(old.name, new.name);
                assert_eq!(before.slice(old.offset, old.size_bytes), after.slice(new.offset, new.size_bytes));
            }
        }
    }

    #[test]
    fn a_module_without_debug_information_is_left_alone() {
        let file = testing::module("x", &[], "6");
        assert_eq!(strip(file.clone()).unwrap(), file);
    }
}
