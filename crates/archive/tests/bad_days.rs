//! Each bad day has an error of its own, and leaves what was there as it was.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{impatient, new_archive, run, success};
use rusqlite::Connection;
use rustix::fs::Uid;
use virtmark_archive::{Archive, Error, RunFilter};

fn new_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive.sqlite");
    (directory, path)
}

#[test]
fn a_lock_is_waited_for_and_then_told_with_its_holder() {
    let (_directory, archive) = new_archive();
    let path = archive.path().to_owned();
    let archive = impatient().open(path).unwrap();
    let mut writer = archive.begin(&run(0)).unwrap();
    writer.record(&success(0, 1.0)).unwrap();

    let other = Connection::open(archive.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE runs SET scenario = 'held'").unwrap();
    let started = Instant::now();
    let error = writer.record(&success(1, 2.0)).unwrap_err();
    let waited = started.elapsed();
    assert!((Duration::from_millis(100)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    let Error::Locked { holder, .. } = &error else { panic!("{error}") };
    if Path::new("/proc/locks").exists() {
        assert_eq!(holder.as_ref().unwrap().pid, std::process::id());
        assert!(
            error.to_string().contains(&format!("locked by process {} (", std::process::id())),
            "{error}"
        );
    }
    // Reading goes on beside a writer.
    assert_eq!(archive.samples(&run(0).id).unwrap().len(), 1);

    other.execute_batch("ROLLBACK").unwrap();
    writer.record(&success(1, 2.0)).unwrap();
    assert_eq!(archive.samples(&run(0).id).unwrap(), [success(0, 1.0), success(1, 2.0)]);
}

#[test]
fn an_archive_locked_as_a_whole_is_not_opened() {
    let (_directory, archive) = new_archive();
    let path = archive.path().to_owned();
    drop(archive);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    for result in [impatient().open(&path), impatient().open_read_only(&path)] {
        assert!(matches!(result, Err(Error::Locked { .. })), "{result:?}");
    }
}

#[test]
fn a_newer_version_is_left_untouched() {
    let (_directory, archive) = new_archive();
    let path = archive.path().to_owned();
    drop(archive);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let before = fs::read(&path).unwrap();
    for result in [Archive::open(&path), Archive::open_read_only(&path)] {
        assert!(matches!(result, Err(Error::NewerVersion { found: 1000, supported: 1, .. })), "{result:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_database_is_left_untouched() {
    for garbage in [b"hello".to_vec(), b"not a database ".repeat(1000)] {
        let (_directory, path) = new_path();
        fs::write(&path, &garbage).unwrap();
        for result in [Archive::open(&path), Archive::open_read_only(&path)] {
            assert!(matches!(result, Err(Error::Damaged { .. })), "{result:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), garbage);
    }
}

#[test]
fn a_database_of_another_program_is_left_untouched() {
    let (directory, path) = new_path();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    for result in [Archive::open(&path), Archive::open_read_only(&path), Archive::open(directory.path())] {
        assert!(matches!(result, Err(Error::NotAnArchive { .. })), "{result:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn damage_in_the_middle_is_found_when_it_is_read() {
    let (_directory, archive) = new_archive();
    let path = archive.path().to_owned();
    let mut writer = archive.begin(&run(0)).unwrap();
    for seq in 0..200 {
        writer.record(&success(seq, 1.0)).unwrap();
    }
    drop(writer);
    drop(archive);
    let mut bytes = fs::read(&path).unwrap();
    // All but the first page, which holds the header and the tables' definitions.
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let archive = Archive::open_read_only(&path).unwrap();
    let result = archive.samples(&run(0).id);
    assert!(matches!(result, Err(Error::Damaged { .. })), "{result:?}");
    let result = archive.runs(&RunFilter::default());
    assert!(matches!(result, Err(Error::Damaged { .. })), "{result:?}");
}

#[test]
fn a_row_that_no_version_wrote_is_damage_and_not_a_value() {
    let (_directory, archive) = new_archive();
    archive.begin(&run(0)).unwrap().record(&success(0, 1.0)).unwrap();
    let other = Connection::open(archive.path()).unwrap();
    other.execute("UPDATE samples SET unit = 'furlong'", []).unwrap();
    let error = archive.samples(&run(0).id).unwrap_err();
    assert!(matches!(&error, Error::Damaged { reason, .. } if reason.contains("furlong")), "{error}");
    // The tables themselves keep a failure from carrying a value.
    let refused =
        other.execute("UPDATE samples SET outcome = 'failure', failure_class = 'other', message = ''", []);
    assert!(refused.unwrap_err().to_string().contains("CHECK constraint"));
}

#[test]
fn an_archive_deleted_or_moved_under_its_writer_is_told_before_a_sample_is_lost() {
    for replace in [false, true] {
        let (directory, archive) = new_archive();
        let mut writer = archive.begin(&run(0)).unwrap();
        writer.record(&success(0, 1.0)).unwrap();
        fs::rename(archive.path(), directory.path().join("elsewhere.sqlite")).unwrap();
        if replace {
            fs::write(archive.path(), "").unwrap();
        }
        let error = writer.record(&success(1, 1.0)).unwrap_err();
        assert!(matches!(error, Error::Moved { .. }), "{error}");
    }
}

#[test]
fn reading_makes_no_archive() {
    let (_directory, path) = new_path();
    assert!(matches!(Archive::open_read_only(&path), Err(Error::Missing { .. })));
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    assert!(matches!(Archive::open_read_only(&path), Err(Error::Missing { .. })));
}

#[test]
fn a_full_disk_keeps_what_was_stored() {
    // A file system of 1 MiB where one may be mounted; no other way fills a disk without filling somebody's disk.
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    let ballast = disk.path.join("ballast");
    fs::write(&ballast, vec![0; 256 << 10]).unwrap();
    let archive = Archive::open(disk.path.join("archive.sqlite")).unwrap();
    let mut writer = archive.begin(&run(0)).unwrap();
    let mut stored = 0;
    let error = loop {
        match writer.record(&success(stored, 1.0)) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100_000, "the disk never filled");
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(stored > 0);
    assert_eq!(archive.samples(&run(0).id).unwrap().len() as u64, stored);

    // With space again the same run goes on.
    fs::remove_file(&ballast).unwrap();
    writer.record(&success(stored, 1.0)).unwrap();
    stored += 1;
    drop((writer, archive));
    let archive = Archive::open_read_only(disk.path.join("archive.sqlite")).unwrap();
    assert_eq!(archive.samples(&run(0).id).unwrap().len() as u64, stored);

    fs::write(&ballast, vec![0; 2 << 20]).unwrap_err();
    let result = Archive::open(disk.path.join("other.sqlite"));
    assert!(matches!(result, Err(Error::DiskFull { .. })), "{result:?}");
}

/// A mounted tmpfs of 1 MiB; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self { path: path.to_owned() })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} is still mounted", self.path.display());
    }
}

/// Runs `body` as a user whom permissions apply to, in a thread of its own when this user is root.
fn unprivileged<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let nobody = Uid::from_raw(65_534);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            body()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_directory_without_write_permission_is_told() {
    let (directory, path) = new_path();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let below = directory.path().join("below/archive.sqlite");
    for path in [path, below] {
        let result = unprivileged(|| Archive::open(&path));
        assert!(matches!(result, Err(Error::PermissionDenied { .. })), "{result:?}");
    }
}

#[test]
fn an_archive_of_another_user_can_be_read_and_not_written() {
    let (directory, archive) = new_archive();
    let path = archive.path().to_owned();
    archive.begin(&run(0)).unwrap().record(&success(0, 1.0)).unwrap();
    // Closing the last connection leaves the one file.
    drop(archive);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let samples = unprivileged(|| Archive::open_read_only(&path).unwrap().samples(&run(0).id).unwrap());
    assert_eq!(samples, [success(0, 1.0)]);
    let result = unprivileged(|| Archive::open(&path));
    assert!(matches!(result, Err(Error::PermissionDenied { .. })), "{result:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let result = unprivileged(|| Archive::open_read_only(&path));
    assert!(matches!(result, Err(Error::PermissionDenied { .. })), "{result:?}");
}
