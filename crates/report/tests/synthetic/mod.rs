//! Made-up runs for tests and for looking at the layout. Nothing in them was measured.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "unit tests, tests and examples each include what they need of it"
)]

use std::collections::BTreeMap;

use virtmark_model::{
    Accelerator, Environment, FailureClass, HarnessCost, HostFacts, HypervisorFacts, ImageFacts, Outcome,
    Phase, ProgramFacts, Run, RunId, RunStatus, Sample, Unit,
};

pub fn tcg() -> HypervisorFacts {
    HypervisorFacts {
        name: "qemu".into(),
        version: "7.2.0-synthetic".into(),
        accelerator: Some(Accelerator::Tcg),
        accelerator_reason: Some("synthetic: a probe guest did not run on /dev/kvm".into()),
        configuration: Some("pc, PVH".into()),
        machine: None,
        nested_in_emulation: false,
    }
}

pub fn kvm() -> HypervisorFacts {
    HypervisorFacts { accelerator: Some(Accelerator::Kvm), accelerator_reason: None, ..tcg() }
}

/// A complete run; `number` tells runs apart and moves the start by as many minutes.
pub fn run(scenario: &str, number: u32, hypervisor: HypervisorFacts) -> Run {
    let started_at = jiff::Timestamp::from_second(1_767_323_045 + i64::from(number) * 60)
        .expect("a second of the year 2026 is a timestamp");
    Run {
        id: RunId::new(scenario, started_at, 0xa1_b2c3 + number),
        scenario: scenario.into(),
        started_at,
        finished_at: Some(started_at + jiff::SignedDuration::from_secs(54)),
        status: RunStatus::Complete,
        configuration: serde_json::json!({
            "command_line": ["virtmark", scenario, "--count", "50", "--image", "it's tiny"],
            "count": 50, "warmup": number, "image": "tiny", "memory_bytes": 134_217_728,
            "kernel_arguments": ["acpi=off", "pci=conf1"], "timeouts": {"boot_ns": 90_000_000_000_u64},
        }),
        environment: Environment {
            host: HostFacts {
                arch: "x86_64".into(),
                boot_id: Some("00000000-synthetic".into()),
                cpu_flags: "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr sse sse2 avx avx2"
                    .split(' ')
                    .map(String::from)
                    .collect(),
                cpu_model: "Synthetic CPU".into(),
                governor: if number == 0 { Some("performance".into()) } else { None },
                kernel: "6.1.0-synthetic".into(),
                load_average_1m: Some(0.25 + f64::from(number)),
                logical_cpus: 2,
                memory_total_bytes: 25_769_803_776,
                os: Some("Synthetic Linux 1".into()),
                smt: Some(false),
                ..HostFacts::default()
            },
            hypervisor,
            image: Some(ImageFacts {
                id: "5e".repeat(32),
                name: "tiny".into(),
                kernel_sha256: "ab".repeat(32),
                initramfs_sha256: Some("cd".repeat(32)),
                kernel_release: Some("6.1.0-cloud-synthetic".into()),
            }),
            virtmark: ProgramFacts { version: "0.1.0".into(), commit: Some("0123abcd".into()) },
            steal_ns: Some(40_000_000),
            harness: Some(HarnessCost { cpu_ns: 220_000_000, max_rss_bytes: 9_437_184, iterations: 50 }),
        },
    }
}

/// Made-up times to interactive, skewed to the right, with phases that add up.
pub fn tti_samples(seed: u64, count: u64) -> Vec<Sample> {
    timed_samples(
        "tti",
        &[("prepare", 2e6), ("spawn", 45e6), ("kernel", 860e6), ("init", 240e6), ("exec", 12e6)],
        seed,
        count,
    )
}

/// Made-up times of one metric, whose phases have about these lengths.
pub fn timed_samples(metric: &str, typical: &[(&'static str, f64)], seed: u64, count: u64) -> Vec<Sample> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut started_ns = 0;
    let sample = |seq| {
        let mut phases = Vec::new();
        let mut end_ns = 0;
        for &(name, ns) in typical {
            let duration_ns = (ns * (0.94 + 0.08 * random.next() + 0.02 / (0.05 + random.next()))) as u64;
            phases.push(Phase { name: name.into(), start_ns: end_ns, duration_ns });
            end_ns += duration_ns;
        }
        let sample = Sample {
            seq,
            metric: metric.into(),
            unit: Unit::Ns,
            started_ns,
            outcome: Outcome::Success { value: end_ns as f64 },
            phases,
            labels: BTreeMap::from([("machine".into(), format!("m{seq}"))]),
        };
        started_ns += end_ns + 1_000_000;
        sample
    };
    (0..count).map(sample).collect()
}

/// Made-up times to interactive of a sandbox service that starts machines in this way.
pub fn started_samples(start: &str, seed: u64, count: u64) -> Vec<Sample> {
    let phases: &[(&'static str, f64)] = match start {
        "cold" => &[
            ("connect_http", 0.3e6),
            ("prepare", 2e6),
            ("spawn", 45e6),
            ("firmware_kernel", 860e6),
            ("init", 240e6),
            ("http", 1.1e6),
            ("exec", 12e6),
        ],
        "template" => {
            &[("connect_http", 0.3e6), ("spawn", 45e6), ("load", 60e6), ("http", 1.1e6), ("exec", 18e6)]
        }
        _ => &[("connect_http", 0.3e6), ("resume", 1.2e6), ("http", 1.1e6), ("exec", 14e6)],
    };
    let mut samples = timed_samples("tti", phases, seed, count);
    for sample in &mut samples {
        sample.labels.insert("start".into(), start.into());
    }
    samples
}

/// The same samples as if all but every ninth were launched `apart_ns` after the one before; the ninth failed.
pub fn launched(mut samples: Vec<Sample>, apart_ns: u64) -> Vec<Sample> {
    for sample in &mut samples {
        sample.started_ns = sample.seq * apart_ns;
        sample.labels.insert("wave".into(), "0".into());
        if sample.seq % 9 == 8 {
            sample.outcome = Outcome::Failure {
                class: FailureClass::GuestSilent,
                message: "no answer within 90 s".into(),
            };
        }
    }
    samples
}

pub fn failure(seq: u64, metric: &str, class: FailureClass, message: &str) -> Sample {
    without_value(seq, metric, Outcome::Failure { class, message: message.into() })
}

pub fn skip(seq: u64, metric: &str, reason: &str) -> Sample {
    without_value(seq, metric, Outcome::Skipped { reason: reason.into() })
}

fn without_value(seq: u64, metric: &str, outcome: Outcome) -> Sample {
    Sample {
        seq,
        metric: metric.into(),
        unit: Unit::Ns,
        started_ns: seq * 1_000_000_000,
        outcome,
        phases: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// xorshift64: enough to make layouts look like measurements.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
