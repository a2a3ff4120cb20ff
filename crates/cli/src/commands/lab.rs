//! `virtmark lab`

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use virtmark_host::process::kill_all_children;
use virtmark_host::rundir::{RunDir, remove_live};
use virtmark_host::signals;
use virtmark_image::{SharedFile, Store};
use virtmark_lab::{Client, Error, LabOptions, Owner, Place, Status, Where};

use crate::args::{LabArguments, LabCommand, LabUpArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

/// What the owner says when its lab can be used.
const READY: &str = "ready";

/// What its lines begin with when they are for people.
const TOLD: &str = "told ";

/// Longest standard input that a command in the lab gets.
const STDIN_BYTES: u64 = 64 << 20;

pub(crate) fn run(options: &LabArguments, quiet: bool) -> anyhow::Result<Exit> {
    let place = Place::in_cache(&Store::default_dir()?);
    let client = Client::new(place.clone());
    match &options.command {
        LabCommand::Up(options) => up(&place, &client, options, quiet),
        LabCommand::Hold(options) => hold(&place, options),
        LabCommand::Exec { timeout, stale, argv } => {
            if !stale {
                client.check_current()?;
            }
            let mut stdin = Vec::new();
            if !io::IsTerminal::is_terminal(&io::stdin()) {
                io::stdin()
                    .take(STDIN_BYTES)
                    .read_to_end(&mut stdin)
                    .context("cannot read standard input")?;
            }
            let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
            let path = "/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            let env = [("PATH".to_owned(), path.to_owned())].into();
            let outcome = client.exec(argv, &env, &stdin, *timeout, &mut stdout, &mut stderr)?;
            // The code is the command's own, which has no name here; nothing is held that would have to be dropped.
            process::exit(outcome.shell_code())
        }
        LabCommand::Put { source, target } => {
            let mut file = File::open(source).map_err(|error| output::on(error, source))?;
            let metadata = file.metadata().map_err(|error| output::on(error, source))?;
            client.put(&mut file, metadata.len(), target, metadata.permissions().mode() & 0o777)?;
            Ok(Exit::Ok)
        }
        LabCommand::Get { source, target } => {
            // The file appears whole or not at all.
            let mut content = Vec::new();
            let mode = client.get(source, &mut content)?;
            fs::write(target, content)
                .and_then(|()| fs::set_permissions(target, fs::Permissions::from_mode(mode)))
                .map_err(|error| output::on(error, target))?;
            Ok(Exit::Ok)
        }
        LabCommand::Status { json } => {
            let status = client.status()?;
            match json {
                true => output::json(&status)?,
                false => output::stdout(|output| write!(output, "{}", described(&status)))?,
            }
            Ok(Exit::Ok)
        }
        LabCommand::Down => {
            match client.down() {
                Err(Error::Absent) => output::people("virtmark: no lab is running\n"),
                result => result?,
            }
            Ok(Exit::Ok)
        }
        LabCommand::Where { qemu } => whereabouts(qemu.clone(), quiet),
    }
}

fn whereabouts(qemu: Option<PathBuf>, quiet: bool) -> anyhow::Result<Exit> {
    let progress = Progress::new("lab", quiet);
    let options = LabOptions { qemu, ..LabOptions::new(Store::default_dir()?) };
    let run_dir = Arc::new(RunDir::create()?);
    let choice = virtmark_lab::choose(&options, &run_dir, &mut |line| progress.note(line))?;
    progress.note(&choice.reason);
    let name = match choice.place {
        Where::Lab => "lab",
        Where::ThisHost => "this-host",
    };
    output::stdout(|output| writeln!(output, "{name}"))?;
    Ok(Exit::Ok)
}

/// Starts the process that holds the lab, and waits until that can be used.
fn up(place: &Place, client: &Client, options: &LabUpArguments, quiet: bool) -> anyhow::Result<Exit> {
    if let Ok(status) = client.status() {
        return Err(Error::Busy { pid: status.owner_pid }.into());
    }
    shared(&options.share)?;
    place.prepare()?;
    let interrupt = signals::install()?;
    let progress = Progress::new("lab", quiet);
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = process::Command::new(program);
    command.args(["--quiet", "lab", "hold"]);
    for share in &options.share {
        command.arg("--share").arg(share);
    }
    command.arg("--vcpus").arg(options.vcpus.to_string());
    command.arg("--memory").arg(format!("{}K", options.memory >> 10));
    command.arg("--lifetime").arg(format!("{}s", options.lifetime.as_secs().max(1)));
    if let Some(qemu) = &options.qemu {
        command.arg("--qemu").arg(qemu);
    }
    // The pipe to the owner is open as long as somebody waits for it; it gives up when that ends before it is ready.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut owner = command.spawn().context("cannot start the process that holds the lab")?;
    let output = owner.stdout.take().context("the owner of the lab has no output")?;
    let mut complaints = owner.stderr.take().context("the owner of the lab has no standard error")?;
    // Ends with the owner, or when that is the lab and has a log of its own.
    let complained = thread::spawn(move || {
        let mut text = Vec::new();
        // What came until then is all there is to tell.
        let _ = complaints.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let (lines, received) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    loop {
        if interrupt.requested() {
            drop(owner.stdin.take());
            owner.wait().context("cannot wait for the owner of the lab")?;
            return Ok(Exit::Signaled(interrupt.signal().unwrap_or_default()));
        }
        match received.recv_timeout(std::time::Duration::from_millis(50)) {
            Ok(line) if line == READY => break,
            Ok(line) => progress.note(line.strip_prefix(TOLD).unwrap_or(&line)),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                let status = owner.wait().context("cannot wait for the owner of the lab")?;
                return Err(not_started(&complained.join().unwrap_or_default(), status).into());
            }
        }
    }
    let status = client.status()?;
    progress.note(&format!("the lab is up after {:.1} s", status.start_ms as f64 / 1e3));
    Ok(Exit::Ok)
}

/// Why there is no lab, in the words of the process that was to hold it.
fn not_started(said: &str, status: process::ExitStatus) -> Failure {
    let message = match said.trim().strip_prefix("virtmark: ") {
        Some(message) => message.to_owned(),
        None => format!("the process that holds the lab ended ({status}): {}", said.trim()),
    };
    let exit = status.code().and_then(Exit::of_code).unwrap_or(Exit::Unexpected);
    Failure { exit, message }
}

/// Holds the lab until it is to end. Runs in a session of its own, so that a Ctrl-C of the terminal does not reach it.
fn hold(place: &Place, options: &LabUpArguments) -> anyhow::Result<Exit> {
    rustix::process::setsid().context("cannot leave the terminal")?;
    let interrupt = signals::install()?;
    let ready = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let ready = Arc::clone(&ready);
        move || {
            // Whoever waits has gone away: nobody wants the lab any more. Its machine is this process's child.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            if !ready.load(Ordering::Acquire) {
                kill_all_children();
                remove_live();
                process::exit(1);
            }
        }
    });
    let lab = LabOptions {
        qemu: options.qemu.clone(),
        shared: shared(&options.share)?,
        vcpus: options.vcpus,
        memory_bytes: options.memory,
        ..LabOptions::new(Store::default_dir()?)
    };
    let run_dir = Arc::new(RunDir::create()?);
    let mut told = |line: &str| {
        // Without anybody to tell, the thread above ends it all.
        let _ = writeln!(io::stdout(), "{TOLD}{line}");
    };
    let owner = Owner::start(place, &lab, options.lifetime, run_dir, &mut told)?;
    // Whoever waits hears nothing more; the log is that of the one lab from here on.
    keep_log(&place.log())?;
    let why = owner.serve(&interrupt, || {
        ready.store(true, Ordering::Release);
        let _ = writeln!(io::stdout(), "{READY}");
    })?;
    eprintln!("lab: {why}");
    Ok(Exit::Ok)
}

/// Sends standard error to this file, empty to begin with.
fn keep_log(path: &Path) -> anyhow::Result<()> {
    let log = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let log = log.map_err(|error| output::on(error, path))?;
    rustix::stdio::dup2_stderr(&log).context("cannot write the log of the lab")
}

/// This program, and the files that the options name.
fn shared(options: &[String]) -> anyhow::Result<Vec<SharedFile>> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let mut shared = vec![SharedFile { source: own, path: "bin/virtmark".into() }];
    for option in options {
        let (source, path) = match option.rsplit_once('=') {
            Some((source, path)) => (source, path.to_owned()),
            None => {
                let name = Path::new(option).file_name().unwrap_or_default().to_string_lossy();
                (option.as_str(), format!("bin/{name}"))
            }
        };
        let clean = !path.is_empty()
            && Path::new(&path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !clean {
            let message = format!("--share {option}: {path:?} is not a path below /lab, such as bin/tests");
            return Err(Failure::usage(message).into());
        }
        let source = fs::canonicalize(source).map_err(|error| output::on(error, Path::new(source)))?;
        if !source.is_file() {
            let message = format!("--share {option}: {} is not a file", source.display());
            return Err(Failure::usage(message).into());
        }
        // What is named takes the place of what is there anyway.
        shared.retain(|file| file.path != path);
        shared.push(SharedFile { source, path });
    }
    Ok(shared)
}

fn described(status: &Status) -> String {
    let Status { owner_pid, up_ms, remaining_ms, start_ms, vcpus, memory_bytes, shared } = status;
    let mut text = format!(
        "up for {} s, ready after {:.1} s, ends in {} s\n{vcpus} virtual CPUs, {} MiB, held by process {owner_pid}\n",
        up_ms / 1000,
        *start_ms as f64 / 1e3,
        remaining_ms / 1000,
        memory_bytes >> 20,
    );
    for file in shared {
        let path = Path::new(virtmark_lab::SHARE).join(&file.path);
        text.push_str(&format!("{}  {}\n", path.display(), file.source.display()));
    }
    text
}
