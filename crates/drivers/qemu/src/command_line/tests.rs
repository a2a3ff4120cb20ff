use super::*;
use std::time::Duration;
use virtmark_hypervisor::Disk;
use virtmark_model::ImageFacts;

fn line(memory: Memory<'_>, incoming: bool) -> String {
    line_with(memory, incoming, 2, &[])
}

fn line_with(memory: Memory<'_>, incoming: bool, vcpus: u32, disks: &[Disk]) -> String {
    line_of(memory, incoming, vcpus, disks, &Tuning::default())
}

fn line_of(memory: Memory<'_>, incoming: bool, vcpus: u32, disks: &[Disk], tuning: &Tuning) -> String {
    let spec = MachineSpec {
        name: "a,b".into(),
        vcpus,
        memory_bytes: 256 << 20,
        image: None,
        disks: disks.to_vec(),
        networks: Vec::new(),
        kernel_arguments: vec!["workload_duration=15".into()],
        snapshots: false,
        confined: false,
        ready_timeout: Duration::from_secs(1),
    };
    let image =
        BootImage { kernel: "/k".into(), initramfs: "/i".into(), root: None, facts: ImageFacts::default() };
    let raw = |fd| DiskFile { fd, format: Format::Raw };
    let overlay = |fd| DiskFile { fd, format: Format::Qcow2 };
    let files = |_| match incoming {
        false => DiskFiles { layers: Vec::new(), top: raw(7) },
        true => DiskFiles { layers: vec![raw(7), overlay(8)], top: overlay(9) },
    };
    let disk_files: Vec<DiskFiles> = disks.iter().map(files).collect();
    let command_line = CommandLine {
        accelerator: Accelerator::Tcg,
        disks: &disk_files,
        image: &image,
        incoming,
        memory,
        nics: &[],
        plan: &BootPlan::choose(Accelerator::Tcg, vcpus),
        sockets: Sockets { agent: 5, console: 4, qmp: 3 },
        spec: &spec,
        tuning,
    };
    let arguments = command_line.arguments();
    arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_machine_has_what_was_asked_for_and_no_default_devices() {
    let line = line(Memory::Anonymous, false);
    assert!(line.starts_with("-nodefaults -no-user-config -no-reboot -S "), "{line}");
    assert!(line.contains("-name a,,b,debug-threads=on -accel tcg "), "{line}");
    assert!(line.contains("-smp 2 "), "{line}");
    assert!(line.contains("-m 268435456B "), "{line}");
    assert!(line.contains(" workload_duration=15 "), "{line}");
    assert!(line.contains("-object memory-backend-ram,id=memory,size=268435456B "), "{line}");
    assert!(!line.contains("-incoming"), "{line}");
}

#[test]
fn memory_is_shared_for_snapshots_and_private_over_them() {
    let shared = line(Memory::Shared(9), false);
    assert!(shared.contains("share=on,mem-path=/proc/self/fd/9 "), "{shared}");
    let private = line(Memory::PrivateOver(Path::new("/s,n/memory")), true);
    assert!(private.contains("share=off,mem-path=/s,,n/memory "), "{private}");
    assert!(private.ends_with("-incoming defer"), "{private}");
}

#[test]
fn a_remedy_changes_what_it_is_for_and_nothing_else() {
    let disk = [Disk { name: "data".into(), size_bytes: 1 << 20 }];
    let with = |tuning: Tuning| line_of(Memory::Anonymous, false, 4, &disk, &tuning);
    let usual = with(Tuning::default());
    let huge = with(Tuning { huge_pages: true, ..Tuning::default() });
    let object = "-object memory-backend-memfd,id=memory,size=268435456B,share=off,hugetlb=on ";
    assert!(huge.contains(object), "{huge}");
    assert_eq!(huge.replace(object, "-object memory-backend-ram,id=memory,size=268435456B "), usual);
    let parts = [
        (Tuning { io_thread: true, ..Tuning::default() }, &["-object iothread,id=io ", ",iothread=io"][..]),
        (
            Tuning { direct: Some(Aio::Native), ..Tuning::default() },
            &[",cache.direct=on,file.driver", ",file.cache.direct=on,file.aio=native"],
        ),
        (
            Tuning { direct: Some(Aio::Threads), ..Tuning::default() },
            &[",cache.direct=on,file.driver", ",file.cache.direct=on,file.aio=threads"],
        ),
        (Tuning { large_queues: true, ..Tuning::default() }, &[",queue-size=1024"]),
        (
            Tuning { topology: Some(Topology { sockets: 1, cores: 2, threads: 2 }), ..Tuning::default() },
            &[",sockets=1,cores=2,threads=2"],
        ),
    ];
    for (tuning, added) in parts {
        let mut line = with(tuning);
        for part in added {
            assert_eq!(line.matches(part).count(), 1, "{part} in {line}");
            // The option that others begin with stays.
            let rest = if part.ends_with("file.driver") { ",file.driver" } else { "" };
            line = line.replace(part, rest);
        }
        assert_eq!(line, usual);
    }
    // The rest is none of the command line's business: threads are pinned when they are there.
    assert_eq!(with(Tuning { pinned: vec![0, 1, 2, 3], ..Tuning::default() }), usual);
}

#[test]
fn every_layer_of_a_disk_is_read_past_the_page_cache() {
    let disk = [Disk { name: "data".into(), size_bytes: 1 << 20 }];
    let tuning = Tuning { direct: Some(Aio::Native), ..Tuning::default() };
    let line = line_of(Memory::Anonymous, true, 1, &disk, &tuning);
    assert_eq!(line.matches("-blockdev").count(), 3, "{line}");
    assert_eq!(line.matches(",cache.direct=on").count(), 3, "{line}");
    assert_eq!(line.matches(",file.cache.direct=on,file.aio=native").count(), 3, "{line}");
}

#[test]
fn disks_come_with_the_module_that_drives_them() {
    let disk = Disk { name: "data".into(), size_bytes: 1 << 20 };
    let line = line_with(Memory::Anonymous, false, 1, std::slice::from_ref(&disk));
    assert!(line.contains(" virtmark.modules=virtio_blk workload_duration=15 "), "{line}");
    let blockdev = "driver=raw,node-name=disk-data,discard=unmap,file.driver=file,file.locking=off,file.filename=/dev/fdset/7 ";
    assert!(line.contains("-add-fd fd=7,set=7,opaque=disk-data ") && line.contains(blockdev), "{line}");
    assert!(line.contains("serial=data,disable-legacy=on,vectors=0"), "{line}");
    let line = line_with(Memory::Anonymous, false, 2, &[disk]);
    assert!(!line.contains("vectors="), "{line}");
    assert!(!line_with(Memory::Anonymous, false, 1, &[]).contains("virtmark.modules"));
}

#[test]
fn a_disk_of_the_root_becomes_the_root() {
    let disk = Disk { name: ROOT.into(), size_bytes: 1 << 20 };
    let line = line_with(Memory::Anonymous, false, 1, &[disk]);
    assert!(
        line.contains(" virtmark.modules=virtio_blk virtmark.root=root,rw hostname=a,b workload_duration=15"),
        "{line}"
    );
}

#[test]
fn layers_lie_below_what_is_written_to() {
    let disk = Disk { name: "data".into(), size_bytes: 1 << 20 };
    let line = line_with(Memory::Anonymous, true, 1, &[disk]);
    let parts = [
        "driver=raw,node-name=disk-data.l0,read-only=on,file.driver=file,file.locking=off,file.filename=/dev/fdset/7 ",
        "driver=qcow2,node-name=disk-data.l1,read-only=on,backing=disk-data.l0,file.driver=file,",
        "driver=qcow2,node-name=disk-data,discard=unmap,backing=disk-data.l1,file.driver=file,",
        "drive=disk-data,serial=data,",
    ];
    let found: Vec<_> = parts.iter().map(|part| line.find(part)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?} in {line}");
}
