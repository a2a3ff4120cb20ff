//! From a request to its answer: who may ask, who answers, and what every answer carries.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::runtime::Handle;
use virtmark_model::FailureClass;

use super::HttpOptions;
use super::blocking::Pool;
use super::body::{AnswerBody, Never};
use super::metrics::HttpMetrics;
use super::openapi::{self, Offer};
use super::refusal::Refusal;
use super::route::{Found, Operation, Route, find};
use super::{files, input, sandboxes, stream};
use crate::Service;

/// Bytes of a path with its query.
const URI_LIMIT_BYTES: usize = 8 << 10;
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What all requests share.
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
    pub(super) options: HttpOptions,
    pub(super) pool: Pool,
    pub(super) metrics: HttpMetrics,
    pub(super) runtime: Handle,
    /// The OpenAPI document.
    pub(super) document: Bytes,
}

impl Shared {
    pub(super) fn new(service: Arc<Service>, options: HttpOptions, runtime: Handle) -> Self {
        let offer = Offer {
            limits: service.options(),
            images: service.image_names(),
            token: options.token.is_some(),
        };
        let document = format!("{:#}\n", openapi::document(&offer)).into();
        let pool = Pool::new(options.requests);
        Self { service, pool, metrics: HttpMetrics::default(), runtime, document, options }
    }
}

pub(super) type Answer = Response<AnswerBody>;

/// A request on its way.
pub(super) struct Call<'a> {
    pub(super) parts: &'a Parts,
    pub(super) body: &'a mut Incoming,
    /// What stands in the path for `{sandbox_id}`, still encoded.
    parameter: Option<&'a str>,
}

impl Call<'_> {
    /// The JSON body.
    pub(super) async fn json<T: DeserializeOwned>(&mut self, shared: &Shared) -> Result<T, Refusal> {
        self.query(&[])?;
        let limit_bytes = shared.service.options().max_request_bytes as u64;
        input::json(&self.parts.headers, self.body, limit_bytes, shared.options.body_timeout).await
    }

    /// The parameters of the query.
    pub(super) fn query(
        &self,
        known: &[&'static str],
    ) -> Result<std::collections::BTreeMap<&'static str, String>, Refusal> {
        input::query(self.parts.uri.query(), known)
    }

    /// The sandbox that the path names.
    pub(super) fn sandbox_id(&self) -> Result<crate::api::SandboxId, Refusal> {
        let text = input::segment(self.parameter.unwrap_or_default())?;
        Ok(text.parse().map_err(crate::Error::from)?)
    }
}

/// Answers a request, whatever it is.
pub(super) async fn dispatch(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Never> {
    let started = Instant::now();
    let (parts, mut body) = request.into_parts();
    let found = find(&parts.method, parts.uri.path());
    let (route, method) = match &found {
        Found::Route(route, _) => (route.path, route.method.as_str()),
        Found::OtherMethods(_) | Found::Nothing => ("none", "none"),
    };
    let outcome = caught(handle(&shared, &parts, &mut body, found)).await.unwrap_or_else(|_| {
        let what = format!("{} {}", parts.method, parts.uri.path());
        Err(Refusal::Internal(what))
    });
    let mut answer = match outcome {
        Ok(answer) => answer,
        Err(refusal) => {
            // The service counts its own refusals.
            if !matches!(refusal, Refusal::Core(_)) {
                shared.service.count_rejected(refusal.code());
            }
            input::drain(&parts.headers, &mut body).await;
            refused(&refusal)
        }
    };
    let duration = started.elapsed();
    shared.metrics.answered(route, method, answer.status().as_u16(), duration);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let timing = format!("app;dur={:.3}", duration.as_secs_f64() * 1e3);
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        headers.insert(SERVER_TIMING, timing);
    }
    Ok(answer)
}

async fn handle(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Incoming,
    found: Found<'_>,
) -> Result<Answer, Refusal> {
    let is_open = matches!(&found, Found::Route(route, _) if openapi::is_open(route.operation));
    if !is_open {
        authorize(shared, parts)?;
    }
    let given_bytes = parts.uri.path_and_query().map_or(0, |text| text.as_str().len());
    if given_bytes > URI_LIMIT_BYTES {
        return Err(Refusal::UriTooLong { given_bytes, limit_bytes: URI_LIMIT_BYTES });
    }
    match found {
        Found::Route(route, parameter) => operate(shared, route, Call { parts, body, parameter }).await,
        Found::OtherMethods(allowed) if parts.method == Method::OPTIONS => Ok(options(&allowed)),
        Found::OtherMethods(allowed) => Err(Refusal::MethodNotAllowed {
            method: parts.method.to_string(),
            path: parts.uri.path().into(),
            allowed,
        }),
        Found::Nothing => Err(Refusal::NotFound(parts.uri.path().into())),
    }
}

fn authorize(shared: &Shared, parts: &Parts) -> Result<(), Refusal> {
    let Some(token) = &shared.options.token else {
        // The address is a loopback one, which web pages of this host's users can reach too.
        let is_meant = input::is_meant_for_loopback(&parts.uri, &parts.headers);
        return if is_meant { Ok(()) } else { Err(Refusal::HostForeign) };
    };
    let mut shown = parts.headers.get_all(AUTHORIZATION).iter();
    match (shown.next(), shown.next()) {
        (Some(shown), None) if token.is_shown_by(shown.as_bytes()) => Ok(()),
        (None, _) => Err(Refusal::Unauthorized("the request shows no token")),
        _ => Err(Refusal::Unauthorized("the request shows another token than that of this service")),
    }
}

async fn operate(shared: &Arc<Shared>, route: &Route, call: Call<'_>) -> Result<Answer, Refusal> {
    match route.operation {
        Operation::Create => sandboxes::create(shared, call).await,
        Operation::Destroy => sandboxes::destroy(shared, call).await,
        Operation::Exec => sandboxes::exec(shared, call).await,
        Operation::ExecStream => stream::exec(shared, call).await,
        Operation::FileGet => files::get(shared, call).await,
        Operation::FilePut => files::put(shared, call).await,
        Operation::Health => sandboxes::health(shared, call).await,
        Operation::Inspect => sandboxes::inspect(shared, call).await,
        Operation::List => sandboxes::list(shared, call).await,
        Operation::Metrics => sandboxes::metrics(shared, call).await,
        Operation::OpenApi => {
            call.query(&[])?;
            Ok(answer("application/json", AnswerBody::Whole(Some(shared.document.clone()), None)))
        }
        Operation::SnapshotCreate => sandboxes::snapshot_create(shared, call).await,
        Operation::SnapshotDelete => sandboxes::snapshot_delete(shared, call).await,
        Operation::SnapshotList => sandboxes::snapshot_list(shared, call).await,
        Operation::SnapshotRestore => sandboxes::snapshot_restore(shared, call).await,
    }
}

/// An answer 200 of this type.
pub(super) fn answer(content_type: &'static str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer 200 with this value as JSON.
pub(super) fn json_answer(value: &impl Serialize) -> Result<Answer, Refusal> {
    Ok(answer("application/json", json_bytes(value)?.into()))
}

/// A value as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| Refusal::Internal(format!("an answer ({error})")))
}

fn options(allowed: &str) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None, None));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

/// The answer to what is not carried out.
fn refused(refusal: &Refusal) -> Answer {
    let body = json!({ "error": Failure::from(refusal) }).to_string().into_bytes();
    let mut answer = answer("application/json", body.into());
    *answer.status_mut() =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    if let Some(seconds) = refusal.retry_after_s() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    match refusal {
        Refusal::MethodNotAllowed { allowed, .. } => {
            if let Ok(allowed) = HeaderValue::from_str(allowed) {
                headers.insert(ALLOW, allowed);
            }
        }
        Refusal::Unauthorized(_) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    answer
}

/// What an error says.
#[derive(Serialize)]
pub(super) struct Failure {
    code: &'static str,
    /// How a measurement counts the failure of a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<FailureClass>,
    message: String,
    remedy: String,
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Self {
        let (code, class) = (refusal.code(), refusal.class());
        Self { code, class, message: refusal.to_string(), remedy: refusal.remedy() }
    }
}

/// Runs a future, and gives what it panicked with if it did.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_outcome() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(caught(async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "on purpose");
        }));
        assert!(outcome.is_err());
        assert_eq!(runtime.block_on(caught(async { 7 })).unwrap(), 7);
    }
}
