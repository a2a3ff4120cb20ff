//! What a sweep drives, and what goes beside it.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use virtmark_load::{CommandSpec, HttpSpec, HttpVersion, PlanSpec, TargetSpec};
use virtmark_plan::{DEFAULT_IO_THREADS, Plan, builtin_names, builtin_text};
use virtmark_scenarios::sweep::{Brought, Driven, PerRequest, SweepPlan};

use super::settings::brought;
use super::words;
use crate::args::TargetArguments;
use crate::exit::Exit;
use crate::failure::Failure;

/// The plan unless told otherwise, and the variable that tells.
const PLAN: &str = "concat_plan";
const PLAN_VARIABLE: &str = "PLAN_NAME";
/// What a sandbox runs unless told otherwise.
const SANDBOX_COMMAND: &str = "echo \"benchmark\"";

/// What the options name.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) driven: Driven,
    pub(super) uploads: Vec<Brought>,
    pub(super) service: Option<Vec<String>>,
    pub(super) service_port: Option<u16>,
    pub(super) redis_data: Option<Brought>,
}

/// What the options name; what they do not name is as it was `before`.
pub(super) fn target(options: &TargetArguments, before: Option<&SweepPlan>) -> anyhow::Result<Target> {
    let (name, driven) = driven(options, before)?;
    let uploads = options.uploads.iter().map(|(source, path)| brought(source, path));
    let uploads: Vec<Brought> = match (options.uploads.is_empty(), before) {
        (true, Some(before)) => again(&before.uploads)?,
        _ => uploads.collect::<Result<_, _>>()?,
    };
    let service = match &options.service {
        Some(command) => Some(words::split(command, "--service")?),
        None => before.and_then(|before| before.service.clone()),
    };
    let redis_data = match (&options.redis_data, before.and_then(|before| before.redis_data.clone())) {
        (Some(file), _) => Some(brought(file, "dump.rdb")?),
        (None, Some(before)) => again(&[before])?.pop(),
        (None, None) => None,
    };
    let service_port = match (&service, options.service_port) {
        (None, _) => None,
        (Some(_), Some(port)) => Some(port),
        (Some(_), None) => before.and_then(|before| before.service_port).or_else(|| loopback_port(&driven)),
    };
    Ok(Target { name, driven, uploads, service, service_port, redis_data })
}

/// The port of a URL on loopback; none of another target.
pub(super) fn loopback_port(driven: &Driven) -> Option<u16> {
    let Driven::Generator { spec: TargetSpec::Http(http) } = driven else { return None };
    let rest = http.url.strip_prefix("http://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let is_loopback = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    is_loopback.then_some(port)
}

fn driven(options: &TargetArguments, before: Option<&SweepPlan>) -> anyhow::Result<(String, Driven)> {
    if let Some(endpoint) = &options.endpoint {
        return Ok(sandboxes(options, endpoint));
    }
    let generator = |spec| Driven::Generator { spec };
    if let Some(url) = &options.url {
        return Ok((url.clone(), generator(TargetSpec::Http(http(options, url)?))));
    }
    if let Some(command) = &options.command {
        let argv = words::split(command, "--cmd")?;
        return Ok((command.clone(), generator(TargetSpec::Command(CommandSpec { argv, env: Vec::new() }))));
    }
    let named =
        options.plan.clone().or_else(|| std::env::var(PLAN_VARIABLE).ok().filter(|name| !name.is_empty()));
    let same =
        options.input.is_none() && !options.sync && options.is_async.is_none() && options.redis.is_none();
    match (named, before) {
        (None, Some(before)) if same => Ok((before.name.clone(), before.target.clone())),
        (named, before) => {
            let named = named.or_else(|| before.map(|before| before.name.clone()));
            let (name, spec) = plan(options, named.as_deref().unwrap_or(PLAN))?;
            Ok((name, generator(TargetSpec::Plan(spec))))
        }
    }
}

fn sandboxes(options: &TargetArguments, endpoint: &str) -> (String, Driven) {
    let command = options.command.clone().unwrap_or_else(|| SANDBOX_COMMAND.into());
    let per_request = options.per_request.map_or(PerRequest::Exec, Into::into);
    let name = match per_request {
        PerRequest::Exec => format!("{endpoint} exec"),
        PerRequest::Life => format!("{endpoint} life"),
    };
    (name, Driven::Service { endpoint: endpoint.into(), command, per_request })
}

fn http(options: &TargetArguments, url: &str) -> Result<HttpSpec, Failure> {
    if !url.starts_with("http://") {
        let message =
            format!("cannot drive {url}: only http:// is spoken, so that no encryption is measured");
        return Err(Failure::usage(message));
    }
    Ok(HttpSpec {
        url: url.into(),
        version: if options.http2 { HttpVersion::V2 } else { HttpVersion::V1 },
        method: options.method.clone().unwrap_or_else(|| "GET".into()),
        headers: options.headers.clone(),
        body: options.body.clone(),
        threads: None,
    })
}

/// A name without slash and dot is never a file, so that no file can hide a plan that is built in.
fn plan(options: &TargetArguments, named: &str) -> anyhow::Result<(String, PlanSpec)> {
    let text = match builtin_text(named) {
        Some(text) => text.to_owned(),
        None if named.contains(['/', '.']) => {
            fs::read_to_string(Path::new(named)).with_context(|| format!("cannot read the plan {named}"))?
        }
        None => {
            let names: Vec<&str> = builtin_names().collect();
            let message = format!(
                "no plan is called {named:?}; there are {}; a file is named with its path, such as ./{named}.json",
                names.join(", ")
            );
            return Err(Failure { exit: Exit::UnknownName, message }.into());
        }
    };
    let refused =
        |error: &dyn std::fmt::Display| Failure::usage(format!("cannot drive the plan {named}: {error}"));
    let plan = Plan::parse(&text).map_err(|error| refused(&error))?;
    let request: Value = match &options.input {
        Some(input) => {
            serde_json::from_str(input).map_err(|error| refused(&format!("--input is no JSON: {error}")))?
        }
        None => Value::Object(serde_json::Map::new()),
    };
    plan.request(&request).map_err(|error| refused(&error))?;
    let spec = PlanSpec {
        plan: text,
        request,
        is_async: !options.sync && options.is_async.unwrap_or(true),
        // Those of each size, when it is known.
        cpu_threads: NonZeroUsize::MIN,
        io_threads: DEFAULT_IO_THREADS,
        redis: options.redis.clone(),
    };
    Ok((plan.name().to_owned(), spec))
}

/// The files of a sweep that is gone on with, which must be what they were.
fn again(files: &[Brought]) -> anyhow::Result<Vec<Brought>> {
    let again = files.iter().map(|file| {
        let now = brought(&file.source, &file.path)?;
        if now.sha256 == file.sha256 {
            return Ok(now);
        }
        let message = format!(
            "cannot go on: {} is not what it was when the sweep began; put the old file there, or begin a new sweep",
            file.source.display()
        );
        Err(Failure::usage(message).into())
    });
    again.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_url_on_loopback_is_known() {
        let port = |url: &str| {
            let spec = serde_json::json!({ "kind": "http", "url": url });
            loopback_port(&Driven::Generator { spec: serde_json::from_value(spec).unwrap() })
        };
        assert_eq!(port("http://127.0.0.1:8080/a:1"), Some(8080));
        assert_eq!(port("http://localhost"), Some(80));
        assert_eq!(port("http://[::1]:99/"), Some(99));
        assert_eq!(port("http://[::1]/"), Some(80));
        assert_eq!(port("http://10.0.0.1:8080/"), None);
        assert_eq!(port("http://127.0.0.1:x/"), None);
    }
}
