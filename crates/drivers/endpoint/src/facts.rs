//! What a service says of itself. What it does not say is absent.

use serde_json::Value;
use virtmark_hypervisor::Result;
use virtmark_model::{Accelerator, HypervisorFacts, ImageFacts};

use crate::mapping::answer::{HealthAnswer, Pointer};
use crate::mapping::template::Values;
use crate::service::{Service, Task};

/// Asks it, where the mapping says how.
pub(crate) fn ask(service: &Service) -> Result<(HypervisorFacts, Option<ImageFacts>)> {
    let provider = &service.mapping.provider;
    let Some(health) = &service.mapping.health else {
        return Ok(read(service, &HealthAnswer::default(), &Value::Null));
    };
    let answer = service.json(&Task {
        request: &health.request,
        values: &Values::new(),
        action: format!("ask {provider} how it is"),
        machine: provider,
        timeout: service.timeout,
        repeatable: true,
        leftover: None,
    })?;
    Ok(read(service, &health.answer, &answer.value))
}

fn read(service: &Service, fields: &HealthAnswer, answer: &Value) -> (HypervisorFacts, Option<ImageFacts>) {
    let text = |at: &Option<Pointer>| Some(at.as_ref()?.find(answer)?.as_str()?.to_owned());
    let emulated = fields.emulated.as_ref().and_then(|at| at.find(answer)?.as_bool());
    let (accelerator, reason) = accelerator(text(&fields.accelerator), emulated);
    // The URL comes first: runs against two services differ by it.
    let hypervisor = [text(&fields.hypervisor), text(&fields.hypervisor_version)];
    let hypervisor = hypervisor.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let told =
        [service.client.base().to_owned(), hypervisor, text(&fields.configuration).unwrap_or_default()];
    let told: Vec<String> = told.into_iter().filter(|part| !part.is_empty()).collect();
    let facts = HypervisorFacts {
        name: service.mapping.provider.clone(),
        version: text(&fields.version).unwrap_or_default(),
        accelerator,
        accelerator_reason: text(&fields.accelerator_reason).or(reason),
        configuration: Some(told.join("; ")),
        machine: None,
        nested_in_emulation: false,
    };
    let image = fields.image.as_ref().and_then(|at| at.find(answer));
    let image =
        image.filter(|image| image.is_object()).and_then(|image| serde_json::from_value(image.clone()).ok());
    (facts, image)
}

/// The accelerator as the service says it, and why where that needs words. A service that says its machines are emulated
/// is believed, whatever it calls the accelerator: figures of emulated machines must be known as such.
fn accelerator(name: Option<String>, emulated: Option<bool>) -> (Option<Accelerator>, Option<String>) {
    match (name.as_deref(), emulated) {
        (Some("tcg"), _) => (Some(Accelerator::Tcg), None),
        (Some("kvm"), None | Some(false)) => (Some(Accelerator::Kvm), None),
        (Some(other), Some(true)) => {
            (Some(Accelerator::Tcg), Some(format!("the service says {other}, and that it is emulated")))
        }
        (None, Some(true)) => {
            (Some(Accelerator::Tcg), Some("the service says that its machines are emulated".into()))
        }
        (Some(other), _) => (None, Some(format!("the service says {other}"))),
        (None, _) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_is_never_lost_and_nothing_is_invented() {
        let of = |name: Option<&str>, emulated| accelerator(name.map(str::to_owned), emulated).0;
        assert_eq!(of(Some("kvm"), Some(false)), Some(Accelerator::Kvm));
        assert_eq!(of(Some("kvm"), Some(true)), Some(Accelerator::Tcg));
        assert_eq!(of(Some("tcg"), None), Some(Accelerator::Tcg));
        assert_eq!(of(None, Some(true)), Some(Accelerator::Tcg));
        assert_eq!(of(None, Some(false)), None);
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some("hvf"), None), None);
        assert_eq!(accelerator(Some("hvf".into()), None).1.as_deref(), Some("the service says hvf"));
    }
}
