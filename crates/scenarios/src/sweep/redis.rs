//! A Redis for a plan that reads one: this host's, taken to where the plan runs, with its data.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use virtmark_host::process::{Spawn, Stream, describe_exit};
use virtmark_host::rundir::RunDir;
use virtmark_plan::{RedisOptions, reels};

use super::error::Error;
use super::libraries::Closure;
use super::plan::Location;
use super::service::ServiceSpec;
use super::site::Upload;
use crate::port::free_port;

/// The program.
pub const PROGRAM: &str = "redis-server";
/// Where it listens in a machine, which has nobody else.
const GUEST_PORT: u16 = 6379;
/// How long it may take until it answers here.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to write its data.
const SAVE_TIMEOUT: Duration = Duration::from_secs(30);
/// The file of its data.
const DUMP: &str = "dump.rdb";

/// What is in a Redis when a plan begins to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A dump that another Redis wrote.
    File(PathBuf),
    /// What the built-in plan `reels_plan_a` reads.
    Reels,
}

/// A Redis ready to be taken to where a plan runs.
#[derive(Clone, Debug)]
pub struct Redis {
    /// What is put there.
    pub files: Vec<Upload>,
    /// How it is started there.
    pub service: ServiceSpec,
    /// Where the plan finds it.
    pub address: String,
}

/// Where this host has the program, if it has.
pub fn installed() -> Option<PathBuf> {
    let directories = env::var_os("PATH").unwrap_or_default();
    // The name matters: several programs of Redis are one file that looks at how it was called.
    env::split_paths(&directories).map(|directory| directory.join(PROGRAM)).find(|path| path.is_file())
}

impl Redis {
    /// Takes this host's Redis, with its libraries where it is to run in a machine, and makes its data. `directory` is
    /// where the files of the sweep are there.
    ///
    /// # Errors
    /// When it is not installed, a library of it is missing, or its data cannot be made.
    pub fn new(run_dir: &RunDir, location: Location, directory: &str, data: &Data) -> Result<Self, Error> {
        let program = installed().ok_or_else(|| failed(NOT_INSTALLED))?;
        let dump = match data {
            Data::File(path) => path.clone(),
            Data::Reels => seeded(run_dir, &program)?,
        };
        let mut files = vec![Upload { source: dump, path: format!("redis/{DUMP}"), mode: 0o644 }];
        let port = if location == Location::Vm { GUEST_PORT } else { host_port()? };
        let mut argv = match location {
            Location::Vm => in_machine(&Closure::of(&program)?, directory, &mut files)?,
            Location::Native | Location::Service => vec![program.display().to_string()],
        };
        argv.extend(arguments(port, &format!("{directory}/redis")));
        let service = ServiceSpec { name: "redis".into(), argv, port: Some(port) };
        Ok(Self { files, service, address: format!("127.0.0.1:{port}") })
    }
}

const NOT_INSTALLED: &str = "redis-server is not installed (apt-get install redis-server); a running one is named with \
                             --redis HOST:PORT and --in native";

/// The files of a program and its libraries, and how it is started from them: by its own loader, so that none of them
/// has to be where it was on this host.
fn in_machine(closure: &Closure, directory: &str, files: &mut Vec<Upload>) -> Result<Vec<String>, Error> {
    let mut take = |source: &Path, path: String| {
        // A link to a library is put there as the library.
        files.push(Upload { source: source.into(), path: path.clone(), mode: 0o755 });
        format!("{directory}/{path}")
    };
    let program = take(&closure.program, format!("redis/{PROGRAM}"));
    let Some(loader) = &closure.loader else { return Ok(vec![program]) };
    let loader = take(loader, "redis/loader".into());
    for (name, path) in &closure.libraries {
        take(path, format!("redis/lib/{name}"));
    }
    Ok(vec![loader, "--library-path".into(), format!("{directory}/redis/lib"), program])
}

/// Nothing but loopback, and nothing on disk but what it is given.
fn arguments(port: u16, directory: &str) -> Vec<String> {
    let port = port.to_string();
    [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--dir",
        directory,
        "--dbfilename",
        DUMP,
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Has a Redis of this host write the data of `reels_plan_a` to a file, and ends it.
fn seeded(run_dir: &RunDir, program: &Path) -> Result<PathBuf, Error> {
    let directory = run_dir.machine_dir("redis-seed").map_err(|error| failed(&error.to_string()))?;
    let port = host_port()?;
    let log = directory.join("log");
    let mut spawn = Spawn::new(PROGRAM, program);
    spawn.args(arguments(port, &directory.display().to_string()));
    spawn.stdout(Stream::File(log.clone())).stderr(Stream::File(log.clone()));
    let child = spawn.start(run_dir).map_err(|error| failed(&error.to_string()))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = Instant::now() + READY_TIMEOUT;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = child.wait_timeout(Duration::from_millis(10)) {
            let words = fs::read_to_string(&log).unwrap_or_default();
            let last = words.lines().last().unwrap_or_default();
            return Err(failed(&format!("it {}: {last}", describe_exit(status))));
        }
        if Instant::now() >= deadline {
            return Err(failed(&format!("it did not answer within {READY_TIMEOUT:?}")));
        }
    }
    let options = RedisOptions { address: address.to_string(), ..RedisOptions::default() };
    reels::seed(&options).map_err(|error| failed(&error.to_string()))?;
    save(address).map_err(|error| failed(&format!("it did not write its data: {error}")))?;
    // Dropping the child ends it.
    Ok(directory.join(DUMP))
}

/// Asks for a dump, and waits for it.
fn save(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SAVE_TIMEOUT))?;
    stream.write_all(b"*1\r\n$4\r\nSAVE\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    if &answer == b"+OK\r\n" {
        return Ok(());
    }
    Err(std::io::Error::other(format!("it answered {:?}", String::from_utf8_lossy(&answer))))
}

/// A port for a Redis on this host.
fn host_port() -> Result<u16, Error> {
    free_port().map_err(|error| failed(&format!("no port is free: {error}")))
}

fn failed(reason: &str) -> Error {
    Error::Redis { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_for_a_machine_has_its_loader_its_libraries_and_its_data() {
        if installed().is_none() {
            eprintln!("skipped: redis-server is not installed");
            return;
        }
        let run_dir = RunDir::create().unwrap();
        let redis = Redis::new(&run_dir, Location::Vm, "/sweep", &Data::Reels).unwrap();
        assert_eq!(redis.address, "127.0.0.1:6379");
        assert_eq!(redis.service.argv[0], "/sweep/redis/loader");
        let paths: Vec<&str> = redis.files.iter().map(|file| file.path.as_str()).collect();
        assert!(paths.iter().any(|path| path.starts_with("redis/lib/libc.")), "{paths:?}");
        assert!(redis.files.iter().all(|file| file.source.is_file()), "{:?}", redis.files);
        assert!(fs::metadata(&redis.files[0].source).unwrap().len() > 10_000, "the data of 1000 users");
    }

    #[test]
    fn a_redis_of_this_host_needs_nothing_but_its_data() {
        if installed().is_none() {
            eprintln!("skipped: redis-server is not installed");
            return;
        }
        let run_dir = RunDir::create().unwrap();
        let dump = run_dir.path().join("my.rdb");
        let redis = Redis::new(&run_dir, Location::Native, "/here", &Data::File(dump.clone())).unwrap();
        assert_eq!(redis.files, [Upload { source: dump, path: "redis/dump.rdb".into(), mode: 0o644 }]);
        assert_eq!(redis.address, format!("127.0.0.1:{}", redis.service.port.unwrap()));
    }
}
