//! Schemas as Flight sends them.

use arrow_flight::{IpcMessage, SchemaAsIpc};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::Schema;
use bytes::Bytes;
use firn_storage::error::Result;

use crate::error::defect;

/// A schema as Flight sends it.
pub(super) fn ipc(schema: &Schema) -> Result<Bytes> {
    let options = IpcWriteOptions::default();
    let encoded: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    encoded.map(|message| message.0).map_err(|error| defect(&format!("a schema cannot be encoded: {error}")))
}
