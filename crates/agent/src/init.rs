//! The agent as PID 1 of the tiny image.

use std::ffi::CStr;
use std::fs;
use std::io::{IsTerminal, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::panic;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use virtmark_protocol::{INIT_MARK, PORT_NAME};

use crate::modules::{self, Modules};
use crate::network;
use crate::power;
use crate::root;
use crate::serve::Finished;
use crate::service::Agent;
use crate::transport::{Tcp, Transport, VirtioSerial, Vsock};

/// How long a line may take to come up before that is reported on the console, and again after each such time.
const REPORT_AFTER: Duration = Duration::from_secs(5);

/// What the line may need.
const FIRST_MOUNTS: [Mount; 3] = [
    Mount { kind: "devtmpfs", target: "/dev", options: None },
    Mount { kind: "proc", target: "/proc", options: None },
    Mount { kind: "sysfs", target: "/sys", options: None },
];

/// What a shell needs.
const MORE_MOUNTS: [Mount; 4] = [
    Mount { kind: "devpts", target: "/dev/pts", options: Some(c"ptmxmode=0666,mode=0620,gid=5") },
    Mount { kind: "tmpfs", target: "/dev/shm", options: Some(c"mode=1777") },
    Mount { kind: "tmpfs", target: "/run", options: Some(c"mode=0755") },
    Mount { kind: "tmpfs", target: "/tmp", options: Some(c"mode=1777") },
];

const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Sets the guest up and serves until it powers off. The kernel panics when PID 1 ends, so it never does.
pub(crate) fn run(started_ns: u64) -> ! {
    // User space runs: the first thing that the host learns from it, and in one write.
    let first_line = format!("{INIT_MARK}\n");
    // Standard output is the console when the kernel could open it, which needs /dev/console in the image.
    let console = rustix::stdio::stdout();
    let announced = console.is_terminal() && rustix::io::write(console, first_line.as_bytes()).is_ok();
    panic::set_hook(Box::new(|info| {
        eprintln!("virtmark-agent: internal error, powering off: {info}");
        power::off(&command_line());
    }));
    FIRST_MOUNTS.iter().for_each(Mount::mount);
    if !announced {
        announce(&first_line);
    }
    let command_line = command_line();
    let mut transport = chosen_transport(&command_line);
    let mut early = Modules::listed();
    while !transport.is_present() && early.load_next() {}
    let mut agent = loop {
        match Agent::new(started_ns, true) {
            Ok(agent) => break agent,
            Err(error) => eprintln!("virtmark-agent: cannot catch signals: {error}; trying again"),
        }
        thread::sleep(REPORT_AFTER);
    };
    let mut begun = false;
    loop {
        let line = open(&mut agent, transport.as_mut());
        let finished = agent.serve(line, transport.at_end(), || {
            if begun {
                return;
            }
            begun = true;
            while early.load_next() {}
            if let Some(names) = option(&command_line, "virtmark.modules") {
                modules::load_named(names);
            }
            let root = option(&command_line, "virtmark.root");
            if let Some(root) = root
                && let Err(error) = root::switch_to(root)
            {
                eprintln!("virtmark-agent: cannot make the disk {root} the root: {error}");
            }
            MORE_MOUNTS.iter().for_each(Mount::mount);
            for (target, link) in DEVICE_LINKS {
                if let Err(error) = symlink(target, link) {
                    eprintln!("virtmark-agent: cannot make the link {link}: {error}");
                }
            }
            let mut networks = options(&command_line, "virtmark.net").peekable();
            if root.is_some() || networks.peek().is_some() {
                network::set_up(networks);
            }
            if root.is_some() {
                root::start_services();
            }
        });
        if finished == Finished::Shutdown {
            power::kill_all(true);
            power::off(&command_line);
        }
    }
}

/// The value of an option of the kernel command line.
pub(crate) fn option<'a>(command_line: &'a str, name: &'a str) -> Option<&'a str> {
    options(command_line, name).next()
}

/// The values of an option that may be there several times.
fn options<'a>(command_line: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    command_line.split_ascii_whitespace().filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='))
}

fn command_line() -> String {
    fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// What `virtmark.transport` chooses; the virtio-serial port when it is absent or makes no sense.
fn chosen_transport(command_line: &str) -> Box<dyn Transport> {
    let Some(choice) = option(command_line, "virtmark.transport") else { return virtio() };
    let (kind, port) = choice.split_once(':').unwrap_or((choice, ""));
    match (kind, port.parse::<u16>(), port.parse::<u32>()) {
        ("virtio", _, _) => virtio(),
        ("tcp", Ok(port), _) => {
            Box::new(Tcp { address: (Ipv4Addr::UNSPECIFIED, port).into(), listener: None })
        }
        ("vsock", _, Ok(port)) => Box::new(Vsock { port, listener: None }),
        _ => {
            eprintln!("virtmark-agent: virtmark.transport={choice} is none of virtio, vsock:PORT, tcp:PORT");
            virtio()
        }
    }
}

fn virtio() -> Box<dyn Transport> {
    Box::new(VirtioSerial { name: PORT_NAME.into() })
}

/// Opens the line, however long that takes: without it the guest is of no use.
fn open(agent: &mut Agent, transport: &mut dyn Transport) -> OwnedFd {
    let mut report_at = Instant::now() + REPORT_AFTER;
    loop {
        match agent.open(transport) {
            Ok(Some(line)) => return line,
            Err(error) if Instant::now() >= report_at => {
                eprintln!("virtmark-agent: cannot open {}: {error}; still trying", transport.describe());
                report_at = Instant::now() + REPORT_AFTER;
            }
            Ok(None) | Err(_) => {}
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Writes the first line on the console that devtmpfs now has.
fn announce(first_line: &str) {
    for console in ["/dev/console", "/dev/ttyS0", "/dev/ttyAMA0"] {
        let opened = fs::OpenOptions::new().write(true).open(console);
        if opened.is_ok_and(|mut console| console.write_all(first_line.as_bytes()).is_ok()) {
            return;
        }
    }
}

struct Mount {
    kind: &'static str,
    target: &'static str,
    options: Option<&'static CStr>,
}

impl Mount {
    fn mount(&self) {
        let result = match mount(self.kind, self.target, self.kind, MountFlags::NOSUID, self.options) {
            Err(Errno::NOENT) => fs::create_dir_all(self.target).and_then(|()| {
                Ok(mount(self.kind, self.target, self.kind, MountFlags::NOSUID, self.options)?)
            }),
            // Mounted by the kernel or by whatever ran before.
            Err(Errno::BUSY) => Ok(()),
            result => result.map_err(Into::into),
        };
        if let Err(error) = result {
            eprintln!("virtmark-agent: cannot mount {} on {}: {error}", self.kind, self.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_by_their_whole_name() {
        let line = "console=ttyS0 virtmark.transport=tcp:7000 quiet virtmark.transporter=x";
        assert_eq!(option(line, "virtmark.transport"), Some("tcp:7000"));
        assert_eq!(option(line, "transport"), None);
        assert_eq!(option(line, "quiet"), None);
        let values: Vec<_> = options("a=1 b a=2 a", "a").collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn transports_are_chosen_by_the_command_line() {
        let described = |line| chosen_transport(line).describe();
        assert_eq!(described("quiet"), "the virtio-serial port virtmark.agent");
        assert_eq!(described("virtmark.transport=vsock:70000"), "vsock port 70000");
        assert_eq!(described("virtmark.transport=tcp:7000"), "TCP 0.0.0.0:7000");
        assert_eq!(described("virtmark.transport=tcp:70000"), "the virtio-serial port virtmark.agent");
    }
}
