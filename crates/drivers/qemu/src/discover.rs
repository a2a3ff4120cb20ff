//! Which QEMU there is.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use virtmark_hypervisor::{Error, Result};

/// The oldest QEMU whose options and QMP commands this driver uses.
const OLDEST: (u32, u32) = (7, 0);

/// A QEMU program that runs.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself, as in `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
    pub version: String,
}

impl Program {
    /// The name that is looked for on this architecture.
    pub fn default_name() -> String {
        format!("qemu-system-{}", env::consts::ARCH)
    }

    /// Finds the program: `chosen` if given, otherwise the default name in `PATH`. Asks it for its version.
    pub fn find(chosen: Option<&Path>) -> Result<Self> {
        let name = chosen.map_or_else(|| PathBuf::from(Self::default_name()), Path::to_path_buf);
        let missing = |reason: String| {
            Error::HypervisorMissing {
            program: name.display().to_string(),
            reason,
            remedy: "install it with `make setup` or `apt-get install qemu-system-x86`, or name one with --qemu FILE"
                .into(),
        }
        };
        let path = resolve(&name).ok_or_else(|| missing("no such program".into()))?;
        let output =
            Command::new(&path).arg("--version").output().map_err(|error| missing(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .lines()
            .next()
            .and_then(|line| line.split_once("version "))
            .map(|(_, version)| version.trim().to_owned())
            .ok_or_else(|| missing(format!("it does not tell its version ({})", output.status)))?;
        match major_minor(&version) {
            Some(found) if found >= OLDEST => Ok(Self { path, version }),
            _ => Err(missing(format!("version {version} is older than {}.{}", OLDEST.0, OLDEST.1))),
        }
    }
}

/// An absolute path, as machines have working directories of their own.
fn resolve(name: &Path) -> Option<PathBuf> {
    let found = if name.components().count() > 1 {
        Some(name.to_path_buf()).filter(|path| is_program(path))
    } else {
        let search = env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").to_owned());
        env::split_paths(&search).map(|directory| directory.join(name)).find(|path| is_program(path))
    };
    std::path::absolute(found?).ok()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_distribution_strings() {
        assert_eq!(major_minor("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"), Some((7, 2)));
        assert_eq!(major_minor("10.0.2"), Some((10, 0)));
        assert_eq!(major_minor("unknown"), None);
    }

    #[test]
    fn a_missing_program_is_said_with_its_name_and_a_remedy() {
        let error = Program::find(Some(Path::new("/nonexistent/qemu"))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/nonexistent/qemu") && text.contains("make setup"), "{text}");
    }

    #[test]
    fn a_program_is_the_same_from_every_directory() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir_in(".").unwrap();
        let name = Path::new(directory.path().file_name().unwrap()).join("qemu");
        std::fs::write(&name, "").unwrap();
        std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(resolve(&name).unwrap(), env::current_dir().unwrap().join(&name));
    }

    #[test]
    fn a_program_that_is_no_qemu_is_refused() {
        let error = Program::find(Some(Path::new("/bin/true"))).unwrap_err();
        assert!(error.to_string().contains("does not tell its version"), "{error}");
    }
}
