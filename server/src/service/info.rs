//! GetFlightInfo, GetSchema, ListFlights: what there is to read, and the tickets to read it with.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, SchemaAsIpc, SchemaResult, Ticket};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use firn_client::wire::{Command, Join, Lookup, Part, Put, SPINE_COLUMNS, Scan, Verb};
use firn_storage::model::catalog::{Catalog, Table};
use tonic::{Code, Status};

use super::answers::joined;
use super::get::ENTITIES_MISSING;
use super::resources::Pool;
use super::resources::granted::{Entry, Granted};
use super::{convert, scan};
use crate::access::Method;
use crate::refusal::{from_error, invalid, new};

/// Answers GetFlightInfo.
pub(super) async fn flight(entry: &Entry, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    match read(entry, &descriptor)? {
        Command::Scan(scan) => scan_flight(entry, scan, descriptor).await,
        Command::Lookup(lookup) => {
            let granted = entry.authorize(Method::GetFlightInfo, "lookup")?;
            if lookup.entities.is_none() {
                return Err(invalid(ENTITIES_MISSING));
            }
            let schema = lookup_schema(&granted, &lookup)?;
            let command = Command::Lookup(lookup).encode();
            info(&schema, descriptor, vec![command])
        }
        other => {
            let verb = other.verb();
            Err(invalid(format!("GetFlightInfo takes `scan` and `lookup` with entities, not `{verb}`")))
        }
    }
}

async fn scan_flight(entry: &Entry, mut scan: Scan, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let granted = entry.authorize(Method::GetFlightInfo, scan::call(&scan))?;
    let resources = granted.resources();
    resources.message_bytes(scan.max_message_bytes)?;
    let request = convert::scan_request(&scan, resources.limits.scan_parts)?;
    let catalog = granted.catalog_asked(request.schema_version, request.durable)?;
    let found = granted.engine(Pool::Waiters, move |database| database.scan(&catalog, &request)).await?;
    let snapshot = found.snapshot();
    scan.position = Some(snapshot.position().to_string());
    scan.clock = Some(snapshot.clock());
    scan.schema_version = Some(snapshot.schema_version());
    let parts = found.parts() as u64;
    let tickets =
        (0..parts).map(|part| Command::Scan(Scan { part: Some(Part { part, parts }), ..scan.clone() }).encode());
    info(found.schema(), descriptor, tickets.collect())
}

/// Answers GetSchema: of what a scan, a lookup or a join answers, or of what a write takes.
pub(super) async fn schema(entry: &Entry, descriptor: FlightDescriptor) -> Result<SchemaResult, Status> {
    let grant = |call| entry.authorize(Method::GetSchema, call);
    let schema = match read(entry, &descriptor)? {
        Command::Scan(scan) => {
            let granted = grant(scan::call(&scan))?;
            let request = convert::scan_request(&scan, 1)?;
            let catalog = granted.catalog_asked(request.schema_version, request.durable)?;
            let found = granted.engine(Pool::Waiters, move |database| database.scan(&catalog, &request)).await?;
            Schema::clone(found.schema())
        }
        Command::Lookup(lookup) => lookup_schema(&grant("lookup")?, &lookup)?,
        Command::Put(put) => write_schema(&grant(put.verb.name())?.catalog(), &put)?,
        Command::Join(join) => join_schema(&grant("join")?, &join)?,
    };
    SchemaAsIpc::new(&schema, &IpcWriteOptions::default()).try_into().map_err(|error| unencodable(&error))
}

/// Answers ListFlights: every table as a scan of its latest rows.
pub(super) async fn list(entry: &Entry) -> Result<Vec<FlightInfo>, Status> {
    let granted = entry.authorize(Method::ListFlights, "flights")?;
    let catalog = granted.catalog();
    let listing = granted.engine(Pool::Waiters, move |database| {
        let tables = catalog.tables.iter().map(|table| {
            let scan = Scan { table: table.name.clone(), ..Scan::default() };
            let request = convert::scan_request(&scan, 1)
                .map_err(|status| firn_storage::error::Error::invalid(status.message().to_owned()))?;
            Ok((table.name.clone(), Schema::clone(database.scan(&catalog, &request)?.schema()), scan))
        });
        tables.collect::<firn_storage::error::Result<Vec<_>>>()
    });
    let flights = listing.await?.into_iter().map(|(table, schema, scan)| {
        info(&schema, FlightDescriptor::new_path(vec![table]), vec![Command::Scan(scan).encode()])
    });
    flights.collect()
}

/// The command of a descriptor; a path names a table to scan.
fn read(entry: &Entry, descriptor: &FlightDescriptor) -> Result<Command, Status> {
    match (descriptor.cmd.is_empty(), descriptor.path.as_slice()) {
        (false, _) => entry.resources.command(&descriptor.cmd),
        (true, [table]) => Ok(Command::Scan(Scan { table: table.clone(), ..Scan::default() })),
        (true, _) => Err(invalid("give a path of one table, such as [\"weather\"], or a command {\"scan\":{…}}")),
    }
}

fn lookup_schema(granted: &Granted, lookup: &Lookup) -> Result<Schema, Status> {
    let request = convert::point_request(&lookup.features, &lookup.as_of, &lookup.known_at, &lookup.options)?;
    let catalog = granted.catalog_asked(request.schema_version, request.durable)?;
    let schema = match &lookup.entities {
        Some(entities) => {
            Schema::clone(RecordBatch::schema_ref(&convert::entities_batch(&catalog, &lookup.features, entities)?))
        }
        None => convert::request_schema(&catalog, &lookup.features)?,
    };
    let plan = granted.database().plan(&catalog, &request, &schema).map_err(|error| from_error(&error))?;
    Ok(Schema::clone(plan.schema()))
}

/// The columns of a join whose spine has no more than it needs: `spine_columns` in the metadata says how many those are.
fn join_schema(granted: &Granted, join: &Join) -> Result<Schema, Status> {
    let request = convert::point_request(&join.features, &join.as_of, &join.known_at, &join.options)?;
    let catalog = granted.catalog_asked(request.schema_version, request.durable)?;
    let spine = convert::spine_schema(&catalog, join)?;
    let plan = granted.database().plan(&catalog, &request, &spine).map_err(|error| from_error(&error))?;
    let metadata = HashMap::from([(SPINE_COLUMNS.to_owned(), spine.fields().len().to_string())]);
    Ok(Schema::clone(&*joined(&spine, plan.schema())?).with_metadata(metadata))
}

/// The columns that a write, delete or retract may bring.
fn write_schema(catalog: &Catalog, put: &Put) -> Result<Schema, Status> {
    let table: &Table = catalog.table(&put.table).map_err(|error| from_error(&error))?;
    let entity = catalog.entity_of(table);
    let moment = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields: Vec<_> = entity.key.iter().map(|key| Field::new(&key.name, key.data_type.clone(), false)).collect();
    fields.push(Field::new(&table.event_time, moment(), false));
    if put.verb != Verb::Delete {
        let nullable = put.verb != Verb::Write;
        fields.extend(table.row_id.iter().map(|column| Field::new(&column.name, column.data_type.clone(), nullable)));
    }
    if put.verb == Verb::Write {
        fields.extend(table.features.iter().map(|feature| Field::new(&feature.name, feature.data_type.clone(), true)));
    }
    fields.extend(put.ingest_time.iter().map(|name| Field::new(name, moment(), false)));
    Ok(Schema::new(fields))
}

fn info(schema: &Schema, descriptor: FlightDescriptor, tickets: Vec<Vec<u8>>) -> Result<FlightInfo, Status> {
    // No location: read from the server that was asked.
    let endpoints = tickets.into_iter().map(|ticket| FlightEndpoint::new().with_ticket(Ticket::new(ticket)));
    let info = FlightInfo::new().with_descriptor(descriptor).with_endpoints(endpoints.collect());
    info.try_with_schema(schema).map_err(|error| unencodable(&error))
}

fn unencodable(error: &ArrowError) -> Status {
    new(Code::Internal, &format!("the schema cannot be encoded: {error}"))
}
