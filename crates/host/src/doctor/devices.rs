//! Devices that guests talk to the host through.

use std::fs::OpenOptions;
use std::io;

use super::{Check, Host, Status};

/// `CAP_NET_ADMIN` of linux/capability.h.
const NET_ADMIN: u32 = 12;

pub(super) fn vsock(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("vsock", "vsock", status, finding);
    match open(host, "dev/vhost-vsock") {
        Ok(()) => check(Status::Good, "/dev/vhost-vsock opens"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => check(
            Status::Info,
            "no /dev/vhost-vsock: guests are reached through a serial device instead",
        )
        .with_remedy(
            "`sudo modprobe vhost_vsock`; in a container, start that with `--device /dev/vhost-vsock`",
        ),
        Err(error) => check(Status::Info, &format!("/dev/vhost-vsock does not open: {error}")).with_remedy(
            "`sudo usermod -aG kvm $USER` and log in again, or `sudo setfacl -m u:$USER:rw /dev/vhost-vsock`",
        ),
    }
}

pub(super) fn tap(host: &Host) -> Check {
    let check = |status, finding: &str| Check::new("tap", "tap devices", status, finding);
    match (open(host, "dev/net/tun"), may_administer_networks(host)) {
        (Ok(()), true) => check(Status::Good, "/dev/net/tun opens, and this process may make devices"),
        (Ok(()), false) => check(Status::Info, "/dev/net/tun opens; this process lacks CAP_NET_ADMIN to make devices")
            .with_remedy("run as root, or make one beforehand: `sudo ip tuntap add dev tap0 mode tap user $USER`"),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => check(Status::Info, "no /dev/net/tun")
            .with_remedy("`sudo modprobe tun`; in a container, start that with `--device /dev/net/tun --cap-add NET_ADMIN`"),
        (Err(error), _) => check(Status::Info, &format!("/dev/net/tun does not open: {error}"))
            .with_remedy("`sudo chmod 666 /dev/net/tun`, which is what distributions ship"),
    }
}

fn open(host: &Host, path: &str) -> io::Result<()> {
    OpenOptions::new().read(true).write(true).open(host.source.path(path)).map(drop)
}

/// The bit in `CapEff` of proc_pid_status(5).
fn may_administer_networks(host: &Host) -> bool {
    let status = host.source.text("proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << NET_ADMIN) != 0)
}
