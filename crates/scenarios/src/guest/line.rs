//! The command lines of the tools.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::parse::fio::Direction;
use super::{GuestPlan, Test};

/// Between two packets of ping, in seconds: the shortest that iputils of every version allows to all users.
const PING_INTERVAL_S: f64 = 0.2;
/// A tool may take this much longer than it measures before it is given up: it starts and ends slowly where it is emulated.
const GRACE: Duration = Duration::from_secs(60);

/// Where a tool finds what it works on.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Threads of sysbench, processes of openssl.
    pub(super) threads: u32,
    /// For fio.
    pub(super) target: Option<Target>,
    /// For iperf3 and ping.
    pub(super) peer: Option<Peer>,
}

/// A file or disk that fio works on.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) path: String,
    /// Whether it is a whole disk, and not a file.
    pub(super) is_device: bool,
    /// Whether it is opened past the page cache.
    pub(super) direct: bool,
}

/// The other end of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: Ipv4Addr,
    /// Of its iperf3.
    pub(super) port: u16,
}

/// Program and arguments of a test; none when the place has nothing for it to work on.
pub(super) fn of(test: Test, plan: &GuestPlan, place: &Place) -> Option<Vec<String>> {
    let line = match test {
        Test::SysbenchCpu => format!(
            "sysbench cpu --cpu-max-prime={} --threads={} --time={} run",
            plan.prime_limit, place.threads, plan.seconds
        ),
        Test::MemorySeqRead => memory(plan, place, "read"),
        Test::MemorySeqWrite => memory(plan, place, "write"),
        Test::MemoryRandRead => format!(
            "sysbench memory --memory-oper=read --memory-access-mode=rnd --threads={} --time={} run",
            place.threads, plan.seconds
        ),
        Test::OpensslSha256 => {
            // With one process it prints headings too, with -multi 1 it does not.
            let several =
                if place.threads > 1 { format!(" -multi {}", place.threads) } else { String::new() };
            format!("openssl speed -elapsed -seconds {} -bytes 16384{several} -evp sha256", plan.seconds)
        }
        Test::FioRandRead | Test::FioRandWrite | Test::FioSeqRead | Test::FioSeqWrite => {
            let (direction, random, block_bytes) = test.fio()?;
            let job = Job {
                name: test.as_str(),
                rw: match (direction, random) {
                    (Direction::Read, false) => "read",
                    (Direction::Read, true) => "randread",
                    (Direction::Write, false) => "write",
                    (Direction::Write, true) => "randwrite",
                },
                block_bytes,
                depth: plan.depth.get(),
            };
            let mut words = fio(&job, plan, place.target.as_ref()?);
            words.push("--time_based".into());
            words.push(format!("--runtime={}", plan.seconds));
            return Some(words);
        }
        Test::IperfTcp => {
            let Peer { address, port } = place.peer?;
            format!("iperf3 -c {address} -p {port} -t {} -P {} -J", plan.network_seconds, plan.streams)
        }
        Test::IperfUdp => {
            let Peer { address, port } = place.peer?;
            // Without -b 0 it sends 1 Mbit/s, which every network takes.
            format!("iperf3 -c {address} -p {port} -u -b 0 -t {} -J", plan.network_seconds)
        }
        Test::Ping => format!("ping -n -c {} -i {PING_INTERVAL_S} {}", plan.pings, place.peer?.address),
    };
    Some(line.split(' ').map(Into::into).collect())
}

/// Writes all of fio's file or disk once, so that nothing is read that was never written.
pub(super) fn layout(plan: &GuestPlan, target: &Target) -> Vec<String> {
    let job = Job { name: "layout", rw: "write", block_bytes: 1 << 20, depth: plan.depth.get() };
    let mut words = fio(&job, plan, target);
    words.push("--end_fsync=1".into());
    words
}

/// How long a test may take.
pub(super) fn limit(test: Test, plan: &GuestPlan) -> Duration {
    let seconds = match test {
        Test::IperfTcp | Test::IperfUdp => plan.network_seconds.get(),
        Test::Ping => (f64::from(plan.pings.get()) * PING_INTERVAL_S).ceil() as u32,
        _ => plan.seconds.get(),
    };
    Duration::from_secs(u64::from(seconds)) + GRACE
}

/// How long writing the whole file may take: a slow disk of an emulated guest has 10 MiB/s.
pub(super) fn layout_limit(plan: &GuestPlan) -> Duration {
    GRACE + Duration::from_secs(plan.file_bytes / (10 << 20))
}

struct Job {
    name: &'static str,
    rw: &'static str,
    block_bytes: u32,
    depth: u32,
}

fn fio(job: &Job, plan: &GuestPlan, target: &Target) -> Vec<String> {
    // A colon separates two names of files.
    let path = target.path.replace(':', "\\:");
    vec![
        "fio".into(),
        format!("--name={}", job.name),
        format!("--rw={}", job.rw),
        format!("--bs={}", job.block_bytes),
        format!("--size={}", plan.file_bytes),
        format!("--filename={path}"),
        format!("--direct={}", u8::from(target.direct)),
        "--ioengine=libaio".into(),
        format!("--iodepth={}", job.depth),
        "--output-format=json".into(),
    ]
}

fn memory(plan: &GuestPlan, place: &Place, operation: &str) -> String {
    format!(
        "sysbench memory --memory-block-size={} --memory-total-size={} --memory-oper={operation} --threads={} --time={} run",
        plan.memory_block_bytes, plan.memory_total_bytes, place.threads, plan.seconds
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Profile, Suite};
    use super::*;

    #[test]
    fn the_guides_parameters_are_those_of_the_full_profile() {
        let plan = GuestPlan::new(Profile::Full, &Suite::ALL);
        let place = Place {
            threads: 2,
            target: Some(Target { path: "/mnt/a:b".into(), is_device: false, direct: true }),
            peer: Some(Peer { address: Ipv4Addr::new(10, 0, 0, 2), port: 5201 }),
        };
        let line = |test| of(test, &plan, &place).unwrap().join(" ");
        assert_eq!(line(Test::SysbenchCpu), "sysbench cpu --cpu-max-prime=20000 --threads=2 --time=10 run");
        assert_eq!(
            line(Test::MemorySeqWrite),
            "sysbench memory --memory-block-size=1048576 --memory-total-size=8589934592 --memory-oper=write \
             --threads=2 --time=10 run"
        );
        assert_eq!(
            line(Test::FioRandRead),
            "fio --name=fio-rand-read --rw=randread --bs=4096 --size=10737418240 --filename=/mnt/a\\:b --direct=1 \
             --ioengine=libaio --iodepth=32 --output-format=json --time_based --runtime=10"
        );
        assert_eq!(line(Test::IperfTcp), "iperf3 -c 10.0.0.2 -p 5201 -t 60 -P 4 -J");
        assert_eq!(line(Test::IperfUdp), "iperf3 -c 10.0.0.2 -p 5201 -u -b 0 -t 60 -J");
        assert_eq!(line(Test::Ping), "ping -n -c 100 -i 0.2 10.0.0.2");
        assert_eq!(
            line(Test::OpensslSha256),
            "openssl speed -elapsed -seconds 10 -bytes 16384 -multi 2 -evp sha256"
        );
    }

    #[test]
    fn what_has_nothing_to_work_on_has_no_line() {
        let plan = GuestPlan::new(Profile::Quick, &Suite::ALL);
        let place = Place { threads: 1, target: None, peer: None };
        let without: Vec<Suite> = Test::ALL
            .into_iter()
            .filter(|test| of(*test, &plan, &place).is_none())
            .map(Test::suite)
            .collect();
        assert_eq!(without.len(), 7);
        assert!(without.iter().all(|suite| matches!(suite, Suite::Network | Suite::Storage)));
    }
}
