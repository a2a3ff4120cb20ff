use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::testing;
use crate::{ExtraFile, KernelFormat, KernelSource};

const RELEASE: &str = "6.1.0-9-test";
const BUSYBOX: &str = "/bin/busybox";
const FIXTURE: &str = "VIRTMARK_IMAGE_TEST_FIXTURE";

/// A directory with a synthetic kernel and its modules, and an empty store.
struct Fixture {
    dir: TempDir,
    store: Store,
    recipe: TinyRecipe,
}

impl Fixture {
    /// `None`, with the reason printed, where there is no busybox to put into an image.
    fn new() -> Option<Self> {
        if !Path::new(BUSYBOX).exists() {
            println!("skipped: there is no {BUSYBOX} here");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let vmlinux = testing::vmlinux(RELEASE, true);
        let (_, packed) = testing::compressions(&vmlinux).swap_remove(0);
        fs::write(dir.path().join("vmlinuz"), testing::bzimage(&packed, RELEASE)).unwrap();
        let modules = dir.path().join("modules");
        fs::create_dir(&modules).unwrap();
        for (name, needs) in [
            ("virtio", &[][..]),
            ("virtio_ring", &[]),
            ("virtio_pci", &["virtio", "virtio-ring"]),
            ("virtio_console", &["virtio"]),
            ("failover", &[]),
            ("virtio_net", &["failover", "virtio"]),
        ] {
            let module = testing::module(name, needs, RELEASE);
            fs::write(modules.join(format!("{name}.ko")), module).unwrap();
        }
        fs::write(modules.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let recipe = recipe(dir.path());
        Some(Self { dir, store, recipe })
    }

    /// The image and what was said while it was made.
    fn ensure(&self) -> (Image, Vec<String>) {
        let mut said = Vec::new();
        let image = self.store.ensure_tiny(&self.recipe, &mut |text| said.push(text.to_owned())).unwrap();
        (image, said)
    }

    fn entries(&self) -> Vec<String> {
        entry_names(&self.store.images()).unwrap()
    }
}

fn recipe(dir: &Path) -> TinyRecipe {
    TinyRecipe {
        kernel: KernelSource::Files { kernel: dir.join("vmlinuz"), modules: Some(dir.join("modules")) },
        extra_files: vec![ExtraFile {
            path: "/etc/motd".to_owned(),
            mode: 0o644,
            contents: b"hello\n".to_vec(),
        }],
        ..TinyRecipe::new(b"an agent".to_vec())
    }
}

/// Files of an initramfs by name, unpacked by busybox.
fn unpack(initramfs: &Path, into: &Path) {
    let status = Command::new(BUSYBOX)
        .args(["cpio", "-i", "-d"])
        .current_dir(into)
        .stdin(File::open(initramfs).unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    // Device nodes need a privilege that tests may not have.
    let _ = status;
}

#[test]
fn an_image_holds_what_a_guest_needs() {
    let Some(fixture) = Fixture::new() else { return };
    let (image, _) = fixture.ensure();
    assert_eq!(image.kernel_release, RELEASE);
    assert_eq!(image.kernel_format, KernelFormat::Elf);
    assert!(image.pvh);
    assert_eq!(image.manifest.builtin_modules, ["ext4"]);
    assert!(image.manifest.absent_modules.contains(&"virtio_blk".to_owned()));
    assert!(fs::read(&image.kernel).unwrap().starts_with(b"\x7fELF"));

    let root = tempfile::tempdir().unwrap();
    unpack(&image.initramfs, root.path());
    let text = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
    assert_eq!(text("init"), "an agent");
    assert_eq!(text("etc/motd"), "hello\n");
    assert_eq!(
        text("etc/virtmark/modules"),
        "/lib/modules/virtmark/virtio.ko\n\
         /lib/modules/virtmark/virtio_ring.ko\n\
         /lib/modules/virtmark/virtio_console.ko\n\
         /lib/modules/virtmark/virtio_pci.ko\n"
    );
    assert_eq!(
        text("etc/virtmark/modules.available"),
        "failover: /lib/modules/virtmark/failover.ko\n\
         virtio: /lib/modules/virtmark/virtio.ko\n\
         virtio_ring: /lib/modules/virtmark/virtio_ring.ko\n\
         virtio_console: /lib/modules/virtmark/virtio_console.ko virtio\n\
         virtio_net: /lib/modules/virtmark/virtio_net.ko failover virtio\n\
         virtio_pci: /lib/modules/virtmark/virtio_pci.ko virtio virtio_ring\n"
    );
    assert_eq!(text("etc/virtmark/modules.builtin"), "ext4\n");
    assert!(text("etc/virtmark/image.json").contains(RELEASE));
    assert!(text("etc/virtmark/applets").lines().all(|line| line.starts_with("/bin/")));
    for link in ["bin/sh", "usr/bin/env", "sbin/ls"] {
        assert_eq!(
            fs::canonicalize(root.path().join(link)).unwrap(),
            root.path().canonicalize().unwrap().join("bin/busybox")
        );
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_another_place() {
    let (Some(one), Some(two)) = (Fixture::new(), Fixture::new()) else { return };
    let (first, second) = (one.ensure().0, two.ensure().0);
    assert_eq!(first.id, second.id);
    assert_eq!(fs::read(&first.initramfs).unwrap(), fs::read(&second.initramfs).unwrap());
    assert_eq!(fs::read(&first.kernel).unwrap(), fs::read(&second.kernel).unwrap());
    assert_eq!(first.initramfs_sha256, crate::digest::sha256_file(&second.initramfs).unwrap());
    assert_eq!(first.id, first.manifest.id());
}

#[test]
fn an_unchanged_image_is_not_built_again() {
    let Some(fixture) = Fixture::new() else { return };
    let (first, said) = fixture.ensure();
    assert!(!said.is_empty());
    let (second, said) = fixture.ensure();
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(first.manifest, second.manifest);
}

#[test]
fn touched_inputs_are_read_again_and_changed_ones_give_another_image() {
    let Some(mut fixture) = Fixture::new() else { return };
    let first = fixture.ensure().0;
    let kernel = fixture.dir.path().join("vmlinuz");
    let contents = fs::read(&kernel).unwrap();
    fs::remove_file(&kernel).unwrap();
    fs::write(&kernel, contents).unwrap();
    let (same, said) = fixture.ensure();
    assert_eq!(same.id, first.id);
    assert!(said[0].contains("has changed"), "{said:?}");
    assert_eq!(fixture.ensure().1, Vec::<String>::new());

    let module = fixture.dir.path().join("modules/virtio.ko");
    let longer = [testing::module("virtio", &[], RELEASE), vec![0; 8]].concat();
    fs::write(module, longer).unwrap();
    let other = fixture.ensure().0;
    assert_ne!(other.id, first.id);

    fixture.recipe.agent = b"another agent".to_vec();
    let third = fixture.ensure().0;
    assert_ne!(third.id, other.id);
    assert_eq!(fixture.store.lookup("tiny", Verify::Quick).unwrap().id, third.id);
    assert_eq!(fixture.store.list().unwrap().len(), 3);
    assert_eq!(fixture.store.lookup(&first.id[..12], Verify::Full).unwrap().id, first.id);
}

#[test]
fn damage_is_found_and_repaired() {
    let Some(fixture) = Fixture::new() else { return };
    let original = fixture.ensure().0;
    let dir = fixture.store.images().join(&original.id);
    let flip = |name: &str| {
        let file = File::options().read(true).write(true).open(dir.join(name)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 1000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 1000).unwrap();
    };
    let truncate = |name: &str| {
        File::options().write(true).open(dir.join(name)).unwrap().set_len(1000).unwrap();
    };
    type Damage<'a> = (&'a str, &'a dyn Fn());
    let damages: [Damage<'_>; 8] = [
        ("kernel", &|| flip("kernel")),
        ("initramfs", &|| flip("initramfs")),
        ("kernel", &|| truncate("kernel")),
        ("initramfs", &|| fs::remove_file(dir.join("initramfs")).unwrap()),
        ("manifest.json", &|| truncate("manifest.json")),
        ("manifest.json", &|| fs::remove_file(dir.join("manifest.json")).unwrap()),
        ("manifest.json", &|| {
            let text = fs::read_to_string(dir.join("manifest.json")).unwrap();
            fs::write(dir.join("manifest.json"), text.replace(RELEASE, "6.6.6-6-evil")).unwrap();
        }),
        ("manifest.json", &|| {
            let text = fs::read_to_string(dir.join("manifest.json")).unwrap();
            let other = text.replace("\"format_version\": 1", "\"format_version\": 99");
            fs::write(dir.join("manifest.json"), other).unwrap();
        }),
    ];
    for (index, (file, damage)) in damages.into_iter().enumerate() {
        damage();
        let error = fixture.store.lookup("tiny", Verify::Quick).unwrap_err();
        assert!(matches!(error, ImageError::Damaged { .. }), "{index}: {error}");
        assert!(error.to_string().contains(file), "{index}: {error}");
        assert!(fixture.store.list().unwrap()[0].state.is_err());
        let (image, said) = fixture.ensure();
        assert!(said.iter().any(|text| text.contains("damaged")), "{index}: {said:?}");
        assert_eq!(image.id, original.id);
        assert_eq!(fixture.store.lookup("tiny", Verify::Full).unwrap().id, original.id);
        assert_eq!(fixture.entries(), [original.id.as_str()]);
    }
}

#[test]
fn a_broken_record_of_checks_only_costs_time() {
    let Some(fixture) = Fixture::new() else { return };
    let image = fixture.ensure().0;
    let verified = fixture.store.images().join(&image.id).join("verified.json");
    let before = fs::read(&verified).unwrap();
    for broken in [&b"nonsense"[..], b"[]"] {
        fs::write(&verified, broken).unwrap();
        assert_eq!(fixture.ensure().1, Vec::<String>::new());
        assert_eq!(fs::read(&verified).unwrap(), before);
    }
}

#[test]
fn what_a_dead_build_left_is_cleared_and_a_running_one_is_not_disturbed() {
    let Some(fixture) = Fixture::new() else { return };
    let half = fixture.store.images().join(".tmp-1-0-1");
    let make = || {
        fs::create_dir(&half).unwrap();
        File::create(half.join("kernel")).unwrap().write_all(b"\x7fELF").unwrap();
    };
    make();
    let lock = Lock::try_store(&fixture.store.lock_path()).unwrap().unwrap();
    Store::open(fixture.store.dir()).unwrap();
    assert!(half.exists());
    drop(lock);
    Store::open(fixture.store.dir()).unwrap();
    assert!(!half.exists());

    make();
    assert!(fixture.store.list().unwrap().is_empty());
    let id = fixture.ensure().0.id;
    Store::open(fixture.store.dir()).unwrap();
    assert_eq!(fixture.entries(), [id]);
}

#[test]
fn a_failed_build_leaves_nothing() {
    let Some(mut fixture) = Fixture::new() else { return };
    fixture.recipe.extra_files[0].path = "/bin/sh".to_owned();
    let error = fixture.store.ensure_tiny(&fixture.recipe, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("bin/sh"), "{error}");
    fs::write(fixture.dir.path().join("vmlinuz"), b"").unwrap();
    let error = fixture.store.ensure_tiny(&fixture.recipe, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ImageError::NotAKernel { .. }), "{error}");
    assert_eq!(fixture.entries(), Vec::<String>::new());
}

#[test]
fn builds_in_threads_and_processes_share_one_entry() {
    let Some(fixture) = Fixture::new() else { return };
    let children: Vec<_> = (0..2)
        .map(|_| {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", "store::tests::child_process", "--ignored", "--nocapture"])
                .env(FIXTURE, fixture.dir.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let threads: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let store = Store::open(fixture.store.dir()).unwrap();
                    store.ensure_tiny(&fixture.recipe, &mut |_| {}).unwrap().id
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("built {}", threads[0])), "{text}");
    }
    assert!(threads.iter().all(|id| *id == threads[0]));
    assert_eq!(fixture.entries(), [threads[0].as_str()]);
    fixture.store.lookup("tiny", Verify::Full).unwrap();
}

#[test]
#[ignore = "run as a child by the test above"]
fn child_process() {
    let Some(dir) = env::var_os(FIXTURE) else {
        println!("skipped: {FIXTURE} is not set");
        return;
    };
    let dir = PathBuf::from(dir);
    let store = Store::open(dir.join("store")).unwrap();
    let image = store.ensure_tiny(&recipe(&dir), &mut |_| {}).unwrap();
    println!("built {}", image.id);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn an_image_in_use_stays_and_a_free_one_goes() {
    let Some(fixture) = Fixture::new() else { return };
    let image = fixture.ensure().0;
    let id = image.id.clone();
    let other_holder = image.clone();
    drop(image);
    let error = fixture.store.remove("tiny").unwrap_err();
    assert!(matches!(error, ImageError::InUse { .. }), "{error}");
    drop(other_holder);
    let lock = Lock::try_store(&fixture.store.lock_path()).unwrap();
    let error = fixture.store.remove("tiny").unwrap_err();
    assert!(matches!(error, ImageError::Busy { .. }), "{error}");
    drop(lock);
    assert_eq!(fixture.store.remove(&id[..8]).unwrap(), id);
    assert!(fixture.entries().is_empty());
    assert!(entry_names(&fixture.store.index()).unwrap().is_empty());
    let error = fixture.store.lookup("tiny", Verify::Quick).unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    assert_eq!(fixture.ensure().0.id, id);
}

#[test]
fn a_damaged_image_can_be_removed_and_is_listed_with_the_reason() {
    let Some(fixture) = Fixture::new() else { return };
    let image = fixture.ensure().0;
    let id = image.id.clone();
    drop(image);
    fs::remove_file(fixture.store.images().join(&id).join("manifest.json")).unwrap();
    let listing = fixture.store.inspect("tiny-x86_64").unwrap();
    assert_eq!(listing.names, ["tiny-x86_64"]);
    assert!(listing.state.unwrap_err().to_string().contains("manifest.json"));
    assert_eq!(fixture.store.remove("tiny").unwrap(), id);
}

#[test]
fn odd_queries_find_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    fs::create_dir(store.images().join("ab".repeat(32))).unwrap();
    fs::create_dir(store.images().join(format!("abab{}", "c".repeat(60)))).unwrap();
    for query in ["", ".", "..", "../lock", "/etc", "aba", "x", "abac"] {
        let error = store.lookup(query, Verify::Quick).unwrap_err();
        assert!(matches!(error, ImageError::NotFound { .. }), "{query}: {error}");
    }
    let error = store.lookup("abab", Verify::Quick).unwrap_err();
    assert!(matches!(error, ImageError::Ambiguous { .. }), "{error}");
}

#[test]
fn a_place_that_cannot_be_a_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let error = Store::open(dir.path().join("file/store")).unwrap_err();
    assert!(error.to_string().contains("file/store/images"), "{error}");
}

#[test]
fn the_cache_directory_follows_the_environment() {
    let dir = |set: &[(&str, &str)]| {
        cache_dir(|name| {
            let value = set.iter().find(|(key, _)| *key == name)?.1;
            Some(PathBuf::from(value))
        })
    };
    let all = [("VIRTMARK_CACHE", "/v"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
    assert_eq!(dir(&all).unwrap(), Path::new("/v"));
    assert_eq!(dir(&all[1..]).unwrap(), Path::new("/x/virtmark"));
    assert_eq!(dir(&all[2..]).unwrap(), Path::new("/h/.cache/virtmark"));
    assert!(matches!(dir(&[]), Err(ImageError::NoCacheDir)));
}
