//! Virtual CPUs on CPUs of the host of their own.

use std::io;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};
use virtmark_hypervisor::{Error, Result};

use super::QMP_TIMEOUT;
use crate::qmp::Qmp;

/// Keeps the thread of each virtual CPU to one of `cpus`; leaves all of them free when there are none. QEMU's other threads
/// run where there is room.
///
/// Where QEMU executes all virtual CPUs in one thread, as emulation of another architecture does, they share the first CPU.
pub(super) fn pin(qmp: &mut Qmp, cpus: &[usize], name: &str) -> Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let failed = |source| Error::io(format!("give the virtual CPUs of {name} CPUs of their own"))(source);
    let answer = qmp.execute("query-cpus-fast", json!({}), QMP_TIMEOUT);
    let answer = answer.map_err(|error| failed(io::Error::other(error.to_string())))?;
    let threads = threads(&answer).ok_or_else(|| {
        failed(io::Error::other(format!("QEMU does not say which threads they are: {answer}")))
    })?;
    for (thread, &cpu) in threads.into_iter().zip(cpus) {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(Some(thread), &set).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// The threads of virtual CPUs, each once, in the order of the CPUs.
fn threads(answer: &Value) -> Option<Vec<Pid>> {
    let mut found: Vec<(u64, Pid)> = Vec::new();
    for cpu in answer.as_array()? {
        let thread = Pid::from_raw(cpu["thread-id"].as_i64()?.try_into().ok()?)?;
        found.push((cpu["cpu-index"].as_u64()?, thread));
    }
    found.sort_unstable_by_key(|(index, _)| *index);
    let mut threads: Vec<Pid> = Vec::new();
    for (_, thread) in found {
        if !threads.contains(&thread) {
            threads.push(thread);
        }
    }
    (!threads.is_empty()).then_some(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_is_found_once_in_the_order_of_the_cpus() {
        let cpu =
            |index: u64, thread: i64| json!({ "cpu-index": index, "thread-id": thread, "target": "x86_64" });
        let found =
            |cpus: Value| threads(&cpus).map(|found| found.iter().map(|pid| pid.as_raw_pid()).collect());
        assert_eq!(found(json!([cpu(1, 12), cpu(0, 11)])), Some(vec![11, 12]));
        assert_eq!(found(json!([cpu(0, 11), cpu(1, 11)])), Some(vec![11]));
        assert_eq!(found(json!([])), None);
        assert_eq!(found(json!([{ "cpu-index": 0 }])), None);
        assert_eq!(found(json!({})), None);
    }
}
