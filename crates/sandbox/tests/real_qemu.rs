//! The service over real QEMU machines, under software emulation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::process::live_children;
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{BootImage, Cancel};
use virtmark_image::{Image, Store, TinyRecipe};
use virtmark_sandbox::api::*;
use virtmark_sandbox::{Error, Images, Options, Result, Service};

/// What an idle sandbox may cost beyond what it shares with its template or snapshot.
const PRIVATE_LIMIT_BYTES: u64 = 60_000_000;

struct Tiny(Image);

impl Images for Tiny {
    fn resolve(&self, name: Option<&ImageName>) -> Result<BootImage> {
        match name {
            Some(name) if name.as_str() != "tiny" => {
                Err(Error::ImageUnknown { image: name.to_string(), known: self.names() })
            }
            _ => Ok(BootImage::of(&self.0)),
        }
    }

    fn names(&self) -> Vec<String> {
        vec!["tiny".into()]
    }
}

/// A place for services, each with a platform of its own, as after a restart.
struct Place {
    directory: tempfile::TempDir,
    services: u32,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("sb").tempdir_in("/tmp").unwrap(), services: 0 }
    }

    fn state(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    fn service(&mut self, change: impl FnOnce(&mut Options)) -> Arc<Service> {
        self.services += 1;
        let place = self.directory.path();
        let store = Store::open(Store::default_dir().unwrap()).unwrap();
        let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
        let image = store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}")).unwrap();
        let roots = Roots::new(place.join(format!("run{}", self.services)), [place.join("bulk")]);
        let run_dir = Arc::new(RunDir::create_in(roots).unwrap());
        let options = QemuOptions {
            program: None,
            accelerator: AcceleratorChoice::Tcg,
            cache: store.dir().to_path_buf(),
            vcpus: 1,
        };
        let qemu = Qemu::new(&options, &BootImage::of(&image), run_dir, &mut |_| {}).unwrap();
        let mut options = Options {
            confined: false,
            notice: virtmark_sandbox::Notice::new(|words| eprintln!("notice: {words}")),
            ..Options::new(self.state())
        };
        change(&mut options);
        Service::open(Arc::new(qemu), Arc::new(Tiny(image)), options).unwrap()
    }
}

fn exec(service: &Service, id: &SandboxId, cmd: &str) -> ExecAnswer {
    service.exec(command(id, cmd)).unwrap()
}

fn command(id: &SandboxId, cmd: &str) -> ExecRequest {
    ExecRequest {
        sandbox_id: id.clone(),
        cmd: cmd.parse().unwrap(),
        timeout_ms: Some(20_000),
        stdin: None,
        env: Env::default(),
        encoding: None,
    }
}

fn create(service: &Service, start: StartKind) -> Created {
    service.create(CreateRequest { start: Some(start), ..Default::default() }).unwrap()
}

fn destroy(service: &Service, id: &SandboxId) {
    assert!(service.destroy(DestroyRequest { sandbox_id: id.clone() }).unwrap().destroyed);
}

fn phases_add_up(created: &Created) {
    let mut end_ns = 0;
    for phase in &created.phases {
        assert_eq!(phase.start_ns, end_ns, "{:?}", created.phases);
        end_ns += phase.duration_ns;
    }
    assert_eq!(end_ns, created.duration_ns);
}

#[test]
fn real_sandboxes_start_in_three_ways_and_are_their_own() {
    let mut place = Place::new();
    let service = place.service(|options| options.warm = 1);
    let cold = create(&service, StartKind::Cold);
    assert_eq!(cold.start, Start::Cold);
    let template = create(&service, StartKind::Template);
    assert_eq!(template.start, Start::Template);
    wait_warm(&service, 1);
    let warm = create(&service, StartKind::Warm);
    assert_eq!(warm.start, Start::Warm);
    let ours: BTreeMap<String, String> = [("MOOD".to_owned(), "good".to_owned())].into();
    for created in [&template, &warm] {
        let usage = service.inspect(&created.sandbox_id).unwrap().usage.unwrap();
        assert!(usage.private_bytes.unwrap() < PRIVATE_LIMIT_BYTES, "{:?}: {usage:?}", created.start);
    }
    for created in [&cold, &template, &warm] {
        phases_add_up(created);
        let answer = exec(&service, &created.sandbox_id, "hostname; cat /etc/hostname; date +%s");
        let lines: Vec<&str> = answer.stdout.lines().collect();
        assert_eq!(lines[..2], [created.sandbox_id.as_str(); 2], "{answer:?}");
        let now = jiff::Timestamp::now().as_second();
        assert!((lines[2].parse::<i64>().unwrap() - now).abs() <= 2, "{lines:?} at {now}");
    }
    let machine_ids: std::collections::BTreeSet<String> = [&cold, &template, &warm]
        .map(|created| exec(&service, &created.sandbox_id, "cat /etc/machine-id").stdout)
        .into();
    assert_eq!(machine_ids.len(), 3);

    let with_env = ExecRequest {
        env: Env::try_from(ours).unwrap(),
        stdin: Some("in".into()),
        encoding: Some(Encoding::Base64),
        ..command(&warm.sandbox_id, "cat; echo $MOOD >&2; exit 3")
    };
    let answer = service.exec(with_env).unwrap();
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str(), answer.exit_code), ("aW4=", "Z29vZAo=", 3));
    let killed = exec(&service, &warm.sandbox_id, "kill -9 $$");
    assert_eq!((killed.exit_code, killed.timed_out), (137, false));
    let slow = ExecRequest { timeout_ms: Some(200), ..command(&warm.sandbox_id, "sleep 60") };
    let slow = service.exec(slow).unwrap();
    assert_eq!((slow.exit_code, slow.timed_out), (124, true));

    let path: GuestPath = "/tmp/with space".parse().unwrap();
    let content: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
    service.put_file(&cold.sandbox_id, &path, 0o640, content.len() as u64, &mut &content[..]).unwrap();
    let mut read = Vec::new();
    let file = service.get_file(&cold.sandbox_id, &path, &mut read).unwrap();
    assert_eq!((file.mode & 0o777, file.bytes, &read), (0o640, content.len() as u64, &content));
    let missing = service.get_file(&cold.sandbox_id, &"/no/such".parse().unwrap(), &mut Vec::new());
    assert_eq!(missing.unwrap_err().code(), "file_unknown");

    drop(service);
    assert!(live_children().is_empty(), "{:?}", live_children());
}

#[test]
fn real_snapshots_restore_what_was_there_and_differ_in_their_random_numbers() {
    let mut place = Place::new();
    let service = place.service(|_| {});
    let source = create(&service, StartKind::Template);
    exec(&service, &source.sandbox_id, "echo changed > /tmp/change");
    let snapshot = service
        .snapshot_create(SnapshotCreateRequest {
            sandbox_id: source.sandbox_id.clone(),
            name: "kept".parse().unwrap(),
        })
        .unwrap();
    assert!(snapshot.disk_bytes > 0);
    exec(&service, &source.sandbox_id, "echo later > /tmp/change");
    service.drain(Duration::ZERO);
    drop(service);

    let service = place.service(|_| {});
    let request = RestoreRequest {
        snapshot_id: snapshot.snapshot_id.clone(),
        env: Env::default(),
        timeout_s: None,
        metadata: Metadata::default(),
    };
    let restored: Vec<Created> = (0..2).map(|_| service.snapshot_restore(request.clone()).unwrap()).collect();
    let random: std::collections::BTreeSet<String> = restored
        .iter()
        .map(|created| {
            phases_add_up(created);
            assert_eq!(created.start, Start::Snapshot);
            assert_eq!(exec(&service, &created.sandbox_id, "cat /tmp/change").stdout, "changed\n");
            let random = "dd if=/dev/urandom bs=16 count=1 2>/dev/null | od -An -tx1";
            exec(&service, &created.sandbox_id, random).stdout
        })
        .collect();
    assert_eq!(random.len(), 2, "{random:?}");
    for created in &restored {
        let usage = service.inspect(&created.sandbox_id).unwrap().usage.unwrap();
        eprintln!("usage of a restored sandbox: {usage:?}");
        assert!(usage.private_bytes.unwrap() < PRIVATE_LIMIT_BYTES);
        assert!(usage.pss_bytes.unwrap() <= usage.rss_bytes.unwrap());
    }
    let used = &service.snapshot_list().snapshots[0];
    assert_eq!(used.in_use_by.len(), 2);
    let delete = SnapshotDeleteRequest { snapshot_id: snapshot.snapshot_id.clone() };
    let deleted = service.snapshot_delete(delete.clone()).unwrap();
    assert_eq!((deleted.deleted, deleted.deferred), (false, true));
    let directory = place.state().join("snapshots").join(snapshot.snapshot_id.as_str());
    assert!(directory.exists());
    assert_eq!(exec(&service, &restored[0].sandbox_id, "cat /tmp/change").stdout, "changed\n");
    restored.iter().for_each(|created| destroy(&service, &created.sandbox_id));
    assert!(!directory.exists());
    assert_eq!(service.snapshot_restore(request).unwrap_err().code(), "snapshot_unknown");
}

#[test]
fn real_damage_and_death_are_told_apart_and_survived() {
    let mut place = Place::new();
    let service = place.service(|_| {});
    let first = create(&service, StartKind::Template);
    let panicked = service.exec(command(&first.sandbox_id, "echo c > /proc/sysrq-trigger; sleep 10"));
    let error = panicked.unwrap_err();
    assert_eq!(error.code(), "sandbox_failed", "{error}");
    assert_eq!(error.class(), Some(virtmark_model::FailureClass::GuestPanic));
    assert_eq!(service.exec(command(&first.sandbox_id, "true")).unwrap_err().code(), "sandbox_gone");

    let second = create(&service, StartKind::Template);
    let vmm = live_children().into_iter().find(|child| child.name == second.sandbox_id.as_str()).unwrap();
    let pid = rustix::process::Pid::from_raw(vmm.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while service.metrics().sandboxes > 0 {
        assert!(Instant::now() < deadline, "nobody noticed the death of a VMM");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(service.metrics().destroyed.get("failed"), Some(&2));

    let source = create(&service, StartKind::Template);
    let name: SnapshotName = "spoilt".parse().unwrap();
    let request = SnapshotCreateRequest { sandbox_id: source.sandbox_id.clone(), name };
    let snapshot = service.snapshot_create(request).unwrap();
    service.drain(Duration::ZERO);
    drop(service);
    damage(&place.state().join("snapshots").join(snapshot.snapshot_id.as_str()));
    let templates = std::fs::read_dir(place.state().join("templates")).unwrap();
    templates.for_each(|template| damage(&template.unwrap().path()));

    let service = place.service(|_| {});
    let restore = RestoreRequest {
        snapshot_id: snapshot.snapshot_id,
        env: Env::default(),
        timeout_s: None,
        metadata: Metadata::default(),
    };
    assert_eq!(service.snapshot_restore(restore).unwrap_err().code(), "snapshot_damaged");
    let third = create(&service, StartKind::Template);
    assert_eq!(exec(&service, &third.sandbox_id, "echo on").stdout, "on\n");
    assert_eq!(service.metrics().templates_made, 1, "the damaged template was made anew");
}

/// Changes a byte in the middle of the device state, without changing its length.
fn damage(kept: &Path) {
    let path = kept.join("machine/device-state");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}

fn wait_warm(service: &Service, ready: u64) {
    wait(|| service.health().ready_warm >= ready);
}

#[test]
fn real_silent_commands_and_starting_guests_hold_nobody_up() {
    let mut place = Place::new();
    let service = place.service(|_| {});
    let id = create(&service, StartKind::Cold).sandbox_id;
    let cancel = Cancel::new();
    let (asked, error) = std::thread::scope(|scope| {
        let silent = scope.spawn(|| service.exec_unless(command(&id, "sleep 77"), &cancel).unwrap_err());
        // The brackets keep the line from finding itself.
        wait(|| exec(&service, &id, "ps | grep '[s]leep 77'").exit_code == 0);
        let asked = Instant::now();
        cancel.cancel();
        (asked, silent.join().unwrap())
    });
    assert_eq!(error.code(), "client_gone");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    wait(|| exec(&service, &id, "ps | grep '[s]leep 77'").exit_code == 1);

    std::thread::scope(|scope| {
        let late = scope
            .spawn(|| service.create(CreateRequest { start: Some(StartKind::Cold), ..Default::default() }));
        wait(|| live_children().len() == 2);
        let began = Instant::now();
        service.drain(Duration::ZERO);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(late.join().unwrap().unwrap_err().code(), "draining");
    });
    assert_eq!(live_children(), []);
}

/// Waits for what must come, and fails when it does not.
fn wait(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
