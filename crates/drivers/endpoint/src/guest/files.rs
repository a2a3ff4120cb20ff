//! Files of a guest, where the mapping has requests for them.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use virtmark_hypervisor::{Command, Error, GuestLink, Result};

use super::{EndpointGuest, decoded};
use crate::mapping::template::{Placeholder, Values};
use crate::service::Task;

pub(super) fn put(
    guest: &EndpointGuest,
    source: &mut dyn Read,
    size: u64,
    path: &str,
    mode: u32,
) -> Result<()> {
    let Some(operation) = &guest.service.mapping.put_file else {
        return Err(guest.refused(&format!("take the file {path}"), "the mapping has no put_file"));
    };
    let mut values = of_file(guest, path);
    values.insert(Placeholder::Mode, format!("{mode:04o}").into());
    let mut source = source.take(size);
    let mut whole = Vec::new();
    if operation.request.body.is_some() {
        source.read_to_end(&mut whole).map_err(Error::io(format!("read what goes to {path}")))?;
        values.insert(Placeholder::ContentBase64, STANDARD.encode(&whole).into());
        if let Ok(text) = std::str::from_utf8(&whole) {
            values.insert(Placeholder::Content, text.into());
        }
    }
    guest.service.done(
        &task(guest, &operation.request, &values, "copy a file into", false),
        Some((&mut source, size)),
    )?;
    Ok(())
}

pub(super) fn get(guest: &EndpointGuest, path: &str, target: &mut dyn Write) -> Result<u32> {
    let Some(operation) = &guest.service.mapping.get_file else {
        return Err(guest.refused(&format!("give the file {path}"), "the mapping has no get_file"));
    };
    let values = of_file(guest, path);
    let task = task(guest, &operation.request, &values, "copy a file out of", true);
    let content = match &operation.answer {
        Some(fields) => {
            let answer = guest.service.json(&task)?;
            let text = fields.content.find(&answer.value).and_then(Value::as_str);
            text.and_then(|text| decoded(text, fields.encoding))
                .ok_or_else(|| answer.without(&fields.content, "a file's content"))?
        }
        None => guest.service.done(&task, None)?.1.body,
    };
    let mode = mode(guest, path)?;
    target.write_all(&content).map_err(Error::io(format!("keep what came from {path}")))?;
    Ok(mode)
}

fn of_file(guest: &EndpointGuest, path: &str) -> Values {
    let mut values = guest.sandbox.values();
    values.insert(Placeholder::Path, path.into());
    values
}

fn task<'a>(
    guest: &'a EndpointGuest,
    request: &'a crate::mapping::Request,
    values: &'a Values,
    action: &str,
    repeatable: bool,
) -> Task<'a> {
    Task {
        request,
        values,
        action: format!("{action} {}", guest.sandbox.told()),
        machine: &guest.sandbox.machine,
        timeout: guest.service.timeout,
        repeatable,
        leftover: None,
    }
}

/// The permission bits of a guest's file.
fn mode(guest: &EndpointGuest, path: &str) -> Result<u32> {
    let output = guest.exec(&Command::argv(["stat", "-L", "-c", "%a", path]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    u32::from_str_radix(text.trim(), 8).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        guest.refused(
            &format!("say the mode of {path}"),
            format!("stat answered {:?} {:?}", text.trim(), said.trim()),
        )
    })
}
