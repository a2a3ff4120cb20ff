//! Sandboxes, commands, snapshots and the service itself: a JSON body in, a call, a JSON answer out.

use std::sync::Arc;

use serde::Serialize;
use virtmark_hypervisor::Cancel;

use super::blocking::{Lane, Unclaimed, Waiting};
use super::body::AnswerBody;
use super::dispatch::{Answer, Call, Shared, answer, json_answer, json_bytes};
use super::refusal::Refusal;
use crate::Service;
use crate::api::{
    CreateRequest, Created, DestroyRequest, ExecRequest, RestoreRequest, SnapshotCreateRequest,
    SnapshotDeleteRequest,
};

/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn create(shared: &Arc<Shared>, mut call: Call<'_>) -> Result<Answer, Refusal> {
    let request: CreateRequest = call.json(shared).await?;
    made(shared, "a creation", move |service| service.create(request)).await
}

pub(super) async fn snapshot_restore(shared: &Arc<Shared>, mut call: Call<'_>) -> Result<Answer, Refusal> {
    let request: RestoreRequest = call.json(shared).await?;
    made(shared, "a restore", move |service| service.snapshot_restore(request)).await
}

pub(super) async fn exec(shared: &Arc<Shared>, mut call: Call<'_>) -> Result<Answer, Refusal> {
    let request: ExecRequest = call.json(shared).await?;
    let cancel = Cancel::new();
    // Dropped with this future when the client goes away.
    let _waiting = Waiting(cancel.clone());
    done(shared, Lane::Work, "a command", move |service| service.exec_unless(request, &cancel)).await
}

pub(super) async fn destroy(shared: &Arc<Shared>, mut call: Call<'_>) -> Result<Answer, Refusal> {
    let request: DestroyRequest = call.json(shared).await?;
    done(shared, Lane::Control, "a destruction", move |service| service.destroy(request)).await
}

pub(super) async fn list(shared: &Arc<Shared>, call: Call<'_>) -> Result<Answer, Refusal> {
    call.query(&[])?;
    done(shared, Lane::Control, "the list of sandboxes", |service| Ok(service.list())).await
}

pub(super) async fn inspect(shared: &Arc<Shared>, call: Call<'_>) -> Result<Answer, Refusal> {
    call.query(&[])?;
    let id = call.sandbox_id()?;
    done(shared, Lane::Control, "a look at a sandbox", move |service| service.inspect(&id)).await
}

pub(super) async fn snapshot_create(shared: &Arc<Shared>, mut call: Call<'_>) -> Result<Answer, Refusal> {
    let request: SnapshotCreateRequest = call.json(shared).await?;
    done(shared, Lane::Work, "a snapshot", move |service| service.snapshot_create(request)).await
}

pub(super) async fn snapshot_list(shared: &Arc<Shared>, call: Call<'_>) -> Result<Answer, Refusal> {
    call.query(&[])?;
    done(shared, Lane::Control, "the list of snapshots", |service| Ok(service.snapshot_list())).await
}

pub(super) async fn snapshot_delete(shared: &Arc<Shared>, mut call: Call<'_>) -> Result<Answer, Refusal> {
    let request: SnapshotDeleteRequest = call.json(shared).await?;
    done(shared, Lane::Control, "the end of a snapshot", move |service| service.snapshot_delete(request))
        .await
}

pub(super) async fn health(shared: &Arc<Shared>, call: Call<'_>) -> Result<Answer, Refusal> {
    call.query(&[])?;
    done(shared, Lane::Vital, "the health of the service", |service| Ok(service.health())).await
}

pub(super) async fn metrics(shared: &Arc<Shared>, call: Call<'_>) -> Result<Answer, Refusal> {
    call.query(&[])?;
    let service = shared.service.clone();
    let metrics =
        shared.pool.run(Lane::Vital, "the metrics of the service", move || service.metrics()).await?;
    Ok(answer(METRICS_TYPE, shared.metrics.text(&metrics).into_bytes().into()))
}

/// The answer of a call of the service.
async fn done<T: Serialize + Send + 'static>(
    shared: &Arc<Shared>,
    lane: Lane,
    what: &'static str,
    call: impl FnOnce(&Service) -> crate::Result<T> + Send + 'static,
) -> Result<Answer, Refusal> {
    let service = shared.service.clone();
    json_answer(&shared.pool.run(lane, what, move || call(&service)).await??)
}

/// The answer of a call that makes a sandbox. A sandbox whose client is gone before it is answered is destroyed:
/// nobody knows its id.
async fn made(
    shared: &Arc<Shared>,
    what: &'static str,
    make: impl FnOnce(&Service) -> crate::Result<Created> + Send + 'static,
) -> Result<Answer, Refusal> {
    let (service, runtime) = (shared.service.clone(), shared.runtime.clone());
    let made = shared.pool.run(Lane::Work, what, move || {
        let created = make(&service)?;
        let request = DestroyRequest { sandbox_id: created.sandbox_id.clone() };
        // One that is gone already needs nothing; whatever else fails here, the end of its life time sees to.
        let unclaimed = Unclaimed::new(runtime, move || drop(service.destroy(request)));
        Ok((created, unclaimed))
    });
    let (created, unclaimed) = made.await?.map_err(Refusal::Core)?;
    let bytes = json_bytes(&created)?;
    Ok(answer("application/json", AnswerBody::Whole(Some(bytes.into()), Some(unclaimed))))
}
