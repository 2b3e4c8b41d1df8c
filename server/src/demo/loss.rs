//! The chapter of a demo that has a bucket: a table is frozen, the server and its disk are lost, and another server, which
//! has the bucket and nothing else, gives the same answers.

use std::time::Instant;

use arrow_array::RecordBatch;
use firn_client::Client;
use serde_json::Value;

use super::child::Child;
use super::load::Table;
use super::place::Place;
use super::reads::{Reads, Told, same};
use super::result::Result;
use super::teller::{Teller, bytes, percent, seconds};

/// Freezes `table`, all of it, and tells how small it has become.
pub(super) async fn freeze(teller: &Teller, client: &Client, table: &Table) -> Result<()> {
    let name = table.name;
    let failed = |error: firn_client::Error| format!("could not freeze {name}: {error}");
    client.flush(Some(name)).await.map_err(failed)?;
    client.freeze(Some(name)).await.map_err(failed)?;
    let status = client.status().await.map_err(failed)?;
    let tables = status["tables"].as_array().into_iter().flatten();
    let segment_bytes: u64 = tables.filter(|of| of["table"] == name).map(|of| number(&of["segment_bytes"])).sum();
    let (rows, ice_bytes) = (number(&status["ice"]["rows"]), number(&status["ice"]["bytes"]));
    if rows != table.rows {
        return Err(format!("only {rows} of {} rows of {name} are frozen", table.rows));
    }
    let (ice, segments) = (teller.strong(&bytes(ice_bytes)), bytes(segment_bytes));
    let share = percent(ice_bytes, segment_bytes);
    teller.line(
        "freeze",
        &format!("{name} went to the bucket as Parquet: {ice}, {share} of the {segments} of its segments"),
    );
    Ok(())
}

/// Kills `server`, deletes its disk, and asks everything that was told again, of a server that starts on an empty one.
pub(super) async fn lose(
    teller: &Teller,
    place: &Place,
    mut server: Child,
    spine: &[RecordBatch],
    told: &Told,
) -> Result<Child> {
    server.kill().await?;
    place.lose_disk()?;
    let started = Instant::now();
    let (server, _) = Child::start(place).await?;
    let client = server.client().await?;
    let reads = Reads::new(&client);
    let now = reads.latest().await?;
    let answered = teller.strong(&seconds(started.elapsed().as_secs_f64()));
    let process = server.process();
    let what = format!("killed the server and deleted its data; process {process} began with the bucket alone");
    teller.line("disk lost", &format!("{what}, first answer after {answered}"));
    let since = "the loss of the disk";
    same(&now, &told.now, since)?;
    same(&reads.on_the_first_of_july().await?, &told.then, since)?;
    reads.joins_are_the_same(spine, told, since).await?;
    let status = client.status().await.map_err(|error| error.to_string())?;
    let fetched = bytes(number(&status["ice"]["fetched_bytes"]));
    let answers = format!("the plane now and then, both training sets, bit for bit (digest {}…)", told.digest());
    teller.line("the same", &format!("{answers}; {fetched} of Parquet were read"));
    Ok(server)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
