//! What can go wrong while images are built and kept.

use std::io;
use std::path::{Path, PathBuf};

use crate::Arch;

/// Why an image could not be built, found or removed.
///
/// Each message says what was attempted, on what, and what to do; the operating system's own reason is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A prefix of an id fits more than one image.
    #[error("{query:?} fits several images ({}): give more characters of the id", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        query: String,
        /// Ids that fit.
        ids: Vec<String>,
    },

    /// A build or a removal by someone else holds the store.
    #[error("another process is building or removing images in {} now: wait for it and try again", dir.display())]
    Busy {
        /// Directory of the store.
        dir: PathBuf,
    },

    /// The busybox program is missing, is not for the guest, or is not static.
    #[error("cannot use {} as the guest's busybox: {reason} (install busybox-static, or name a static busybox)", path.display())]
    Busybox {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A kept image is not what was written.
    #[error("image {id} is damaged: {}: {reason}; build it again", path.display())]
    Damaged {
        /// Id of the image.
        id: String,
        /// The file that is wrong.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// An extra file asks for a place in the image that it cannot have.
    #[error("cannot put {path:?} into the image: {reason}")]
    ExtraFile {
        /// Path inside the image.
        path: String,
        /// Why not.
        reason: &'static str,
    },

    /// The operating system refused.
    #[error("cannot {action} {}{}", path.display(), hint(source))]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// The image is in use by a running machine.
    #[error("image {id} is in use by a running machine: stop it and try again")]
    InUse {
        /// Id of the image.
        id: String,
    },

    /// A kernel file has the right outside and a broken inside.
    #[error("cannot unpack the kernel {}: {reason}", path.display())]
    KernelDamaged {
        /// The kernel file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },

    /// Modules that need each other in a circle can never be loaded.
    #[error("modules in {} need each other in a circle at {name}: run depmod there, or name another directory", dir.display())]
    ModuleCycle {
        /// Directory of the modules.
        dir: PathBuf,
        /// A module in the circle.
        name: String,
    },

    /// A module file cannot be read as one.
    #[error("cannot use the module {}: {reason}", path.display())]
    ModuleFormat {
        /// The module file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The guest cannot start without this module, and neither the directory nor the kernel has it.
    #[error("the guest needs the kernel module {name}, which is neither in {} nor built into the kernel: use another kernel or its whole modules directory", dir.display())]
    ModuleMissing {
        /// Name of the module.
        name: String,
        /// Directory that was searched.
        dir: PathBuf,
    },

    /// Modules of one kernel cannot be loaded into another.
    #[error("the module {} was built for kernel {found}, the kernel is {expected}: name the modules directory that belongs to the kernel", path.display())]
    ModuleRelease {
        /// The module file.
        path: PathBuf,
        /// Release in the module.
        found: String,
        /// Release of the kernel.
        expected: String,
    },

    /// Nothing names a directory for the cache.
    #[error(
        "no place to keep images: set VIRTMARK_CACHE to a directory (XDG_CACHE_HOME and HOME are not set)"
    )]
    NoCacheDir,

    /// The kernel that runs this machine is not among its files, as in containers and small virtual machines.
    #[error(
        "this machine runs kernel {release}, but has no file of it (looked for {}): run `make setup` for Debian's, or name one with `--kernel FILE --modules DIR`",
        list(tried)
    )]
    NoHostKernel {
        /// Release of the running kernel.
        release: String,
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },

    /// No kernel has been fetched.
    #[error("no {arch} kernel found in {}: run `make setup`, or name one with `--kernel FILE --modules DIR`, or use this machine's own with `--kernel host`", dir.display())]
    NoKernel {
        /// Where kernels are looked for.
        dir: PathBuf,
        /// For which instruction set.
        arch: Arch,
    },

    /// The file is not a kernel.
    #[error("{} is not a kernel for {arch}: found {found} (a bzImage such as /boot/vmlinuz-* or an uncompressed vmlinux is needed)", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// For which instruction set a kernel was wanted.
        arch: Arch,
        /// What it is instead.
        found: String,
    },

    /// No image has this name or id.
    #[error("no image {query:?} in {}: see `virtmark image list`, or build it with `virtmark image build tiny`", dir.display())]
    NotFound {
        /// What was asked for.
        query: String,
        /// Directory of the store.
        dir: PathBuf,
    },

    /// A program that makes file systems is missing, or failed.
    #[error("cannot make a file system with {tool}: {reason}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Says on what an operation of the operating system was attempted.
pub(crate) trait IoContext<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, ImageError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Io { action, path: path.to_owned(), source })
    }
}

impl<T> IoContext<T> for rustix::io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, ImageError> {
        self.map_err(io::Error::from).on(action, path)
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " (give yourself access to it, or set VIRTMARK_CACHE to a directory of your own)"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (make room there, or set VIRTMARK_CACHE to a directory on another disk)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_full_disk_names_the_path_the_way_out_and_the_reason_once() {
        let full: io::Result<()> = Err(rustix::io::Errno::NOSPC.into());
        let error = full.on("write", Path::new("/var/cache/x/kernel")).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot write /var/cache/x/kernel (make room"), "{text}");
        assert!(!text.contains("No space left"), "{text}");
        assert!(error.source().unwrap().to_string().contains("No space left"));
    }

    #[test]
    fn missing_permission_says_what_to_do() {
        let denied: io::Result<()> = Err(rustix::io::Errno::ACCESS.into());
        let text = denied.on("create", Path::new("/c")).unwrap_err().to_string();
        assert!(text.contains("VIRTMARK_CACHE"), "{text}");
    }
}
