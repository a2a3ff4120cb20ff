//! From a mapping as it is written to one that can be used; what cannot is told with its place.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;
use toml::Spanned;
use ureq::http::Method;

use super::answer::{NoAnswer, StartAnswer};
use super::raw::{Node, Plain, RawAuth, RawMapping, RawOperation, RawPoll};
use super::template::Placeholder::{self, *};
use super::template::{JsonTemplate, Template};
use super::{Auth, Mapping, Operation, Poll, Request};

/// What a request that makes a machine can say.
const OF_MACHINES: &[Placeholder] =
    &[Image, LifetimeMs, LifetimeS, MemoryBytes, MemoryMib, Name, Start, Vcpus];

/// What a request that runs a command can say.
const OF_COMMANDS: &[Placeholder] =
    &[SandboxId, Argv, Cmd, Cwd, Env, Stdin, StdinBase64, TimeoutMs, TimeoutS];

/// What is wrong, and where.
pub(super) struct Wrong {
    pub(super) at: Range<usize>,
    pub(super) problem: String,
}

impl Wrong {
    pub(super) fn new(at: Range<usize>, problem: impl Into<String>) -> Self {
        Self { at, problem: problem.into() }
    }
}

pub(super) fn compile(raw: RawMapping) -> Result<Mapping, Wrong> {
    let provider = raw.provider.get_ref().trim();
    if provider.is_empty() {
        return Err(Wrong::new(
            raw.provider.span(),
            "provider is the service's name on record; it cannot be empty",
        ));
    }
    let base = match &raw.base_path {
        Some(base) if !base.get_ref().starts_with('/') || base.get_ref().ends_with('/') => {
            return Err(Wrong::new(base.span(), "base_path begins with a slash and ends without one"));
        }
        Some(base) => base.get_ref().as_str(),
        None => "",
    };
    let auth = match raw.auth.map(|auth| (auth.span(), auth.into_inner())) {
        None | Some((_, RawAuth::Bearer)) => Auth::Bearer,
        Some((at, RawAuth::Header { name })) => Auth::Header(
            name.parse().map_err(|_| Wrong::new(at, format!("{name:?} cannot be the name of a header")))?,
        ),
        Some((_, RawAuth::None)) => Auth::None,
    };
    if let (Some(take), None) = (&raw.snapshot_create, &raw.snapshot_delete) {
        let problem =
            "snapshot_create needs a snapshot_delete: without it every snapshot would be left behind";
        return Err(Wrong::new(take.path.span(), problem));
    }
    let restored: Vec<Placeholder> = OF_MACHINES.iter().copied().chain([SnapshotId]).collect();
    Ok(Mapping {
        provider: provider.into(),
        auth,
        error: raw.error,
        health: raw.health.map(|raw| optional(raw, base, &[])).transpose()?,
        create: started(raw.create, "create", base, OF_MACHINES)?,
        exec: required(raw.exec, "exec", base, OF_COMMANDS)?,
        destroy: optional(raw.destroy, base, &[SandboxId])?,
        snapshot_create: raw
            .snapshot_create
            .map(|raw| required(raw, "snapshot_create", base, &[SandboxId, Name]))
            .transpose()?,
        snapshot_restore: raw
            .snapshot_restore
            .map(|raw| started(raw, "snapshot_restore", base, &restored))
            .transpose()?,
        snapshot_delete: raw.snapshot_delete.map(|raw| optional(raw, base, &[SnapshotId])).transpose()?,
        inspect: raw.inspect.map(|raw| optional(raw, base, &[SandboxId])).transpose()?,
        put_file: raw.put_file.map(|raw| put_file(raw, base)).transpose()?,
        get_file: raw
            .get_file
            .map(|raw| operation(raw, base, &[SandboxId, Path], |answer| Ok(answer.map(Spanned::into_inner))))
            .transpose()?,
    })
}

fn put_file(raw: RawOperation<NoAnswer>, base: &str) -> Result<Operation<NoAnswer>, Wrong> {
    let at = raw.body.as_ref().map_or(0..0, Spanned::span);
    let operation = optional(raw, base, &[SandboxId, Path, Mode, Content, ContentBase64])?;
    match &operation.request.body {
        Some(body) if !body.names(Content) && !body.names(ContentBase64) => Err(Wrong::new(
            at,
            "the body of put_file says neither {content} nor {content_base64}; without a body the file is sent as it is",
        )),
        _ => Ok(operation),
    }
}

/// An operation that makes a machine, which may have to be waited for.
fn started(
    mut raw: RawOperation<StartAnswer>,
    name: &str,
    base: &str,
    allowed: &[Placeholder],
) -> Result<Operation<StartAnswer>, Wrong> {
    let poll = raw.poll.take().map(|poll| compile_poll(poll.into_inner(), base)).transpose()?;
    Ok(Operation { poll, ..required(raw, name, base, allowed)? })
}

/// An operation that answers what must be known.
fn required<A>(
    raw: RawOperation<A>,
    name: &str,
    base: &str,
    allowed: &[Placeholder],
) -> Result<Operation<A>, Wrong> {
    let at = raw.path.span();
    operation(raw, base, allowed, |answer| {
        answer.map(Spanned::into_inner).ok_or_else(|| {
            Wrong::new(at, format!("{name} needs an [{name}.answer]: where its answer says what"))
        })
    })
}

/// An operation whose answer may stay unread.
fn optional<A: Default>(
    raw: RawOperation<A>,
    base: &str,
    allowed: &[Placeholder],
) -> Result<Operation<A>, Wrong> {
    operation(raw, base, allowed, |answer| Ok(answer.map(Spanned::into_inner).unwrap_or_default()))
}

fn operation<R, A>(
    raw: RawOperation<R>,
    base: &str,
    allowed: &[Placeholder],
    answer: impl FnOnce(Option<Spanned<R>>) -> Result<A, Wrong>,
) -> Result<Operation<A>, Wrong> {
    if let Some(poll) = raw.poll {
        return Err(Wrong::new(poll.span(), "only create and snapshot_restore can have a poll"));
    }
    let success = match raw.success {
        Some(statuses) => {
            let known: BTreeSet<u16> = statuses.get_ref().iter().copied().collect();
            if known.is_empty() || known.iter().any(|status| !(200..300).contains(status)) {
                return Err(Wrong::new(statuses.span(), "success lists HTTP statuses from 200 to 299"));
            }
            Some(known.into_iter().collect())
        }
        None => None,
    };
    let method = method(&raw.method)?;
    if let Some(body) = raw.body.as_ref().filter(|_| [Method::DELETE, Method::GET].contains(&method)) {
        return Err(Wrong::new(body.span(), format!("a {method} request has no body")));
    }
    let body = raw.body.map(|body| body_template(body, allowed)).transpose()?;
    let request = Request { method, path: path(&raw.path, base, allowed)?, body, success };
    for id in [SandboxId, SnapshotId].into_iter().filter(|id| allowed.contains(id)) {
        if !request.names(id) {
            let problem = format!("neither the path nor the body says {{{}}}", id.as_str());
            return Err(Wrong::new(raw.path.span(), problem));
        }
    }
    if allowed.contains(&Cmd) && !request.names(Cmd) && !request.names(Argv) {
        return Err(Wrong::new(raw.path.span(), "neither the path nor the body says {cmd} or {argv}"));
    }
    Ok(Operation { request, answer: answer(raw.answer)?, poll: None })
}

fn compile_poll(raw: RawPoll, base: &str) -> Result<Poll, Wrong> {
    if !(1..=60_000).contains(raw.interval_ms.get_ref()) {
        return Err(Wrong::new(raw.interval_ms.span(), "interval_ms is between 1 and 60000"));
    }
    let values = |plain: Vec<Plain>| plain.into_iter().map(Value::from).collect();
    Ok(Poll {
        request: Request {
            method: method(&raw.method)?,
            path: path(&raw.path, base, &[SandboxId])?,
            body: None,
            success: None,
        },
        at: raw.at,
        ready: raw.ready.map(values),
        failed: values(raw.failed),
        interval: Duration::from_millis(*raw.interval_ms.get_ref()),
        limit: raw.limit_ms.map(Duration::from_millis),
    })
}

fn method(raw: &Spanned<String>) -> Result<Method, Wrong> {
    match raw.get_ref().as_str() {
        "DELETE" => Ok(Method::DELETE),
        "GET" => Ok(Method::GET),
        "PATCH" => Ok(Method::PATCH),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        other => Err(Wrong::new(
            raw.span(),
            format!("there is no method {other:?}; there are DELETE, GET, PATCH, POST, PUT"),
        )),
    }
}

fn path(raw: &Spanned<String>, base: &str, allowed: &[Placeholder]) -> Result<Template, Wrong> {
    let text = raw.get_ref();
    if !text.starts_with('/') || text.contains(|letter: char| letter.is_whitespace() || letter == '#') {
        return Err(Wrong::new(raw.span(), "a path begins with a slash and has no white space and no #"));
    }
    let base = base.replace('{', "{{").replace('}', "}}");
    Template::parse(&format!("{base}{text}"), allowed).map_err(|problem| Wrong::new(raw.span(), problem))
}

fn body_template(raw: Spanned<Node>, allowed: &[Placeholder]) -> Result<JsonTemplate, Wrong> {
    let at = raw.span();
    Ok(match raw.into_inner() {
        Node::Array(elements) => JsonTemplate::Array(
            elements.into_iter().map(|element| body_template(element, allowed)).collect::<Result<_, _>>()?,
        ),
        Node::Fixed(value) => JsonTemplate::Fixed(value),
        Node::Object(fields) => JsonTemplate::Object(
            fields
                .into_iter()
                .map(|(key, field)| Ok((key, body_template(field, allowed)?)))
                .collect::<Result<_, _>>()?,
        ),
        Node::Text(text) => {
            JsonTemplate::Text(Template::parse(&text, allowed).map_err(|problem| Wrong::new(at, problem))?)
        }
    })
}
