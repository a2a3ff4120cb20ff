//! An image of a real kernel, where one has been unpacked in the cache (`make setup`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use virtmark_image::{ImageError, KernelFormat, KernelSource, Store, TinyRecipe, Verify};

#[test]
fn debians_kernel_becomes_an_image_that_starts_without_firmware() {
    let Some((kernels, busybox)) = prerequisites() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    std::os::unix::fs::symlink(kernels, store.kernels_dir()).unwrap();
    let recipe = TinyRecipe::new(fs::read(busybox).unwrap());
    assert_eq!(recipe.kernel, KernelSource::Debian);

    let image = match store.ensure_tiny(&recipe, &mut |text| println!("{text}")) {
        Err(error @ ImageError::NoKernel { .. }) => {
            println!("skipped: {error}");
            return;
        }
        built => built.unwrap(),
    };
    assert_eq!(image.kernel_format, KernelFormat::Elf);
    assert!(image.pvh);
    assert!(image.kernel_release.ends_with("cloud-amd64"), "{}", image.kernel_release);
    let early: Vec<&str> = image
        .manifest
        .modules
        .iter()
        .filter(|module| module.early)
        .map(|module| module.name.as_str())
        .collect();
    for name in ["virtio", "virtio_ring", "virtio_pci", "virtio_console"] {
        assert!(early.contains(&name), "{name} in {early:?}");
    }
    let initramfs = fs::read(&image.initramfs).unwrap();
    let signature = b"~Module signature appended~";
    assert!(!initramfs.windows(signature.len()).any(|window| window == signature));

    let start = Instant::now();
    let again = store.ensure_tiny(&recipe, &mut |_| {}).unwrap();
    println!("asking again took {:?}", start.elapsed());
    assert_eq!(again.id, image.id);
    assert_eq!(store.lookup("tiny", Verify::Full).unwrap().id, image.id);
    println!("{}", serde_json::to_string_pretty(&image.manifest).unwrap());
}

/// The kernels in the cache of whoever runs the test, and a busybox.
fn prerequisites() -> Option<(PathBuf, &'static Path)> {
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        println!("skipped: there is no {}", busybox.display());
        return None;
    }
    let kernels = Store::default_dir().ok()?.join("kernels");
    if !kernels.is_dir() {
        println!("skipped: no kernel is unpacked in {} (run `make setup`)", kernels.display());
        return None;
    }
    Some((kernels, busybox))
}
