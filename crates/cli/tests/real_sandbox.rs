//! Sandboxes over HTTP: `virtmark serve` with machines that really boot.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use serde_json::json;

use common::service::Service;
use common::{World, kill, wait_for};

#[test]
fn real_a_sandbox_lives_from_create_to_destroy() {
    let world = World::real();
    let service = Service::start(&world, &[]);
    let (status, created) =
        service.post("/create", &json!({ "env": { "WHO": "you" }, "metadata": { "a": "b" } }));
    assert_eq!(status, 200, "{created}");
    assert_eq!(created["start"], "template");
    let phases = created["phases"].as_array().unwrap();
    let sum: u64 = phases.iter().map(|phase| phase["duration_ns"].as_u64().unwrap()).sum();
    assert_eq!(sum, created["duration_ns"].as_u64().unwrap(), "{created}");
    let sandbox = created["sandbox_id"].as_str().unwrap();
    assert_eq!(service.stdout(sandbox, "echo $WHO; hostname"), format!("you\n{sandbox}"));
    let answer = service.exec(sandbox, "echo no >&2; exit 7");
    assert_eq!((&answer["exit_code"], &answer["stderr"]), (&json!(7), &json!("no\n")));
    let (_, inspected) = service.get(&format!("/sandboxes/{sandbox}"));
    assert!(inspected["usage"]["private_bytes"].as_u64().unwrap() > 0, "{inspected}");
    service.destroy(sandbox);
    let (status, answer) = service.post("/exec", &json!({ "sandbox_id": sandbox, "cmd": "true" }));
    assert_eq!((status, &answer["error"]["code"]), (410, &json!("sandbox_gone")), "{answer}");
    service.destroy(sandbox);
    assert_eq!(service.machines(), Vec::<u32>::new());
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_restored_sandboxes_are_their_own() {
    let world = World::real();
    let service = Service::start(&world, &["--start", "cold"]);
    let origin = service.create(&json!({ "disk_mib": 16 }));
    service.exec(&origin, "echo kept > /tmp/change; echo disk | dd of=/dev/vda bs=512 conv=sync");
    let snapshot = service.snapshot(&origin, "origin");
    service.destroy(&origin);
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let (status, restored) = service.restore(&snapshot);
            assert_eq!((status, &restored["start"]), (200, &json!("snapshot")), "{restored}");
            restored["sandbox_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let ask = |command: &str| -> Vec<String> { ids.iter().map(|id| service.stdout(id, command)).collect() };
    assert_eq!(ask("cat /tmp/change; head -c 4 /dev/vda"), ["kept\ndisk", "kept\ndisk"]);
    assert_eq!(ask("hostname"), ids);
    for command in
        ["head -c 32 /dev/urandom | md5sum", "cat /etc/machine-id", "cat /proc/sys/kernel/random/uuid"]
    {
        let answers = ask(command);
        assert_ne!(answers[0], answers[1], "{command}");
    }
    let host = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for clock in ask("date +%s") {
        assert!(
            clock.parse::<u64>().unwrap().abs_diff(host) <= 2,
            "{clock} in the guest, {host} on the host"
        );
    }
    service.exec(&ids[0], "echo mine | dd of=/dev/vda bs=512 conv=sync,fsync; echo mine > /tmp/change");
    assert_eq!(service.stdout(&ids[1], "cat /tmp/change; head -c 4 /dev/vda"), "kept\ndisk");
    let (_, in_use) = service.post("/snapshot/delete", &json!({ "snapshot_id": snapshot }));
    assert_eq!(in_use["deferred"], true, "{in_use}");
    assert_eq!(service.stdout(&ids[1], "head -c 4 /dev/vda"), "disk");
    assert_eq!(service.restore(&snapshot).0, 404);
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_snapshots_survive_a_restart_and_damage_is_refused() {
    let world = World::real();
    let service = Service::start(&world, &["--start", "cold"]);
    let origin = service.create(&json!({}));
    service.exec(&origin, "echo kept > /tmp/change");
    let snapshot = service.snapshot(&origin, "origin");
    assert_eq!(service.stop("TERM"), Some(0));

    let service = Service::start(&world, &["--start", "cold"]);
    let (_, list) = service.get("/snapshot/list");
    assert_eq!(list["snapshots"][0]["snapshot_id"], json!(snapshot), "{list}");
    let (_, restored) = service.restore(&snapshot);
    assert_eq!(service.stdout(restored["sandbox_id"].as_str().unwrap(), "cat /tmp/change"), "kept");
    assert_eq!(service.stop("TERM"), Some(0));

    let memory = find(&world.path("state"), "memory");
    let file = fs::OpenOptions::new().read(true).write(true).open(&memory).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 20 << 20).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 20 << 20).unwrap();
    let service = Service::start(&world, &["--start", "cold"]);
    let (status, answer) = service.restore(&snapshot);
    assert!((400..500).contains(&status), "{status} {answer}");
    assert_eq!(answer["error"]["code"], "snapshot_damaged", "{answer}");
    assert_eq!(service.machines(), Vec::<u32>::new());
    drop(service);
}

#[test]
fn real_a_killed_service_leaves_nothing_that_the_next_does_not_remove() {
    let world = World::real();
    let service = Service::start(&world, &["--warm", "1"]);
    let sandbox = service.create(&json!({}));
    wait_for(|| service.get("/healthz").1["ready_warm"] == 1);
    let machines = service.machines();
    assert_eq!(machines.len(), 2);
    // In the middle of writing a snapshot.
    let url = service.url.clone();
    let asked = std::thread::spawn(move || {
        let body = json!({ "sandbox_id": sandbox, "name": "cut" }).to_string();
        // The service is killed meanwhile: any end of this request will do.
        let _ = ureq::post(format!("{url}/snapshot/create"))
            .header("Content-Type", "application/json")
            .send(body.as_str());
    });
    let snapshots = world.path("state").join("snapshots");
    wait_for(|| fs::read_dir(&snapshots).is_ok_and(|mut entries| entries.next().is_some()));
    assert_eq!(service.stop("KILL"), None);
    asked.join().unwrap();
    let gone = |pid: &u32| {
        !fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("qemu"))
    };
    wait_for(|| machines.iter().all(gone));

    let service = Service::start(&world, &["--start", "template"]);
    assert_eq!(service.get("/sandboxes").1["sandboxes"], json!([]));
    let (_, list) = service.get("/snapshot/list");
    let listed = list["snapshots"].as_array().unwrap();
    // Killed after its last step, the snapshot is whole; before, there is none.
    for snapshot in listed {
        assert_eq!(service.restore(snapshot["snapshot_id"].as_str().unwrap()).0, 200);
    }
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), listed.len());
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_machines_that_die_or_hang_are_told_and_the_service_lives() {
    let world = World::real();
    let service = Service::start(&world, &[]);
    let killed = service.create(&json!({}));
    kill("KILL", service.machines()[0]);
    let (status, answer) = service.post("/exec", &json!({ "sandbox_id": killed, "cmd": "true" }));
    assert!(matches!(status, 410 | 502 | 409), "{status} {answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains(&killed), "{answer}");

    let panicked = service.create(&json!({}));
    let (status, answer) = service
        .post("/exec", &json!({ "sandbox_id": panicked, "cmd": "echo c > /proc/sysrq-trigger; sleep 60" }));
    assert_ne!(status, 200, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("panic"), "{answer}");

    let hung = service.create(&json!({}));
    let machine = service.machines()[0];
    kill("STOP", machine);
    let started = Instant::now();
    let request = json!({ "sandbox_id": hung, "cmd": "true", "timeout_ms": 500 });
    let (status, answer) = service.post("/exec", &request);
    assert_eq!((status, &answer["error"]["code"]), (504, &json!("guest_timeout")), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(30));
    service.destroy(&hung);
    assert_eq!(service.machines(), Vec::<u32>::new());
    assert_eq!(service.get("/healthz").1["status"], "ok");
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_limits_answer_at_once() {
    let world = World::real();
    let service = Service::start(&world, &["--max-sandboxes", "2", "--total-memory", "512M"]);
    service.create(&json!({}));
    let refused = |body| {
        let mut response = ureq::post(format!("{}/create", service.url))
            .config()
            .http_status_as_error(false)
            .build()
            .header("Content-Type", "application/json")
            .send(body)
            .unwrap();
        let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), retry, text)
    };
    let (status, retry, text) = refused("{\"memory_mib\": 512}");
    assert_eq!(status, 503, "{text}");
    assert!(retry.unwrap().parse::<u32>().unwrap() > 0);
    service.create(&json!({}));
    let started = Instant::now();
    let (status, retry, text) = refused("{}");
    assert_eq!(status, 429, "{text}");
    assert!(retry.unwrap().parse::<u32>().unwrap() > 0);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_silent_clients_hold_nobody_up() {
    let world = World::real();
    let service = Service::start(&world, &[]);
    let address = service.url.strip_prefix("http://").unwrap();
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    let sandbox = service.create(&json!({}));
    assert_eq!(service.stdout(&sandbox, "echo served"), "served");
    drop(silent);
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_a_disk_that_fills_up_costs_the_snapshot_and_not_the_sandbox() {
    let world = World::real();
    fs::create_dir(world.path("state")).unwrap();
    let Some(_small) = world.small_tmpfs("state") else { return };
    let service = Service::start(&world, &["--start", "cold"]);
    let sandbox = service.create(&json!({}));
    let (status, answer) = service.post("/snapshot/create", &json!({ "sandbox_id": sandbox, "name": "big" }));
    assert_eq!((status, &answer["error"]["code"]), (507, &json!("storage_full")), "{answer}");
    assert_eq!(service.stdout(&sandbox, "echo alive"), "alive");
    assert_eq!(service.get("/snapshot/list").1["snapshots"], json!([]));
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_sigterm_lets_commands_finish_and_ends_those_that_do_not() {
    let world = World::real();
    let service = Service::start(&world, &["--drain", "6s"]);
    let sandbox = service.create(&json!({}));
    let exec = |command: &str| {
        let (url, body) = (service.url.clone(), json!({ "sandbox_id": sandbox, "cmd": command }).to_string());
        std::thread::spawn(move || {
            let response = ureq::post(format!("{url}/exec"))
                .config()
                .http_status_as_error(false)
                .build()
                .header("Content-Type", "application/json")
                .send(body.as_str());
            let mut response = response.unwrap();
            (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
        })
    };
    let (short, endless) = (exec("touch /tmp/a; sleep 3; echo finished"), exec("touch /tmp/b; sleep 1000"));
    wait_for(|| service.exec(&sandbox, "ls /tmp/a /tmp/b")["exit_code"] == 0);
    let started = Instant::now();
    assert_eq!(service.stop("TERM"), Some(0));
    assert!(started.elapsed() < Duration::from_secs(30));
    let (status, text) = short.join().unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("finished"), "{text}");
    let (status, text) = endless.join().unwrap();
    assert_ne!(status, 200, "{text}");
    world.assert_clean();
}

#[test]
fn a_service_for_others_wants_a_token() {
    let world = World::new();
    let output =
        world.virtmark(&["serve", "--listen", "0.0.0.0:0"]).assert().code(2).get_output().stderr.clone();
    let said = String::from_utf8(output).unwrap();
    assert!(said.contains("without a token"), "{said}");
}

/// The one file of this name below a directory.
fn find(directory: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                return path;
            }
        }
    }
    panic!("there is no {name} below {}", directory.display());
}
