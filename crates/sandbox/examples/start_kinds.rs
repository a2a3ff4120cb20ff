//! Time to interactive of each way to start, in one process without HTTP: creation, and the first command's output.
//!
//! `cargo run --release -p virtmark-sandbox --example start_kinds -- ROUNDS`. The ways alternate; every machine is
//! destroyed before the next is made, and the warm pool is full before it is asked. Under software emulation.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::BootImage;
use virtmark_image::{Image, Store, TinyRecipe};
use virtmark_sandbox::api::*;
use virtmark_sandbox::{Images, Options, Result, Service};

struct Tiny(Image);

impl Images for Tiny {
    fn resolve(&self, _: Option<&ImageName>) -> Result<BootImage> {
        Ok(BootImage::of(&self.0))
    }

    fn names(&self) -> Vec<String> {
        vec!["tiny".into()]
    }
}

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(20, |rounds| rounds.parse().unwrap());
    let confined = std::env::args().any(|argument| argument == "--confined");
    let store = Store::open(Store::default_dir().unwrap()).unwrap();
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let image = store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}")).unwrap();
    let run_dir = Arc::new(RunDir::create().unwrap());
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Tcg,
        cache: store.dir().to_path_buf(),
        vcpus: 1,
    };
    let qemu = Qemu::new(&options, &BootImage::of(&image), run_dir, &mut |_| {}).unwrap();
    let state = tempfile::tempdir().unwrap();
    let options = Options { warm: 1, confined, ..Options::new(state.path()) };
    let service = Service::open(Arc::new(qemu), Arc::new(Tiny(image)), options).unwrap();

    let mut times_ns: BTreeMap<(Start, String), Vec<u64>> = BTreeMap::new();
    let mut private_bytes: BTreeMap<Start, Vec<u64>> = BTreeMap::new();
    for _ in 0..rounds {
        for start in [StartKind::Cold, StartKind::Template, StartKind::Warm] {
            while service.health().ready_warm == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            let began = Instant::now();
            let created = service.create(CreateRequest { start: Some(start), ..Default::default() }).unwrap();
            let request = ExecRequest {
                sandbox_id: created.sandbox_id.clone(),
                cmd: "echo benchmark".parse().unwrap(),
                timeout_ms: None,
                stdin: None,
                env: Env::default(),
                encoding: None,
            };
            let answer = service.exec(request).unwrap();
            let tti_ns = began.elapsed().as_nanos() as u64;
            assert_eq!(answer.stdout, "benchmark\n");
            let mut note = |name: &str, ns| {
                times_ns.entry((created.start, name.to_owned())).or_default().push(ns);
            };
            note("tti", tti_ns);
            note("exec", answer.duration_ns);
            note("create", created.duration_ns);
            for phase in &created.phases {
                note(&format!("create/{}", phase.name), phase.duration_ns);
            }
            let usage = service.inspect(&created.sandbox_id).unwrap().usage.unwrap();
            private_bytes.entry(created.start).or_default().extend(usage.private_bytes);
            service.destroy(DestroyRequest { sandbox_id: created.sandbox_id }).unwrap();
        }
    }
    for ((start, name), values) in times_ns {
        println!(
            "{:8} {name:22} median {:9.3} ms of {}",
            start.as_str(),
            median(&values) as f64 / 1e6,
            values.len()
        );
    }
    for (start, values) in private_bytes {
        println!(
            "{:8} private memory         median {:9.1} MiB",
            start.as_str(),
            median(&values) as f64 / 1048576.0
        );
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
