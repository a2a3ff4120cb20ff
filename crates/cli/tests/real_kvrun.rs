//! Real machines for others to use: by vmrun, by OpenSSH's own client, in the background, and gone whatever happens.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use common::sweeps::processes_with;
use common::{World, kill, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_virtmark");

/// Processes that were started in this world, VMMs among them: they have its directories in their environment.
fn processes_of(world: &World) -> Vec<String> {
    let place = world.directory.path().to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(place) {
            found.push(fs::read_to_string(entry.path().join("comm")).unwrap_or_default());
        }
    }
    found
}

/// What OpenSSH's client prints, which is told nothing but the file.
fn ssh(config: &str, machine: &str, command: &str) -> String {
    let output =
        Command::new("ssh").args(["-o", "BatchMode=yes", "-F", config, machine, command]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Destroys what a test that failed has left in the background.
struct Down<'a>(&'a World);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ =
            Command::new(PROGRAM).args(["-q", "kvrun", "down", "--all"]).envs(self.0.environment()).status();
    }
}

#[test]
fn real_machines_are_there_for_a_command_and_for_a_reader() {
    let world = World::real();
    let _down = Down(&world);
    let payload = world.path("payload");
    fs::create_dir(&payload).unwrap();
    world.script("payload/payload.sh", "read -r name </proc/sys/kernel/hostname; echo hello from $name");
    let (payload, archive) = (payload.to_str().unwrap(), world.path("hello.tgz"));
    world.virtmark(&["payload", "pack", payload, "-o", archive.to_str().unwrap()]).assert().success();
    // It would outlive the command, and is known by its number.
    let sleep = format!("sleep 9{}", std::process::id());
    let line = format!(
        "{PROGRAM} -q vmrun -H $VIRTMARK_MAP -A $VIRTMARK_AUTH -U over -o {} {} || exit 1\n\
         ssh -o BatchMode=yes -F $VIRTMARK_SSH_CONFIG vm-1 hostname >{}\n\
         cat $VIRTMARK_MAP_JSON >{}\n\
         {sleep} >/dev/null 2>&1 &\n\
         exit 7",
        world.directory.path().display(),
        archive.display(),
        world.path("hostname").display(),
        world.path("map.json").display(),
    );
    let run = ["kvrun", "-n", "2", "--accel", "tcg", "--network", "user", "--exec", &line];
    let output =
        world.virtmark(&run).assert().code(7).stderr(contains("2 machines").and(contains("ready after")));
    let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!((&report["succeeded"], &report["failed"]), (&json!(2), &json!(0)));
    let result = fs::read_to_string(world.path("over/over-result")).unwrap();
    assert_eq!(result, "### vm-0\nhello from vm-0\n### vm-1\nhello from vm-1\n");
    assert_eq!(fs::read_to_string(world.path("hostname")).unwrap(), "vm-1\n");
    let map: Value = serde_json::from_slice(&fs::read(world.path("map.json")).unwrap()).unwrap();
    assert_eq!((&map[1]["name"], &map[1]["address"]), (&json!("vm-1"), &json!("127.0.0.1")));
    world.assert_clean();
    assert_eq!(processes_of(&world), Vec::<String>::new());
    assert_eq!(processes_with(&sleep), Vec::<u32>::new());

    // Too little time: nobody gets any.
    let run = ["kvrun", "-n", "2", "--accel", "tcg", "--timeout", "1"];
    world
        .virtmark(&run)
        .assert()
        .code(31)
        .stdout("")
        .stderr(contains("0 of 2 machines were ready within 1s"));
    world.assert_clean();

    // A reader of the map comes to its end while the machine stays.
    let mut child = Command::new(PROGRAM)
        .args(["-q", "kvrun", "--accel", "tcg"])
        .envs(world.environment())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut map = String::new();
    child.stdout.take().unwrap().read_to_string(&mut map).unwrap();
    assert!(map.lines().any(|line| line.ends_with("\tvm-0")), "{map}");
    let id = map.lines().next().unwrap().strip_prefix("# ").unwrap().to_owned();
    let listed = world.json(&["kvrun", "list", "--json"]);
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&json!(id), &json!("ready")));
    kill("TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    world.assert_clean();
}

#[test]
fn real_machines_in_the_background_go_with_down_and_with_the_next_start() {
    let world = World::real();
    let _down = Down(&world);
    let file = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let (map, auth, config) = (file("map"), file("auth.json"), file("config"));
    let start = [
        "-q",
        "kvrun",
        "--accel",
        "tcg",
        "--detach",
        "--map",
        &map,
        "--auth",
        &auth,
        "--ssh-config",
        &config,
    ];
    let id = |output: &assert_cmd::assert::Assert| {
        let line = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        line.strip_suffix('\n').unwrap().to_owned()
    };
    let first = id(&world.virtmark(&start).assert().success().stderr(""));
    let listed = world.json(&["kvrun", "list", "--json"]);
    assert_eq!((&listed[0]["id"], &listed[0]["detached"]), (&json!(first), &json!(true)));
    assert_eq!(ssh(&config, "vm-0", "hostname"), "vm-0");
    assert!(fs::read_to_string(&auth).unwrap().contains("strict"));
    world.virtmark(&["kvrun", "down", &first]).assert().success().stderr(contains(&first));
    world.assert_clean();
    assert_eq!(world.json(&["kvrun", "list", "--json"]), json!([]));

    // The process that keeps it is killed: the machine dies with it, and the next start removes the rest.
    let second = id(&world.virtmark(&start).assert().success());
    let holder = world.json(&["kvrun", "list", "--json"])[0]["pid"].as_u64().unwrap();
    let is_vmm = |name: &String| name.starts_with("qemu");
    assert!(processes_of(&world).iter().any(is_vmm));
    kill("KILL", u32::try_from(holder).unwrap());
    world.virtmark(&["kvrun", "down", "--all"]).assert().success().stderr(contains(&second));
    wait_for(|| processes_of(&world).is_empty());
    world.assert_clean();

    // Whoever waits for it stops: so does it.
    let mut waiting = Command::new(PROGRAM)
        .args(["kvrun", "--accel", "tcg", "--detach"])
        .envs(world.environment())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| world.json(&["kvrun", "list", "--json"])[0]["state"] == "setting_up");
    kill("TERM", waiting.id());
    let mut said = String::new();
    BufReader::new(waiting.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!((waiting.wait().unwrap().code(), said.as_str()), (Some(143), ""));
    wait_for(|| processes_of(&world).is_empty());
    world.assert_clean();
}
