//! `virtmark serve`

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use virtmark_host::facts::host_facts;
use virtmark_host::signals;
use virtmark_hypervisor::BootImage;
use virtmark_image::{Image, Store, Verify};
use virtmark_sandbox::api::{ImageName, StartKind};
use virtmark_sandbox::http::{self, HttpOptions, Token};
use virtmark_sandbox::{Error, Images, Notice, Options, Service};

use crate::args::{Driver, ServiceArguments, StartChoice, TOKEN_VARIABLE};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure::describe;
use crate::output;
use crate::platform::{self, Platform};
use crate::progress::Progress;

/// Warm machines of a service that starts sandboxes so, unless told otherwise.
const DEFAULT_WARM: u32 = 4;
/// Virtual CPUs for each CPU of the host, unless told otherwise: sandboxes are idle most of the time.
const VCPUS_PER_CPU: u32 = 32;
/// Longer than any service runs between two looks at whether it should end.
const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn run(options: &ServiceArguments, quiet: bool) -> anyhow::Result<Exit> {
    if options.machine.hypervisor == Driver::Native {
        let message = "--hypervisor native isolates nothing: sandboxes need --hypervisor qemu";
        return Err(Failure::usage(message).into());
    }
    let token = token(options)?;
    // Checked before anything is built, because it is the commonest mistake.
    let http_options = HttpOptions { token, ..HttpOptions::default() };
    http_options.check(options.listen)?;
    let listener = TcpListener::bind(options.listen).with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", options.listen)
    })?;
    let progress = Progress::new("serve", quiet);
    let prepared = platform::prepare(&options.machine, None, &progress)?;
    let interrupt = signals::install()?;
    let images = StoreImages::open(&options.allowed_images)?;
    let platform = Platform::open(&options.machine, prepared, &progress)?;
    let images = images.with_default(options.machine.image(), platform.image.clone());
    let mut service_options = service_options(options, &progress)?;
    progress.note(&describe(platform.hypervisor.facts()));
    match platform.confinement().filter(|_| !options.unconfined) {
        Some(confinement) => {
            progress.note(&confinement.to_string());
            service_options.confinement = Some(confinement.holds());
        }
        None => progress.note("VMMs are not confined: they run as this user"),
    }
    let service = Service::open(Arc::clone(&platform.hypervisor), Arc::new(images), service_options)?;
    let server = http::serve(listener, Arc::clone(&service), http_options)?;
    let address = server.local_addr();
    // For whoever started it and waits for its address.
    output::json(&json!({ "url": format!("http://{address}"), "pid": std::process::id() }))?;
    if !quiet {
        output::people(&format!("virtmark: serving http://{address} (Ctrl-C ends it)\n"));
    }
    while !interrupt.wait_timeout(LONG) {}
    progress.note("shutting down; running commands may finish (Ctrl-C again ends at once)");
    server.shutdown(options.limits.drain);
    Ok(Exit::Ok)
}

/// The token that clients must show, if there is one.
fn token(options: &ServiceArguments) -> Result<Option<Token>, Failure> {
    let given = options.token.clone().or_else(|| std::env::var(TOKEN_VARIABLE).ok());
    match given.filter(|given| !given.is_empty()) {
        None => Ok(None),
        // A service without the token that was asked for would be open to everybody.
        Some(given) => match Token::new(&given) {
            Some(token) => Ok(Some(token)),
            None => {
                Err(Failure::usage("no HTTP header can hold this token: use letters, digits and punctuation"))
            }
        },
    }
}

fn service_options(options: &ServiceArguments, progress: &Progress) -> anyhow::Result<Options> {
    let state = match &options.state {
        Some(directory) => directory.clone(),
        None => default_state()?,
    };
    let ServiceArguments { limits, machine, .. } = options;
    let host = host_facts();
    let granted =
        host.cgroup.memory_bytes.map_or(host.memory_total_bytes, |limit| limit.min(host.memory_total_bytes));
    let cpus = u32::try_from(std::thread::available_parallelism()?.get())?;
    let start = match options.start {
        StartChoice::Cold => StartKind::Cold,
        StartChoice::Template => StartKind::Template,
        StartChoice::Warm => StartKind::Warm,
    };
    let mib = |bytes: u64| bytes >> 20;
    let progress = progress.clone();
    Ok(Options {
        start,
        warm: options.warm.unwrap_or(if start == StartKind::Warm { DEFAULT_WARM } else { 0 }),
        vcpus: machine.vcpus(),
        max_vcpus: limits.max_vcpus.max(machine.vcpus()),
        memory_mib: mib(machine.memory_bytes()),
        max_memory_mib: mib(limits.max_memory).max(mib(machine.memory_bytes())),
        max_disk_mib: mib(limits.max_disk),
        kernel_arguments: machine.kernel_arguments.clone(),
        confined: !options.unconfined,
        ready_timeout: limits.ready_timeout,
        max_sandboxes: limits.max_sandboxes.into(),
        total_vcpus: limits.total_vcpus.unwrap_or(VCPUS_PER_CPU * cpus).into(),
        total_memory_mib: mib(limits.total_memory.unwrap_or(granted / 4 * 3)),
        max_snapshots: limits.max_snapshots,
        max_exec_timeout: limits.max_exec_time,
        max_output_bytes: usize::try_from(limits.max_output)?,
        max_request_bytes: usize::try_from(limits.max_request)?,
        life: limits.lifetime.min(limits.max_lifetime),
        max_life: limits.max_lifetime,
        notice: Notice::new(move |words| progress.note(words)),
        ..Options::new(state)
    })
}

/// Beside the archive, where the XDG base directory specification puts data.
fn default_state() -> anyhow::Result<PathBuf> {
    let archive = virtmark_archive::Archive::default_path()?;
    Ok(archive.with_file_name("sandbox"))
}

/// The images of the store that the operator named. Held open, so that nobody removes them.
struct StoreImages {
    default: Option<BootImage>,
    named: BTreeMap<String, BootImage>,
    _held: Vec<Image>,
}

impl StoreImages {
    fn open(names: &[String]) -> anyhow::Result<Self> {
        let mut images = Self { default: None, named: BTreeMap::new(), _held: Vec::new() };
        if names.is_empty() {
            return Ok(images);
        }
        let store = Store::open(Store::default_dir()?)?;
        for name in names {
            let image = store.lookup(name, Verify::Quick)?;
            images.named.insert(name.clone(), BootImage::of(&image));
            images._held.push(image);
        }
        Ok(images)
    }

    fn with_default(mut self, name: &str, image: Option<BootImage>) -> Self {
        if let Some(image) = &image {
            self.named.insert(name.into(), image.clone());
        }
        Self { default: image, ..self }
    }
}

impl Images for StoreImages {
    fn names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }

    fn resolve(&self, name: Option<&ImageName>) -> Result<BootImage, Error> {
        let found = match name {
            None => self.default.as_ref(),
            Some(name) => self.named.get(name.as_str()),
        };
        found.cloned().ok_or_else(|| Error::ImageUnknown {
            image: name.map(ToString::to_string).unwrap_or_default(),
            known: self.names(),
        })
    }
}
