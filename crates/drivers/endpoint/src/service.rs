//! The service, as everything of this driver shares it.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;
use virtmark_hypervisor::{Error, Result};

use crate::failure::Attempt;
use crate::http::{Ask, Client, Payload, Reply};
use crate::mapping::template::{Placeholder, Values};
use crate::mapping::{Mapping, Request};
use crate::times::Notes;

/// A service, and how it is spoken to.
pub(crate) struct Service {
    pub(crate) client: Client,
    pub(crate) mapping: Mapping,
    /// For requests that have no limit of their own.
    pub(crate) timeout: Duration,
    pub(crate) notes: Notes,
}

/// One request to make.
pub(crate) struct Task<'a> {
    pub(crate) request: &'a Request,
    pub(crate) values: &'a Values,
    /// What is done, on what: `create m1`.
    pub(crate) action: String,
    /// The machine; the service's name where there is none.
    pub(crate) machine: &'a str,
    pub(crate) timeout: Duration,
    /// Whether asking twice does the same as asking once.
    pub(crate) repeatable: bool,
    /// What an answer that is lost leaves behind.
    pub(crate) leftover: Option<&'static str>,
}

impl Service {
    /// Does it, whatever the status of the answer.
    pub(crate) fn ask(
        &self,
        task: &Task<'_>,
        content: Option<(&mut dyn Read, u64)>,
    ) -> Result<(Attempt, Reply)> {
        let Task { request, values, action, machine, timeout, .. } = task;
        let missing = |what: &str| Error::AgentRefused {
            machine: (*machine).into(),
            request: action.clone(),
            reason: format!("the mapping's {what} wants something that there is not this time"),
        };
        let path = request.path.url(values).ok_or_else(|| missing("path"))?;
        let payload = match (&request.body, content) {
            (Some(body), _) => {
                let body = body.fill(values).ok_or_else(|| missing("body"))?;
                Payload::Json(body.to_string().into_bytes())
            }
            (None, Some((source, size))) => Payload::Bytes { source, size },
            (None, None) => Payload::None,
        };
        let attempt = Attempt {
            action: action.clone(),
            request: format!("{} {}{path}", request.method, self.client.base()),
            machine: (*machine).into(),
            timeout: *timeout,
            leftover: task.leftover,
        };
        let ask = Ask {
            method: &request.method,
            path: &path,
            payload,
            timeout: *timeout,
            repeatable: task.repeatable,
        };
        match self.client.send(ask) {
            Ok(reply) => Ok((attempt, reply)),
            Err(trouble) => Err(attempt.trouble(trouble)),
        }
    }

    /// Does it; an answer with another status than success is an error.
    pub(crate) fn done(
        &self,
        task: &Task<'_>,
        content: Option<(&mut dyn Read, u64)>,
    ) -> Result<(Attempt, Reply)> {
        let (attempt, reply) = self.ask(task, content)?;
        if !task.request.succeeds_with(reply.status) {
            return Err(attempt.refused(&reply, &self.mapping.error));
        }
        Ok((attempt, reply))
    }

    /// Does it, and reads the answer as JSON.
    pub(crate) fn json(&self, task: &Task<'_>) -> Result<Answer> {
        let (attempt, reply) = self.done(task, None)?;
        match serde_json::from_slice(&reply.body) {
            Ok(value) => Ok(Answer { attempt, reply, value }),
            Err(error) => Err(attempt.unreadable(&reply, &format!("that is not JSON ({error})"))),
        }
    }

    /// What is gone already counts as done.
    pub(crate) fn gone(&self, task: &Task<'_>) -> Result<()> {
        let (attempt, reply) = self.ask(task, None)?;
        match reply.status {
            404 | 410 => Ok(()),
            status if task.request.succeeds_with(status) => Ok(()),
            _ => Err(attempt.refused(&reply, &self.mapping.error)),
        }
    }
}

/// A successful answer.
pub(crate) struct Answer {
    attempt: Attempt,
    reply: Reply,
    pub(crate) value: Value,
}

impl Answer {
    /// An identifier that must be there: a text or a number.
    pub(crate) fn id(&self, at: &crate::mapping::answer::Pointer) -> Result<Value> {
        match at.find(&self.value) {
            Some(Value::String(id)) if !id.is_empty() => Ok(Value::String(id.clone())),
            Some(Value::Number(id)) => Ok(Value::Number(id.clone())),
            _ => Err(self.without(at, "an identifier")),
        }
    }

    /// It lacks what must be there.
    pub(crate) fn without(&self, at: &crate::mapping::answer::Pointer, what: &str) -> Error {
        self.attempt.unreadable(&self.reply, &format!("there is not {what} at {at}"))
    }
}

/// An identifier for messages.
pub(crate) fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// The values of one identifier.
pub(crate) fn only(placeholder: Placeholder, id: &Value) -> Values {
    Values::from([(placeholder, id.clone())])
}
