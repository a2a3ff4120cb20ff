//! Finds the files that a recipe means.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::IoContext;
use crate::{Arch, ImageError, KernelSource, TinyRecipe};

const HOST_BUSYBOX: &str = "/bin/busybox";

/// The files of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) kernel: PathBuf,
    /// `None` when the kernel has no modules.
    pub(crate) modules: Option<PathBuf>,
    pub(crate) busybox: PathBuf,
}

impl Sources {
    /// Finds the files of `recipe`; Debian's kernels lie unpacked in `kernels`.
    pub(crate) fn find(recipe: &TinyRecipe, kernels: &Path) -> Result<Self, ImageError> {
        let (kernel, modules) = match &recipe.kernel {
            KernelSource::Debian => newest_debian(kernels, recipe.arch)?,
            KernelSource::Files { kernel, modules } => (kernel.clone(), modules.clone()),
            KernelSource::Host => {
                let release = rustix::system::uname().release().to_string_lossy().into_owned();
                host(Path::new("/"), &release)?
            }
        };
        let busybox = recipe.busybox.clone();
        Ok(Self { kernel, modules, busybox: busybox.unwrap_or_else(|| PathBuf::from(HOST_BUSYBOX)) })
    }
}

/// The kernel of the newest unpacked package `PACKAGE_VERSION` below `kernels`.
fn newest_debian(kernels: &Path, arch: Arch) -> Result<(PathBuf, Option<PathBuf>), ImageError> {
    let missing = || ImageError::NoKernel { dir: kernels.to_owned(), arch };
    let entries = match fs::read_dir(kernels) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().on("list", kernels)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(error).on("list", kernels),
    };
    let mut packages: Vec<(String, PathBuf)> = entries
        .into_iter()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (package, version) = name.split_once('_')?;
            (package.ends_with(arch.debian_kernel_flavour()) && !package.starts_with('.'))
                .then(|| (version.to_owned(), entry.path()))
        })
        .collect();
    packages.sort_by(|(a, _), (b, _)| compare_versions(b, a));
    for (_, package) in packages {
        if let Some((kernel, release)) = vmlinuz_in(&package.join("boot")) {
            let modules = modules_of(&package, &release);
            return Ok((kernel, modules));
        }
    }
    Err(missing())
}

fn vmlinuz_in(boot: &Path) -> Option<(PathBuf, String)> {
    let mut found: Vec<_> = fs::read_dir(boot)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let release = name.strip_prefix("vmlinuz-")?.to_owned();
            Some((entry.path(), release))
        })
        .collect();
    found.sort_by(|(_, a), (_, b)| compare_versions(a, b));
    found.pop()
}

fn host(root: &Path, release: &str) -> Result<(PathBuf, Option<PathBuf>), ImageError> {
    let tried = vec![
        root.join(format!("boot/vmlinuz-{release}")),
        root.join(format!("lib/modules/{release}/vmlinuz")),
    ];
    match tried.iter().find(|path| path.exists()) {
        Some(kernel) => Ok((kernel.clone(), modules_of(root, release))),
        None => Err(ImageError::NoHostKernel { release: release.to_owned(), tried }),
    }
}

fn modules_of(root: &Path, release: &str) -> Option<PathBuf> {
    ["lib/modules", "usr/lib/modules"].iter().map(|dir| root.join(dir).join(release)).find(|dir| dir.is_dir())
}

/// Orders versions as Debian does (Debian Policy 5.6.12): runs of digits by value, other characters with `~` before
/// everything, also before the end, and letters before the rest.
fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        loop {
            let (left, right) = (weight(a), weight(b));
            if left != right {
                return left.cmp(&right);
            }
            if left == 0 {
                break;
            }
            (a, b) = (&a[1..], &b[1..]);
        }
        if a.is_empty() && b.is_empty() {
            return Ordering::Equal;
        }
        let (left, right) = (take_number(&mut a), take_number(&mut b));
        let ordering = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

/// Rank of the first character among non-digits; digits and the end are zero.
fn weight(text: &[u8]) -> i32 {
    match text.first() {
        None | Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

/// The digits at the start, without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    *text = rest;
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let sorted = [
            "6.1~rc1",
            "6.1",
            "6.1-1",
            "6.1.9-1",
            "6.1.10-1~bpo",
            "6.1.10-1",
            "6.1.10-1+b1",
            "6.1.010-2",
            "6.12.1",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn the_newest_whole_package_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for package in
            ["linux-image-6.1.0-9-cloud-amd64_6.1.9-1", "linux-image-6.1.0-10-cloud-amd64_6.1.27-1"]
        {
            let release = package.split('_').next().unwrap().strip_prefix("linux-image-").unwrap();
            touch(dir.path().join(package).join(format!("boot/vmlinuz-{release}")));
            touch(dir.path().join(package).join(format!("lib/modules/{release}/modules.order")));
        }
        touch(dir.path().join("linux-image-6.2-cloud-amd64_6.2-1/boot/config"));
        touch(dir.path().join("linux-image-6.9-amd64_6.9-1/boot/vmlinuz-6.9-amd64"));
        touch(dir.path().join(".tmp.linux-image-7-cloud-amd64_7-1/boot/vmlinuz-7"));
        let (kernel, modules) = newest_debian(dir.path(), Arch::X86_64).unwrap();
        let package = dir.path().join("linux-image-6.1.0-10-cloud-amd64_6.1.27-1");
        assert_eq!(kernel, package.join("boot/vmlinuz-6.1.0-10-cloud-amd64"));
        assert_eq!(modules, Some(package.join("lib/modules/6.1.0-10-cloud-amd64")));
    }

    #[test]
    fn without_a_kernel_the_error_names_all_ways_to_one() {
        let dir = tempfile::tempdir().unwrap();
        for place in [dir.path().to_owned(), dir.path().join("nothing")] {
            let text = newest_debian(&place, Arch::X86_64).unwrap_err().to_string();
            for way in ["make setup", "--kernel FILE --modules DIR", "--kernel host"] {
                assert!(text.contains(way), "{text}");
            }
        }
    }

    #[test]
    fn the_hosts_kernel_is_found_in_both_places_or_named_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let error = host(dir.path(), "6.9").unwrap_err().to_string();
        assert!(error.contains("boot/vmlinuz-6.9") && error.contains("lib/modules/6.9/vmlinuz"), "{error}");
        touch(dir.path().join("usr/lib/modules/6.9/modules.dep"));
        touch(dir.path().join("boot/vmlinuz-6.9"));
        let (kernel, modules) = host(dir.path(), "6.9").unwrap();
        assert_eq!(kernel, dir.path().join("boot/vmlinuz-6.9"));
        assert_eq!(modules, Some(dir.path().join("usr/lib/modules/6.9")));
    }
}
