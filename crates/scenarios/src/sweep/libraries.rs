//! What a program of this host needs to run elsewhere: its loader and its shared libraries.
//!
//! Found by reading the files, as ld.so(8) would look for them; nothing of them is run. A library that a program opens
//! by itself while it runs (dlopen) is in no header and is not found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
/// Where the loader looks when nothing else is said (ld.so(8)).
const DEFAULT_DIRECTORIES: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Files of configuration that include each other go no deeper.
const INCLUDE_DEPTH: u32 = 8;

/// A program with everything that it is linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The program's file.
    pub program: PathBuf,
    /// Its loader; absent for a program that is linked statically.
    pub loader: Option<PathBuf>,
    /// Each library under the name by which it is asked for.
    pub libraries: BTreeMap<String, PathBuf>,
}

impl Closure {
    /// Looks for everything that `program` needs.
    ///
    /// # Errors
    /// When a file cannot be read or is no 64-bit ELF file, and when a library is nowhere to be found.
    pub fn of(program: &Path) -> Result<Self, Error> {
        let configured = configured_directories(Path::new("/etc/ld.so.conf"), INCLUDE_DEPTH);
        Self::find(program, &configured)
    }

    /// The libraries that a file asks for by name, none when it is no program: a door for fuzz targets.
    #[cfg(feature = "fuzzing")]
    #[doc(hidden)]
    pub fn asked_for_in(bytes: &[u8]) -> Option<Vec<String>> {
        Object::parse(bytes).map(|object| object.needed)
    }

    fn find(program: &Path, configured: &[PathBuf]) -> Result<Self, Error> {
        let object = Object::read(program)?;
        let mut closure =
            Self { program: program.into(), loader: object.interpreter.clone(), libraries: BTreeMap::new() };
        let loader_name =
            object.interpreter.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
        let mut seen: BTreeSet<String> = loader_name.iter().map(ToString::to_string).collect();
        let mut pending = VecDeque::from([(program.to_owned(), object)]);
        while let Some((user, object)) = pending.pop_front() {
            for name in &object.needed {
                if !seen.insert(name.clone()) {
                    continue;
                }
                let found = object
                    .search(&user, name, configured)
                    .ok_or_else(|| Error::Library { library: name.clone(), program: program.into() })?;
                let library = Object::read(&found)?;
                closure.libraries.insert(name.clone(), found.clone());
                pending.push_back((found, library));
            }
        }
        Ok(closure)
    }
}

/// What the headers of a program or library say.
#[derive(Debug)]
struct Object {
    machine: u16,
    interpreter: Option<PathBuf>,
    needed: Vec<String>,
    /// Directories of its own, as they are written.
    run_path: Vec<String>,
}

impl Object {
    fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|source| Error::Read {
            what: "a program or library",
            path: path.into(),
            source,
        })?;
        Self::parse(&bytes).ok_or_else(|| Error::NotElf { path: path.into() })
    }

    /// The file format is that of elf(5).
    fn parse(bytes: &[u8]) -> Option<Self> {
        // Magic, 64 bits, little endian.
        if bytes.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let headers = usize::try_from(u64_at(bytes, 32)?).ok()?;
        let (size, count) = (usize::from(u16_at(bytes, 54)?), usize::from(u16_at(bytes, 56)?));
        let segments: Option<Vec<Segment>> = (0..count)
            .map(|index| Segment::parse(bytes.get(headers.checked_add(index.checked_mul(size)?)?..)?))
            .collect();
        let segments = segments?;
        let of_kind = |kind| segments.iter().find(|segment| segment.kind == kind);
        let interpreter = match of_kind(PT_INTERP) {
            Some(segment) => Some(PathBuf::from(text_at(bytes, segment.offset)?)),
            None => None,
        };
        let mut object =
            Self { machine: u16_at(bytes, 18)?, interpreter, needed: Vec::new(), run_path: Vec::new() };
        if let Some(dynamic) = of_kind(PT_DYNAMIC) {
            object.read_dynamic(bytes, dynamic, &segments)?;
        }
        Some(object)
    }

    fn read_dynamic(&mut self, bytes: &[u8], dynamic: &Segment, segments: &[Segment]) -> Option<()> {
        let end = dynamic.offset.checked_add(dynamic.size)?;
        let entries = bytes.get(dynamic.offset..end)?.chunks_exact(16);
        let entries: Vec<(u64, u64)> = entries
            .map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let Some(address) = value(DT_STRTAB) else { return Some(()) };
        let strings = segments.iter().find_map(|segment| segment.offset_of(address))?;
        let text = |offset: u64| text_at(bytes, strings.checked_add(usize::try_from(offset).ok()?)?);
        for (_, offset) in entries.iter().filter(|(tag, _)| *tag == DT_NEEDED) {
            self.needed.push(text(*offset)?);
        }
        // The newer of the two replaces the older.
        if let Some(offset) = value(DT_RUNPATH).or_else(|| value(DT_RPATH)) {
            self.run_path = text(offset)?.split(':').map(str::to_owned).collect();
        }
        Some(())
    }

    /// The file that this object, which is at `path`, gets under the name of a library.
    fn search(&self, path: &Path, name: &str, configured: &[PathBuf]) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(name.into());
        }
        let origin = path.parent().unwrap_or(Path::new("/")).to_string_lossy();
        let own = self.run_path.iter().map(|directory| {
            PathBuf::from(directory.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin))
        });
        let default = DEFAULT_DIRECTORIES.iter().map(PathBuf::from);
        own.chain(configured.iter().cloned()).chain(default).map(|directory| directory.join(name)).find(
            |candidate| {
                // A library for another processor has the same name in another directory.
                Object::read(candidate).is_ok_and(|library| library.machine == self.machine)
            },
        )
    }
}

/// A part of the file that is loaded, or that says something about loading.
#[derive(Debug)]
struct Segment {
    kind: u32,
    offset: usize,
    address: u64,
    size: usize,
}

impl Segment {
    fn parse(header: &[u8]) -> Option<Self> {
        Some(Self {
            kind: u32::from_le_bytes(header.get(..4)?.try_into().ok()?),
            offset: usize::try_from(u64_at(header, 8)?).ok()?,
            address: u64_at(header, 16)?,
            size: usize::try_from(u64_at(header, 32)?).ok()?,
        })
    }

    /// Where in the file an address of memory is.
    fn offset_of(&self, address: u64) -> Option<usize> {
        let inside = usize::try_from(address.checked_sub(self.address)?).ok()?;
        (self.kind == PT_LOAD && inside < self.size).then(|| self.offset.checked_add(inside)).flatten()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn text_at(bytes: &[u8], at: usize) -> Option<String> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// The directories that ld.so.conf(5) names, in order. What cannot be read names none.
fn configured_directories(file: &Path, depth: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut directories = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include ") {
            Some(pattern) if depth > 0 => {
                for included in matching(file, pattern.trim()) {
                    directories.extend(configured_directories(&included, depth - 1));
                }
            }
            Some(_) => {}
            None if line.is_empty() => {}
            None => directories.push(line.into()),
        }
    }
    directories
}

/// The files that a pattern such as `/etc/ld.so.conf.d/*.conf` names, sorted. Only the last part may have a star, and
/// one of them, as in every system's file.
fn matching(file: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((before, after)) = name.split_once('*') else { return vec![pattern] };
    let entries = fs::read_dir(pattern.parent().unwrap_or(Path::new("/")));
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_host_has_a_loader_and_the_c_library() {
        let shell = fs::canonicalize("/bin/sh").unwrap();
        let closure = Closure::of(&shell).unwrap();
        let loader = closure.loader.expect("the shell of a distribution is linked dynamically");
        assert!(loader.is_file(), "{}", loader.display());
        let c = closure.libraries.keys().find(|name| name.starts_with("libc.")).expect("it uses libc");
        assert!(closure.libraries[c].is_file());
        // The loader is found by its path, not as a library.
        assert!(closure.libraries.values().all(|path| path.file_name() != loader.file_name()));
    }

    #[test]
    fn what_is_no_program_is_told_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let message = Closure::of(&path).unwrap_err().to_string();
        assert!(message.contains("script"), "{message}");
        assert!(Closure::of(&directory.path().join("none")).is_err());
    }

    #[test]
    fn any_cut_of_a_program_is_read_without_a_panic() {
        let bytes = fs::read("/bin/sh").unwrap();
        for length in (0..bytes.len().min(4096)).chain([bytes.len() / 2]) {
            let _ = Object::parse(&bytes[..length]);
        }
        assert!(Object::parse(&bytes).is_some());
    }

    #[test]
    fn configuration_files_include_others_and_have_comments() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("ld.so.conf");
        fs::create_dir(directory.path().join("d")).unwrap();
        fs::write(&main, "include d/*.conf\n# nothing\n/last\n").unwrap();
        fs::write(directory.path().join("d/b.conf"), "/second # why\n").unwrap();
        fs::write(directory.path().join("d/a.conf"), "/first\n").unwrap();
        fs::write(directory.path().join("d/c.other"), "/never\n").unwrap();
        let found = configured_directories(&main, INCLUDE_DEPTH);
        assert_eq!(found, ["/first", "/second", "/last"].map(PathBuf::from));
        // A file that includes itself ends.
        fs::write(&main, "include ld.so.conf\n/one\n").unwrap();
        assert_eq!(configured_directories(&main, 2).len(), 3);
    }
}
