//! From the options of a sandbox service to how it is spoken to.

use std::time::Duration;

use serde_json::{Value, json};
use virtmark_driver_endpoint::{EndpointOptions, Mapping};

use crate::args::{EndpointArguments, MachineArguments};

/// After which a service ends what a client that was killed had; longer than any wave of machines is there.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How the service is spoken to that the options name, if they name one.
pub(crate) fn options(
    endpoint: &EndpointArguments,
    machine: &MachineArguments,
) -> anyhow::Result<Option<EndpointOptions>> {
    let Some(url) = &endpoint.endpoint else { return Ok(None) };
    let mapping = match &endpoint.mapping {
        None => Mapping::virtmark()?,
        Some(path) => Mapping::read(path)?,
    };
    let start = endpoint.start.map(|start| start.as_str().to_owned());
    let token = endpoint.token();
    Ok(Some(EndpointOptions {
        token,
        image: machine.image.clone(),
        start,
        lifetime: Some(LIFETIME),
        ..EndpointOptions::new(url, mapping)
    }))
}

/// The options, as they go on record.
pub(crate) fn configuration(endpoint: &EndpointArguments, machine: &MachineArguments) -> Value {
    json!({
        "endpoint": endpoint.endpoint,
        "mapping": endpoint.mapping,
        "start": endpoint.start.map(|start| start.as_str()),
        "image": machine.image,
        "vcpus": machine.vcpus,
        "memory_bytes": machine.memory,
    })
}
