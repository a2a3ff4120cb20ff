//! Any sandbox service's HTTP API as a platform: every scenario measures it as it measures a hypervisor of this host.
//!
//! How the API is spoken is data, a [`Mapping`]; that of `virtmark serve` is built in and goes the same way. Times are
//! this client's wall clock; what the service says of its own time takes them apart, and the rest is the phase `http`.

mod facts;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guest;
mod http;
mod machine;
mod mapping;
mod probe;
mod service;
mod snapshot;
mod start;
mod times;

use std::sync::Arc;
use std::time::Duration;

pub use mapping::{Mapping, MappingError};
use ureq::http::{HeaderName, HeaderValue, Uri, header};
use virtmark_hypervisor::{
    Capabilities, Capability, Error, Hypervisor, Machine, MachineSpec, Result, Snapshot,
};
use virtmark_model::{HypervisorFacts, ImageFacts, Timeline};

use crate::http::Client;
use crate::mapping::Auth;
use crate::service::Service;
use crate::start::StartOptions;
use crate::times::Notes;

/// What no service of this kind can do, whatever its mapping says.
const ABSENT: [(Capability, &str); 9] = [
    (Capability::Console, "the service keeps what its machines print to itself"),
    (Capability::CoolSnapshot, "the service's memory is not in reach"),
    (Capability::Disks, "the service's machines have the disks that it gives them"),
    (Capability::GracefulStop, "the service ends a machine in one way only, which is to destroy it"),
    (Capability::KernelBoot, "the service decides what its machines boot"),
    (Capability::Migrate, "where a machine runs is the service's own affair"),
    (Capability::Network, "the service's machines have the networks that it gives them"),
    (Capability::PauseResume, "the service has no operation for it"),
    (Capability::SharedNetwork, "the service's machines have the networks that it gives them"),
];

/// A service to measure.
#[derive(Debug)]
pub struct EndpointOptions {
    /// Where it is: `http` or `https`, host, port, and the path under which its API is, if any.
    pub url: String,
    /// What it wants to be shown, in the form that the mapping says.
    pub token: Option<String>,
    /// How its API is spoken.
    pub mapping: Mapping,
    /// The service's name of the image that machines boot; its own choice when absent.
    pub image: Option<String>,
    /// How the service shall start them, in its words (`cold`, `template`, `warm`); its own choice when absent.
    pub start: Option<String>,
    /// After how long the service shall end a machine by itself, which is what ends those of a client that was killed; its
    /// own choice when absent.
    pub lifetime: Option<Duration>,
    /// The limit of a request that has none of its own: all but those that start a machine or run a command with a limit.
    pub timeout: Duration,
    /// How much of one answer is read; more is an error.
    pub max_answer_bytes: u64,
}

impl EndpointOptions {
    /// A service with the API of `mapping`: no token, its own choice of everything, 60 s for a request, 64 MiB for an
    /// answer.
    pub fn new(url: impl Into<String>, mapping: Mapping) -> Self {
        Self {
            url: url.into(),
            token: None,
            mapping,
            image: None,
            start: None,
            lifetime: None,
            timeout: Duration::from_secs(60),
            max_answer_bytes: 64 << 20,
        }
    }
}

/// A service as a platform.
pub struct Endpoint {
    facts: HypervisorFacts,
    image: Option<ImageFacts>,
    capabilities: Capabilities,
    start: StartOptions,
    service: Arc<Service>,
}

impl Endpoint {
    /// A service that answers: where the mapping has a `health` request, it is made.
    ///
    /// # Errors
    /// The URL is none, nothing answers there, the token is refused, or the answer is not the API's.
    pub fn new(options: EndpointOptions) -> Result<Self> {
        let base = base_url(&options.url)?;
        let notes = Notes::default();
        let auth = auth_header(&options)?;
        if auth.is_some() && is_readable_on_the_way(&base) {
            notes.add("the token goes over the network unencrypted; use https");
        }
        let service = Service {
            client: Client::new(
                base.to_string().trim_end_matches('/').into(),
                auth,
                options.max_answer_bytes,
            ),
            mapping: options.mapping,
            timeout: options.timeout,
            notes,
        };
        let start = StartOptions { image: options.image, start: options.start, lifetime: options.lifetime };
        let (facts, image) = facts::ask(&service)?;
        let capabilities = capabilities(&service.mapping);
        Ok(Self { facts, image, capabilities, start, service: Arc::new(service) })
    }

    /// The image that the service's machines boot by default, as far as it says so.
    pub fn image(&self) -> Option<&ImageFacts> {
        self.image.as_ref()
    }

    /// Remarks on what was measured so far, with how often there was reason for each: times of the service that cannot be
    /// right, things that its answers leave open.
    pub fn notes(&self) -> Vec<(String, u64)> {
        self.service.notes.all()
    }

    fn refuse_what_cannot_be(&self, spec: &MachineSpec) -> Result<()> {
        if !spec.disks.is_empty() {
            return Err(self.unsupported(Capability::Disks));
        }
        if !spec.networks.is_empty() {
            return Err(self.unsupported(Capability::Network));
        }
        if !spec.kernel_arguments.is_empty() {
            return Err(self.unsupported(Capability::KernelBoot));
        }
        Ok(())
    }
}

impl Hypervisor for Endpoint {
    fn facts(&self) -> &HypervisorFacts {
        &self.facts
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The service's answer means that the machine runs and its agent answers, so that `start` has nothing left to do and
    /// takes no time. Of `spec` the service is told its name, `vcpus` and `memory_bytes` where the mapping has a place for
    /// them; those that are 0 are the service's own choice. Disks, networks and kernel arguments are refused.
    ///
    /// Phases: `http` and the service's own; `create` alone when it says nothing of its time; `ready` while a service is
    /// polled that answers earlier.
    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        self.refuse_what_cannot_be(spec)?;
        let (machine, timeline) = start::create(&self.service, &self.start, spec)?;
        Ok((Box::new(machine), timeline))
    }

    /// As [`create`](Self::create), of a machine that runs already when this returns.
    fn restore(&self, snapshot: &Snapshot, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        if !self.capabilities.has(Capability::Restore) {
            return Err(self.unsupported(Capability::Restore));
        }
        self.refuse_what_cannot_be(spec)?;
        let (machine, timeline) = start::restore(&self.service, &self.start, snapshot, spec)?;
        Ok((Box::new(machine), timeline))
    }

    /// Deletes it at the service, and removes the directory that stood for it.
    fn discard(&self, snapshot: Snapshot) -> Result<()> {
        snapshot::discard(&self.service, &snapshot)
    }
}

fn capabilities(mapping: &Mapping) -> Capabilities {
    let unmapped = [
        (Capability::ResourceUsage, mapping.inspect.is_none(), "the mapping has no inspect"),
        (Capability::Restore, mapping.snapshot_restore.is_none(), "the mapping has no snapshot_restore"),
        (Capability::Snapshot, mapping.snapshot_create.is_none(), "the mapping has no snapshot_create"),
    ];
    let unmapped = unmapped.into_iter().filter(|(_, absent, _)| *absent);
    Capabilities::all_except(
        ABSENT.into_iter().chain(unmapped.map(|(capability, _, reason)| (capability, reason))),
    )
}

fn base_url(url: &str) -> Result<Uri> {
    let wrong = |reason: &str| Error::HypervisorMissing {
        program: format!("machines at {url:?}"),
        reason: reason.into(),
        remedy: "give --endpoint a URL such as http://127.0.0.1:8080".into(),
    };
    let uri: Uri = url.trim().parse().map_err(|_| wrong("it is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it is neither http nor https"));
    }
    if authority.as_str().contains('@') {
        return Err(wrong("it has a user name in it; the service's token is given with --token"));
    }
    if uri.query().is_some() {
        return Err(wrong("it has a query"));
    }
    Ok(uri)
}

fn auth_header(options: &EndpointOptions) -> Result<Option<(HeaderName, HeaderValue)>> {
    let Some(token) = &options.token else { return Ok(None) };
    let (name, value) = match &options.mapping.auth {
        Auth::Bearer => (header::AUTHORIZATION, format!("Bearer {token}")),
        Auth::Header(name) => (name.clone(), token.clone()),
        Auth::None => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| Error::PermissionDenied {
        action: "show the service the token: it has characters that no header can have".into(),
        remedy: "give it with --token, without line ends".into(),
    })?;
    // It is kept out of what is ever printed of a request.
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

fn is_readable_on_the_way(base: &Uri) -> bool {
    let host = base.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    base.scheme_str() == Some("http") && !loopback
}
