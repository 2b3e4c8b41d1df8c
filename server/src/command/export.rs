//! `firn export`: a table into a file.

use clap::{Arg, ArgAction, ArgMatches, Command};
use firn_client::Client;
use firn_client::wire::{Bound, Scan, Time};

use super::remote::{connect, endpoint, endpoint_flag, server_flag};
use crate::print::{count, say};
use crate::transfer::location::{Location, Locations};
use crate::transfer::sink::Sink;
use crate::transfer::{Format, Result};

const BOUNDS: &str = "What to read";

/// The command.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help_heading(BOUNDS).help(help)
    };
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("export")
        .about("Write a table to a Parquet, CSV or Arrow file")
        .long_about(
            "Write a table to a Parquet, CSV or Arrow file: the latest row of each entity, or with --history every row and \
             tombstone with its times, from which `firn import --history` builds the same table again.\n\nFILE is a path or the \
             address of an object: s3://BUCKET/KEY, gs://…, az://… or file:///PATH. Credentials come from the environment.",
        )
        .after_help(
            "Examples:\n  firn export weather --to latest.parquet\n  firn export weather --to july.csv --as-of \
             2013-07-01T00:00:00Z --features temp,humid\n  firn export flights --to s3://backup/flights.parquet --history",
        )
        .arg(Arg::new("table").value_name("TABLE").required(true).help("The feature table"))
        .arg(Arg::new("to").long("to").value_name("FILE").required(true).help("The file to write"))
        .arg(Arg::new("format").long("format").value_name("FORMAT").help("parquet, csv or arrow, if the ending does not tell"))
        .arg(switch("overwrite", "Replace FILE if it is there"))
        .arg(switch("history", "Every row and tombstone, with ingest times").help_heading(BOUNDS))
        .arg(flag("as-of", "TIME", "What was true then (RFC 3339) [default: latest]"))
        .arg(flag("known-at", "TIME", "What was known then (RFC 3339); the table must be sealed [default: everything]"))
        .arg(flag("from", "TIME", "Rows from this event time on, or entities that have one"))
        .arg(flag("until", "TIME", "Rows before this event time, or entities that have one"))
        .arg(flag("features", "NAME,…", "These features only").value_delimiter(','))
        .args([endpoint_flag(), server_flag()])
}

/// Runs the export.
pub(super) async fn run(matches: &ArgMatches) -> Result<()> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let location = Locations::new(endpoint(matches)).find(text("to").unwrap_or_default())?;
    let format = Format::of(location.path(), text("format"))?;
    if !matches.get_flag("overwrite") && tokio::task::block_in_place(|| location.exists())? {
        return Err(format!("{location} is there already; give --overwrite to replace it"));
    }
    let client = connect(matches).await?;
    let rows = export(&client, scan(matches), location.clone(), format).await?;
    say(&format!("{}: {} rows to {location}", text("table").unwrap_or_default(), count(rows)));
    Ok(())
}

fn scan(matches: &ArgMatches) -> Scan {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let time = |name: &str| text(name).map(Time::Text);
    let bound = |name: &str| match text(name) {
        None => Bound::Latest,
        Some(text) if text == "latest" => Bound::Latest,
        Some(text) => Bound::Time { time: Time::Text(text), exclusive: false },
    };
    Scan {
        table: text("table").unwrap_or_default(),
        columns: matches.get_many::<String>("features").map(|features| features.cloned().collect()),
        as_of: bound("as-of"),
        known_at: bound("known-at"),
        history: matches.get_flag("history"),
        from: time("from"),
        to: time("until"),
        ..Scan::default()
    }
}

/// Reads all parts of the scan, which are of one moment, into the file.
async fn export(client: &Client, scan: Scan, location: Location, format: Format) -> Result<u64> {
    let parts = client.scan(&scan).await.map_err(|error| error.to_string())?;
    let mut sink = Sink::create(location, format, &std::sync::Arc::new(parts.schema.clone()))?;
    let mut rows = 0;
    for part in 0..parts.len() {
        let mut answers = client.scan_part(&parts, part).await.map_err(|error| error.to_string())?;
        while let Some(message) = answers.message().await.map_err(|error| error.to_string())? {
            rows += message.batch.num_rows() as u64;
            tokio::task::block_in_place(|| sink.write(&message.batch))?;
        }
    }
    tokio::task::block_in_place(|| sink.finish())?;
    Ok(rows)
}
