//! The door: a call is let in, and what it asks for is granted or denied.
//!
//! `authorize` is the one place that decides. The database is reached through [`Granted`] alone, which nothing else
//! makes; so a call that did not ask whether it may cannot hand out a row, a schema or a name.

use std::sync::Arc;

use firn_storage::database::Database;
use firn_storage::error::Result as EngineResult;
use firn_storage::model::catalog::Catalog;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::{Pool, Resources};
use crate::access::{Call, Caller, Method, Rights};
use crate::refusal::{denied, exhausted, from_error, unavailable, unimplemented};

/// A call that was let in, with its place among those that are served.
#[derive(Debug)]
pub(in crate::service) struct Entry {
    pub resources: Arc<Resources>,
    pub caller: Caller,
    /// Rings when the server stops.
    pub stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// What a caller was granted: a call, and the database for it.
#[derive(Debug, Clone)]
pub(in crate::service) struct Granted {
    resources: Arc<Resources>,
}

impl Resources {
    /// Lets `request` in, or refuses it because of others.
    pub(in crate::service) fn enter<T>(self: &Arc<Self>, request: &Request<T>) -> Result<Entry, Status> {
        if self.stopping.is_cancelled() {
            return Err(unavailable("the server is shutting down"));
        }
        let most = self.limits.requests_max;
        let permit = Arc::clone(&self.calls)
            .try_acquire_owned()
            .map_err(|_| exhausted(format!("{most} calls are being served (requests-max); try again later")))?;
        // A token of its own: streams would all wait for one lock.
        let stopping = self.stopping.child_token();
        Ok(Entry { resources: Arc::clone(self), caller: Caller::of(request), stopping, _permit: permit })
    }
}

impl Entry {
    /// The schema that a statement of SQL is planned with, as [`Granted::catalog_asked`] has it. What the statement needs is
    /// granted before any name of it is looked up.
    pub(in crate::service) fn catalog_to_plan(
        &self,
        schema_version: Option<u64>,
        durable: bool,
    ) -> EngineResult<Arc<Catalog>> {
        catalog(&self.resources.database, schema_version, durable)
    }

    /// Grants the caller what it asks for, or denies it.
    pub(in crate::service) fn authorize(&self, method: Method, name: &str) -> Result<Granted, Status> {
        let call = Call::find(method, name);
        let call = call.ok_or_else(|| unimplemented(format!("{method:?} does not serve `{name}`")))?;
        authorize(self.resources.rights, &self.caller, call)?;
        Ok(Granted { resources: Arc::clone(&self.resources) })
    }
}

/// Whether `caller` may make `call`. Today everybody has the same rights, all of them but in tests.
fn authorize(rights: Rights, caller: &Caller, call: &Call) -> Result<(), Status> {
    let Call { name, needs, .. } = call;
    if rights.hold(*needs) {
        return Ok(());
    }
    tracing::info!(%caller, call = name, %needs, "denied");
    Err(denied(format!("`{name}` needs the right `{needs}`, which this caller does not have")))
}

/// The newest schema of `database`, or the one of a version; if it is to be `durable`, of those that are in the bucket.
fn catalog(database: &Database, schema_version: Option<u64>, durable: bool) -> EngineResult<Arc<Catalog>> {
    if durable { database.catalog_in_bucket(schema_version) } else { database.catalog_asked(schema_version) }
}

impl Granted {
    /// What all calls share.
    pub(in crate::service) fn resources(&self) -> &Arc<Resources> {
        &self.resources
    }

    /// The database.
    pub(in crate::service) fn database(&self) -> &Database {
        &self.resources.database
    }

    /// The newest schema, as far as the caller may see it.
    pub(in crate::service) fn catalog(&self) -> Arc<Catalog> {
        self.database().catalog()
    }

    /// The schema that a request asks for, the newest or the one of a version, as far as the caller may see it; if it is to be
    /// `durable`, of those that are in the bucket.
    pub(in crate::service) fn catalog_asked(
        &self,
        schema_version: Option<u64>,
        durable: bool,
    ) -> Result<Arc<Catalog>, Status> {
        catalog(self.database(), schema_version, durable).map_err(|error| from_error(&error))
    }

    /// Runs a call of the engine on a thread that may block.
    pub(in crate::service) async fn engine<T: Send + 'static>(
        &self,
        pool: Pool,
        work: impl FnOnce(&Database) -> EngineResult<T> + Send + 'static,
    ) -> Result<T, Status> {
        let database = self.database().clone();
        self.resources.blocking(pool, move || work(&database).map_err(|error| from_error(&error))).await
    }
}
