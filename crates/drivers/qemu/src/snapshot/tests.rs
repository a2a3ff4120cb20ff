#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::FileExt;

use super::*;

const MEMORY: &[u8] = &[7; 4096];

fn shape() -> Shape {
    Shape {
        qemu_version: "7.2".into(),
        accelerator: Accelerator::Tcg,
        machine: "pc".into(),
        vcpus: 1,
        memory_bytes: 4096,
        networks: 0,
    }
}

fn spec() -> MachineSpec {
    MachineSpec {
        name: "m".into(),
        vcpus: 1,
        memory_bytes: 4096,
        image: None,
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: vec![],
        snapshots: true,
        confined: false,
        ready_timeout: std::time::Duration::from_secs(1),
    }
}

fn kept(place: &Path) -> Files {
    let draft = Draft::begin(&place.join("s")).unwrap();
    draft.device_state().unwrap().write_all_at(b"state", 0).unwrap();
    draft.memory().unwrap().write_all_at(MEMORY, 0).unwrap();
    let snapshot = draft.finish(shape(), crc32c::crc32c(MEMORY), &mut []).unwrap();
    Files::in_directory(&snapshot.directory)
}

fn refusal(files: &Files) -> String {
    files.open(&shape(), &spec()).unwrap_err().to_string()
}

#[test]
fn a_whole_snapshot_opens_and_a_damaged_one_does_not() {
    let place = tempfile::tempdir().unwrap();
    let files = kept(place.path());
    let opened = files.open(&shape(), &spec()).unwrap();
    assert_eq!(opened.memory, files.memory());

    // One bit, and then the same content again.
    let memory = File::options().write(true).open(files.memory()).unwrap();
    memory.write_all_at(&[6], 1234).unwrap();
    let text = refusal(&files);
    assert!(text.contains("memory has the checksum") && text.contains("take a new one"), "{text}");
    memory.write_all_at(&[7], 1234).unwrap();
    assert!(files.open(&shape(), &spec()).is_ok());

    fs::write(files.device_state(), b"sta").unwrap();
    assert!(refusal(&files).contains("device-state has 3 bytes instead of 5"));
    fs::write(files.device_state(), b"stats").unwrap();
    assert!(refusal(&files).contains("device-state has the checksum"));
    fs::remove_file(files.device_state()).unwrap();
    assert!(refusal(&files).contains("device-state is missing"));
}

#[test]
fn a_damaged_manifest_and_another_format_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let files = kept(place.path());
    fs::write(files.manifest(), b"{\"format\": 2").unwrap();
    assert!(refusal(&files).contains("snapshot.json is damaged"));
    fs::write(files.manifest(), b"{\"format\": 1, \"qemu_version\": \"7.2\"}").unwrap();
    let text = refusal(&files);
    assert!(
        text.contains("it has format 1, and this virtmark reads 2") && text.contains("take a new one"),
        "{text}"
    );
    fs::remove_file(files.manifest()).unwrap();
    assert!(refusal(&files).contains("it has no snapshot.json"));
}

#[test]
fn the_manifest_has_these_words() {
    let place = tempfile::tempdir().unwrap();
    let files = kept(place.path());
    let text = fs::read_to_string(files.manifest()).unwrap();
    let (memory, state) = (crc32c::crc32c(MEMORY), crc32c::crc32c(b"state"));
    let expected = [
        r#"{"format":2,"qemu_version":"7.2","accelerator":"tcg","machine":"pc","vcpus":1,"memory_bytes":4096,"#.into(),
        format!(r#""memory":{{"bytes":4096,"crc32c":{memory}}},"#),
        format!(r#""device_state":{{"bytes":5,"crc32c":{state}}},"disks":[]}}"#),
    ];
    let words: String = text.split_whitespace().collect();
    assert_eq!(words, expected.concat());
}

#[test]
fn a_draft_leaves_nothing_and_takes_no_others_place() {
    let place = tempfile::tempdir().unwrap();
    let draft = Draft::begin(&place.path().join("s")).unwrap();
    draft.memory().unwrap();
    assert!(!place.path().join("s").exists());
    drop(draft);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);

    let draft = Draft::begin(&place.path().join("s")).unwrap();
    draft.device_state().unwrap();
    let files = kept(place.path());
    assert!(Draft::begin(&place.path().join("s")).is_err());
    // Begun before the other one was there, and finished after it.
    assert!(draft.finish(shape(), 0, &mut []).is_err());
    assert!(files.open(&shape(), &spec()).is_ok());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn what_a_killed_process_left_goes_with_the_next_draft() {
    let place = tempfile::tempdir().unwrap();
    let left = place.path().join(".partial-other-1-0");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("memory"), MEMORY).unwrap();
    let others = [".partial-is-a-file", "partial-not-one"].map(|name| place.path().join(name));
    fs::write(&others[0], "x").unwrap();
    fs::create_dir(&others[1]).unwrap();
    let first = Draft::begin(&place.path().join("first")).unwrap();
    assert!(!left.exists() && others.iter().all(|path| path.exists()));
    // Somebody works on the first one.
    let second = Draft::begin(&place.path().join("second")).unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 4);
    drop((first, second));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn a_full_disk_is_said_to_be_the_snapshots() {
    let place = tempfile::tempdir().unwrap();
    let draft = Draft::begin(&place.path().join("s")).unwrap();
    let error = draft.explain(Error::io("write")(io::ErrorKind::StorageFull.into()));
    assert!(matches!(&error, Error::DiskFull { path, .. } if path.ends_with("s")), "{error}");
    assert!(matches!(draft.explain(Error::io("write")(io::ErrorKind::NotFound.into())), Error::Io { .. }));
}

#[test]
fn a_machine_of_another_shape_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let files = kept(place.path());
    let larger = Shape { memory_bytes: 8192, ..shape() };
    let error = files.open(&larger, &spec()).unwrap_err();
    assert!(error.to_string().contains("memory bytes 4096, the machine 8192"), "{error}");
    assert!(files.open(&Shape { qemu_version: "8.0".into(), ..shape() }, &spec()).is_err());
    assert!(files.open(&Shape { accelerator: Accelerator::Kvm, ..shape() }, &spec()).is_err());
    let disks = vec![Disk { name: "data".into(), size_bytes: 512 }];
    let error = files.open(&shape(), &MachineSpec { disks, ..spec() }).unwrap_err();
    assert!(error.to_string().contains("disks none, the machine data of 512 bytes"), "{error}");
}
