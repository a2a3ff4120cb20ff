//! What a file may say and no bench can be, with the place where it says so.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use virtmark_payload::{is_name, is_parameter_name, is_root};

use super::{BenchFile, HypervisorName, Payload, Via};

/// More machines than this are a slip of the finger.
const MOST_MACHINES: u16 = 1000;

/// What is wrong, and where.
type Wrong = (Range<usize>, String);

impl BenchFile {
    /// `text` is what it was read from.
    pub(super) fn check(&self, text: &str) -> Result<(), Wrong> {
        let wrong = |place: Range<usize>, problem: &str| Err((place, problem.to_owned()));
        if let Some(name) = &self.name
            && !is_name(name.get_ref(), "")
        {
            return wrong(
                name.span(),
                "`name` is for files: use letters, digits, `.`, `_` and `-`, a letter or digit first, at most 64",
            );
        }
        let machines = &self.machines;
        let count = usize::from(machines.count.get());
        if self.ready().count(count) > count {
            return wrong(
                self.ready.span(),
                &format!("`ready` is more than the {count} machines that there are"),
            );
        }
        let place = |key| place_of_machines(text, key);
        if machines.count.get() > MOST_MACHINES {
            return wrong(place("count"), &format!("`count` of [machines] is more than {MOST_MACHINES}"));
        }
        let is_hostname = is_name(&machines.name, "") && !machines.name.contains(['.', '_']);
        if !is_hostname || machines.name.len() > 40 {
            return wrong(
                place("name"),
                "`name` of [machines] begins their hostnames: use letters, digits and `-`, at most 40",
            );
        }
        if machines.hypervisor == HypervisorName::Native && (self.via == Via::Ssh || count > 1) {
            return wrong(
                place(if self.via == Via::Ssh { "hypervisor" } else { "count" }),
                "the hypervisor native is this host alone, by its agent: `via = \"agent\"` and `count = 1`",
            );
        }
        if self.payloads.is_empty() {
            let place = key_of(document(text).as_ref(), "payload");
            return wrong(place, "there is no payload; write a [[payload]] with its `file`");
        }
        self.payloads.iter().try_for_each(Payload::check)
    }
}

impl Payload {
    fn check(&self) -> Result<(), Wrong> {
        let names: BTreeSet<&String> = self.parameters().keys().collect();
        if let Some(name) = names.into_iter().find(|name| !is_parameter_name(name)) {
            let problem =
                format!("{name:?} is no parameter: use capitals, digits and `_`, and not PATH or BENCH_ROOT");
            return Err((self.parameters.span(), problem));
        }
        if let Some((name, _)) = self.parameters().iter().find(|(_, value)| value.contains('\0')) {
            return Err((self.parameters.span(), format!("the value of {name} has a zero byte in it")));
        }
        let root = self.root();
        if !is_root(root) {
            let problem = "`root` is a place on a machine: give an absolute path without `..`".to_owned();
            return Err((self.root.span(), problem));
        }
        if self.file().as_os_str().is_empty() {
            return Err((self.file.span(), "`file` is empty; name the archive of a payload".into()));
        }
        Ok(())
    }
}

/// Where a key of `[machines]` stands; the start of the text for one that is not there.
fn place_of_machines(text: &str, key: &str) -> Range<usize> {
    let document = document(text);
    let machines = document.as_ref().and_then(|document| document.get("machines")?.get_ref().as_table());
    key_of(machines, key)
}

/// The document with its places; none for a text that is no TOML.
fn document(text: &str) -> Option<DeTable<'_>> {
    DeTable::parse(text).ok().map(Spanned::into_inner)
}

fn key_of(table: Option<&DeTable<'_>>, key: &str) -> Range<usize> {
    let entry = table.and_then(|table| table.get_key_value(key));
    entry.map_or(0..0, |(key, _)| key.span())
}
