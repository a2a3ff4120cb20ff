//! What a process used, from getrusage(2).

use std::mem::MaybeUninit;

use crate::outcome::Usage;

/// Of this process and of its children that were waited for, since they started.
pub(crate) fn since_start() -> Usage {
    let (own, children) = (of(libc::RUSAGE_SELF), of(libc::RUSAGE_CHILDREN));
    Usage {
        cpu_user_ns: ns(own.ru_utime),
        cpu_system_ns: ns(own.ru_stime),
        children_cpu_user_ns: ns(children.ru_utime),
        children_cpu_system_ns: ns(children.ru_stime),
        max_rss_bytes: bytes(own.ru_maxrss),
        children_max_rss_bytes: bytes(children.ru_maxrss),
    }
}

/// What was used between the two; memory is the most ever.
pub(crate) fn between(before: Usage, after: Usage) -> Usage {
    Usage {
        cpu_user_ns: after.cpu_user_ns.saturating_sub(before.cpu_user_ns),
        cpu_system_ns: after.cpu_system_ns.saturating_sub(before.cpu_system_ns),
        children_cpu_user_ns: after.children_cpu_user_ns.saturating_sub(before.children_cpu_user_ns),
        children_cpu_system_ns: after.children_cpu_system_ns.saturating_sub(before.children_cpu_system_ns),
        ..after
    }
}

#[allow(unsafe_code)]
fn of(who: libc::c_int) -> libc::rusage {
    let mut usage = MaybeUninit::zeroed();
    // SAFETY: the pointer is to a whole rusage; all-zero bytes are a valid one, should the call fail.
    unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    }
}

fn ns(time: libc::timeval) -> u64 {
    // Neither is negative.
    (time.tv_sec * 1_000_000_000 + time.tv_usec * 1_000) as u64
}

fn bytes(kib: libc::c_long) -> u64 {
    kib as u64 * 1024
}
