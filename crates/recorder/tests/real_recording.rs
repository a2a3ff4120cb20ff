//! Real QEMU machines, recorded while they work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::*;
use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{BootImage, Command, Disk, Hypervisor, MachineSpec, Observer};
use virtmark_image::{Store, TinyRecipe};
use virtmark_recorder::{Recorder, RecorderOptions};
use virtmark_timeseries::Function;

const DISK_BYTES: u64 = 32 << 20;

#[test]
fn real_machines_are_recorded_from_their_first_moment_to_their_last() {
    let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
    let images = Store::open(Store::default_dir().unwrap()).unwrap();
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let image = images.ensure_tiny(&recipe, &mut |words| eprintln!("{words}")).unwrap();
    let boot = BootImage::of(&image);
    let roots = Roots::new(place.path().join("run"), [place.path().join("bulk")]);
    let run_dir = Arc::new(RunDir::create_in(roots).unwrap());
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Tcg,
        cache: images.dir().to_path_buf(),
        vcpus: 1,
    };
    let qemu = Qemu::new(&options, &boot, run_dir, &mut |words| eprintln!("{words}")).unwrap();
    let spec = MachineSpec {
        name: "m".into(),
        vcpus: 2,
        memory_bytes: 128 << 20,
        image: Some(boot),
        disks: vec![Disk { name: "data".into(), size_bytes: DISK_BYTES }],
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: false,
        ready_timeout: Duration::from_secs(60),
    };

    let world = World::new();
    let tick = Duration::from_millis(100);
    let options = RecorderOptions {
        ask_interval: tick,
        labels: vec![("hypervisor".into(), "qemu".into())],
        ..RecorderOptions::every(tick)
    };
    let recorder = Recorder::open(&world.store, 1, options, world.notice()).unwrap();
    let (mut machine, _) = qemu.create(&spec).unwrap();
    recorder.created(&*machine);
    machine.start().unwrap();
    recorder.running(&*machine);
    let script = "dd if=/dev/zero of=/dev/vda bs=64k count=256 conv=fsync 2>/dev/null; \
                  end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do :; done; echo done";
    let output = machine.guest().unwrap().exec(&Command::shell(script)).unwrap();
    assert_eq!(output.stdout, b"done\n");
    let probe = machine.probe().unwrap();
    recorder.ending(&*machine);
    machine.destroy().unwrap();
    assert!(probe.observe(&mut |_, _, _, _| ()).is_err(), "a destroyed machine tells nothing");
    let summary = recorder.finish().unwrap();
    eprintln!("{summary}");
    assert_eq!(world.notices(), Vec::<String>::new());

    let grown = |selector: &str| {
        let points = query(&world.store, selector, 0, Function::Increase).points;
        points.iter().map(|point| point.value).sum::<f64>()
    };
    let last = |selector: &str| kept(&world.store, selector).summaries.last().unwrap().1.last.unwrap();
    // Both virtual CPUs booted and one of them was busy for three seconds.
    let both = grown("vcpu_time_seconds_total{machine=m,vcpu=0}")
        + grown("vcpu_time_seconds_total{machine=m,vcpu=1}");
    assert!(both > 2.0, "{both} s of virtual CPUs");
    assert!(last("vmm_cpu_seconds_total") >= both * 0.9);
    assert!(last("vcpu_steal_seconds_total") > 0.0);
    assert!(last("vmm_resident_bytes") > 40e6);
    assert!(last("vmm_open_fds") > 5.0);
    assert_eq!(last("guest_memory_bytes{hypervisor=qemu,machine=m}"), f64::from(128 << 20));
    assert!((3.0..100.0).contains(&last("vmm_uptime_seconds")));
    let requests = last("blk_requests_total{disk=data,op=write}");
    assert!(requests > 0.0 && last("blk_requests_total{disk=data,op=flush}") > 0.0);
    assert_eq!(last("blk_bytes_total{direction=write}"), f64::from(16 << 20));
    assert!(last("blk_request_seconds{op=write}") > 0.0);
    let busy = grown("guest_cpu_seconds_total{mode=user}") + grown("guest_cpu_seconds_total{mode=system}");
    let idle = grown("guest_cpu_seconds_total{mode=idle}");
    assert!(busy > 1.0 && idle > 0.1, "{busy} s busy and {idle} s idle");
    assert!((10e6..128e6).contains(&last("guest_memory_available_bytes")));
    assert!(last("guest_run_queue") >= 1.0 && last("guest_load1") >= 0.0);
    // There is nothing that counts exits under emulation, and no network.
    assert!(!has(&world.store, "vcpu_exits_total") && !has(&world.store, "net_bytes_total"));

    // Each second of its life has its samples, ten of them where it was there all the time.
    let kept = kept(&world.store, "vmm_uptime_seconds").summaries;
    let seconds = (kept.last().unwrap().0 - kept[0].0) / 1_000_000_000 + 1;
    assert_eq!(kept.len() as u64, seconds);
    let whole = &kept[1..kept.len() - 1];
    let samples: u64 = whole.iter().map(|(_, summary)| summary.count.unwrap()).sum();
    assert!(
        samples + summary.missed_ticks >= whole.len() as u64 * 10,
        "{samples} in {} s, {summary}",
        whole.len()
    );
}
