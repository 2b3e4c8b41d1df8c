//! Declaring and loading the tables of the demo, each sealed after its load.

use std::time::Instant;

use arrow_array::RecordBatch;
use firn_client::wire::Put;
use firn_client::{Client, EntityDeclaration, FeatureDeclaration, TableDeclaration};
use serde_json::json;

use super::data;
use super::result::Result;

/// What became of one table's load.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) sent: u64,
    pub(super) rows: u64,
    pub(super) bad_row_count: u64,
    pub(super) seconds: f64,
}

/// The three loads.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) weather: Table,
    pub(super) planes: Table,
    pub(super) flights: Table,
}

/// Declares everything and loads it.
pub(super) async fn load(client: &Client) -> Result<Loaded> {
    declare(client).await.map_err(|error| format!("could not declare the tables: {error}"))?;
    Ok(Loaded {
        weather: write(client, "weather", "observed", data::weather()?).await?,
        planes: write(client, "planes", "since", data::planes()?).await?,
        flights: write(client, "flights", "landed", data::flights()?).await?,
    })
}

async fn declare(client: &Client) -> firn_client::Result<()> {
    client.create_entity(&EntityDeclaration::new("airport").key("origin", "utf8")).await?;
    client.create_entity(&EntityDeclaration::new("plane").key("tailnum", "utf8")).await?;
    for table in [weather(), planes(), flights()] {
        client.create_table(&table).await?;
    }
    Ok(())
}

fn weather() -> TableDeclaration {
    let measured = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"];
    let table = TableDeclaration::new("weather", "airport", "observed").description("hourly weather at the airports");
    let direction = FeatureDeclaration::new("wind_dir", "int64").description("degrees");
    measured
        .iter()
        .fold(table, |table, name| table.feature(FeatureDeclaration::new(name, "float64")))
        .feature(direction)
}

fn planes() -> TableDeclaration {
    let unknown = |name| FeatureDeclaration::new(name, "int64").default_value(json!(0));
    let text = |name| FeatureDeclaration::new(name, "utf8");
    TableDeclaration::new("planes", "plane", "since")
        .description("the papers of the planes")
        .feature(unknown("year").description("of making; 0 where the papers do not say"))
        .feature(text("type"))
        .feature(text("manufacturer"))
        .feature(text("model"))
        .feature(FeatureDeclaration::new("engines", "int64"))
        .feature(FeatureDeclaration::new("seats", "int64"))
        .feature(unknown("speed").description("cruising, miles an hour; 0 where the papers do not say"))
        .feature(text("engine"))
}

fn flights() -> TableDeclaration {
    let minutes = |name| FeatureDeclaration::new(name, "float32").description("minutes");
    TableDeclaration::new("flights", "plane", "sched_dep")
        .description("a delay is known only once the plane has landed")
        .row_id("flight", "int32")
        .feature(FeatureDeclaration::new("carrier", "utf8"))
        .feature(FeatureDeclaration::new("origin", "utf8"))
        .feature(FeatureDeclaration::new("dest", "utf8"))
        .feature(minutes("dep_delay"))
        .feature(minutes("arr_delay"))
        .feature(minutes("air_time"))
        .feature(FeatureDeclaration::new("distance", "int32").description("miles"))
}

/// Loads history into a table and seals it. Rows that cannot be stored are reported, not hidden.
async fn write(client: &Client, name: &'static str, learned: &str, batches: Vec<RecordBatch>) -> Result<Table> {
    let failed = |error: firn_client::Error| format!("could not load {name}: {error}");
    let started = Instant::now();
    let mut put = Put::write(name);
    put.ingest_time = Some(learned.to_owned());
    put.report_bad_rows = true;
    put.nulls_absent = name == "planes";
    let schema = batches.first().map(RecordBatch::schema).ok_or_else(|| format!("{name} has no rows"))?;
    let mut writer = client.writer(put, schema);
    for batch in &batches {
        if writer.send(batch).await.is_err() {
            break; // The end of the stream says why.
        }
    }
    let (written, end) = writer.finish().await;
    end.map_err(failed)?;
    client.seal_table(name).await.map_err(failed)?;
    let sent = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    let seconds = started.elapsed().as_secs_f64();
    Ok(Table { name, sent, rows: written.rows, bad_row_count: written.bad_row_count, seconds })
}
