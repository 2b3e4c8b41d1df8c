//! `firn import`: files into a table. All rows are proven before the first is sent.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arrow_schema::TimeUnit;
use clap::{Arg, ArgAction, ArgMatches, Command};
use firn_client::Client;
use firn_client::wire::{Level, Put};
use firn_storage::model::value::parse_time_text;
use firn_storage::time::Micros;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use super::remote::{connect, endpoint, endpoint_flag, server_flag};
use crate::config::parse_bytes;
use crate::print::{count, say};
use crate::transfer::bad_rows::BadRowsFile;
use crate::transfer::check::{Checked, check};
use crate::transfer::history::Reading;
use crate::transfer::location::{Location, Locations};
use crate::transfer::send::{Summary, Upload};
use crate::transfer::shape::Shape;
use crate::transfer::source::{Source, content_hash, name_of};
use crate::transfer::stage::Mapping;
use crate::transfer::{Format, Result};

const SOURCE: &str = "Files";
const ROWS: &str = "Rows";

/// Pieces that are read ahead of the one being sent.
const READ_AHEAD: usize = 4;
/// The exit code of an import of which rows were refused, and all others loaded.
const REFUSED: u8 = 3;

/// The command.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, value: &'static str, heading: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help_heading(heading).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help_heading(ROWS).help(help)
    };
    Command::new("import")
        .about("Load Parquet, CSV or Arrow files into a table")
        .long_about(
            "Load Parquet, CSV or Arrow files into a table.\n\nColumns go by name: a file needs those of the entity's key, the \
             event time and the row id; features that it lacks are absent, and columns that the table lacks are passed over. \
             --map says where a name differs.\n\nAll rows are proven before the first is sent: what cannot be stored is told \
             with its file and row, and nothing has changed. An import that was interrupted can be run again: it knows the \
             same files by their content and goes on where it stopped.\n\nThe exit code is 0 if all rows were loaded, 3 if \
             some were refused (--bad-rows) and all others loaded, 1 if the import failed, 2 if the command is wrong.\n\nA FILE is a \
             path or the address of an object: s3://BUCKET/KEY, gs://…, az://… or file:///PATH. Credentials come from the \
             environment.",
        )
        .after_help(
            "Examples:\n  firn import weather 2013.parquet 2014.parquet\n  firn import weather log.csv --map observed=time --map \
             temp=temperature\n  firn import flights history.parquet --history --map ingest_time=landed --seal --bad-rows \
             refused.csv",
        )
        .arg(Arg::new("table").value_name("TABLE").required(true).help("The feature table"))
        .arg(Arg::new("files").value_name("FILE").required(true).num_args(1..).help("The files, in the order of their rows"))
        .arg(flag("format", "FORMAT", SOURCE, "parquet, csv or arrow, if the ending does not tell"))
        .arg(flag("map", "NAME=COLUMN", SOURCE, "The table's NAME is COLUMN in the files").action(ArgAction::Append))
        .arg(flag("columns", "NAME,…", SOURCE, "The columns of CSV files that have no header").value_delimiter(','))
        .arg(flag("set", "NAME=VALUE", SOURCE, "All rows have VALUE in the table's NAME, which the files lack").action(ArgAction::Append))
        .arg(flag("at", "TIME", SOURCE, "The event time of all rows, if the files have none (ISO 8601)"))
        .arg(flag("time-unit", "UNIT", SOURCE, "Times are whole numbers of s, ms, us or ns since 1970").value_parser(["s", "ms", "us", "ns"]))
        .arg(switch("history", "Rows bring their own ingest times, in the column ingest_time (see --map); the table must be unsealed"))
        .arg(switch("seal", "Seal the table afterwards: its history is complete"))
        .arg(switch("nulls-absent", "A null means that the cell was not written, not an explicit null"))
        .arg(flag("bad-rows", "FILE", ROWS, "Write rows that are refused to FILE (CSV, with reasons) and load all others"))
        .arg(flag("acknowledge", "LEVEL", ROWS, "What rows have survived when they count as loaded: local, the end of the server, or object, the loss of its disk [default: the server's]").value_parser(["local", "object"]))
        .arg(flag("batch-rows", "ROWS", ROWS, "Rows of one batch, which is applied whole or not at all").default_value("65536"))
        .arg(flag("sort-bytes-max", "SIZE", ROWS, "History that is not sorted by ingest time is sorted in memory up to this size").default_value("1GiB"))
        .arg(flag("producer", "NAME", ROWS, "The name that makes a repetition safe [default: from the content of the files]"))
        .args([endpoint_flag(), server_flag()])
}

/// Runs the import.
pub(super) async fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let client = connect(matches).await?;
    let shape = Shape::ask(&client, text("table").unwrap_or_default()).await?;
    let locations = Locations::new(endpoint(matches));
    let bad_rows = text("bad-rows").map(|file| bad_rows_path(&locations, file)).transpose()?;
    let mut reading = reading(matches, shape, &locations)?;
    if reading.mapping.history && reading.shape.sealed {
        return Err(format!(
            "table {} is sealed: its history is complete, and rows with ingest times of their own come too late",
            reading.shape.table
        ));
    }
    reading.put.producer = Some(match text("producer") {
        Some(name) => name.to_owned(),
        None => producer(&reading)?,
    });
    let unused = reading.unused()?;
    if !unused.is_empty() {
        say(&format!("not in table {}, so passed over: {}", reading.shape.table, unused.join(", ")));
    }
    let started = Instant::now();
    let table = reading.shape.table.clone();
    let producer = reading.put.producer.as_deref().unwrap_or_default();
    let applied = client.producer(&table, producer).await.map_err(|error| error.to_string())?.unwrap_or(0);
    let (checked, bad_rows_file) = proven(&reading, bad_rows.as_deref(), applied, clock(&client).await?)?;
    let told = checked.told(&reading);
    let upload = Upload::new(&client, applied, bad_rows_file, bar(reading.rows()?));
    let summary = send(reading, upload, &checked).await?;
    if matches.get_flag("seal") {
        client.seal_table(&table).await.map_err(|error| error.to_string())?;
    }
    let refused = checked.refused + summary.bad_rows;
    tell(&table, &summary, refused, started.elapsed());
    if refused == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    tell_refused(&told, &summary, &bad_rows.unwrap_or_default());
    Ok(ExitCode::from(REFUSED))
}

/// Proves all rows at `now`. Those that cannot be stored go to the file at `bad_rows`, or end the import if there is none.
fn proven(
    reading: &Reading,
    bad_rows: Option<&Path>,
    applied: u64,
    now: Micros,
) -> Result<(Checked, Option<BadRowsFile>)> {
    let open = |path| BadRowsFile::open(path, &reading.sources, &reading.shape, reading.mapping.history, applied > 0);
    let mut file = bad_rows.map(open).transpose()?;
    let checked = tokio::task::block_in_place(|| check(reading, &reading.shape.catalog, now, file.as_mut()))?;
    if checked.refused > 0 && file.is_none() {
        let (refused, told) = (count(checked.refused), checked.told(reading));
        let change =
            if applied > 0 { "what was imported before stays, and nothing was added" } else { "nothing was imported" };
        return Err(format!(
            "{refused} rows cannot be stored, so {change}:\n{told}\nmend them, or give --bad-rows FILE to \
             import all others"
        ));
    }
    Ok((checked, file))
}

/// The server's clock.
async fn clock(client: &Client) -> Result<Micros> {
    let status = client.status().await.map_err(|error| error.to_string())?;
    status["clock"].as_i64().ok_or_else(|| "the server does not tell its clock".to_owned())
}

/// The path of the file of bad rows.
fn bad_rows_path(locations: &Locations, file: &str) -> Result<PathBuf> {
    match locations.find(file)? {
        Location::Path(path) => Ok(path),
        Location::Object(_) => Err(format!(
            "--bad-rows {file}: rows are added to it one by one, which no bucket takes; name a file of this machine"
        )),
    }
}

fn reading(matches: &ArgMatches, shape: Shape, locations: &Locations) -> Result<Reading> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let files = matches.get_many::<String>("files").into_iter().flatten();
    let names: Option<Vec<String>> = matches.get_many::<String>("columns").map(|names| names.cloned().collect());
    let source = |file: &String| {
        let location = locations.find(file)?;
        let format = Format::of(location.path(), text("format"))?;
        if names.is_some() && format != Format::Csv {
            return Err(format!("--columns is for CSV files without a header, and {location} says its own"));
        }
        Ok(Source { format, location, names: names.clone() })
    };
    let sources = files.map(source).collect::<Result<Vec<_>>>()?;
    let mapping = mapping(matches, &shape)?;
    let mut put = Put::write(shape.table.clone());
    put.nulls_absent = matches.get_flag("nulls-absent");
    put.report_bad_rows = text("bad-rows").is_some();
    put.acknowledge = text("acknowledge").map(|level| if level == "object" { Level::Object } else { Level::Local });
    put.ingest_time = mapping.history.then(|| "ingest_time".to_owned());
    let batch_rows = text("batch-rows").unwrap_or_default();
    let batch_rows = batch_rows.parse().ok().filter(|rows| (1..=1 << 24).contains(rows));
    let batch_rows = batch_rows.ok_or("--batch-rows is a number from 1 to 16777216")?;
    let sort_bytes_max = parse_bytes(text("sort-bytes-max").unwrap_or_default())?;
    Ok(Reading { sources, shape, mapping, put, batch_rows, sort_bytes_max })
}

fn mapping(matches: &ArgMatches, shape: &Shape) -> Result<Mapping> {
    let pairs = |flag: &str, form: &str| {
        let pairs = matches.get_many::<String>(flag).into_iter().flatten().map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("--{flag} {pair}: write {form}"))?;
            Ok((name.to_owned(), value.to_owned()))
        });
        pairs.collect::<Result<_>>()
    };
    let mut mapping = Mapping {
        renamed: pairs("map", "NAME=COLUMN")?,
        set: pairs("set", "NAME=VALUE")?,
        history: matches.get_flag("history"),
        time_unit: matches.get_one::<String>("time-unit").map(|unit| match unit.as_str() {
            "s" => TimeUnit::Second,
            "ms" => TimeUnit::Millisecond,
            "us" => TimeUnit::Microsecond,
            _ => TimeUnit::Nanosecond,
        }),
    };
    if let Some(at) = matches.get_one::<String>("at") {
        parse_time_text(at, false).map_err(|error| error.at("--at").to_string())?;
        mapping.set.insert(shape.event_time.name.clone(), at.clone());
    }
    Ok(mapping)
}

/// A name that the same files, cut into the same pieces, have again. How bad rows are treated is no part of it, nor what is
/// waited for.
fn producer(reading: &Reading) -> Result<String> {
    let content = content_hash(&reading.sources)?;
    let put = Put { report_bad_rows: false, acknowledge: None, ..reading.put.clone() };
    let formats: Vec<Format> = reading.sources.iter().map(|source| source.format).collect();
    // Whether the table is sealed is no part of it: the first batch seals it.
    let columns: Vec<_> = reading.shape.columns().collect();
    let version = env!("CARGO_PKG_VERSION");
    let how = format!("{version} {:?} {put:?} {} {formats:?} {columns:?}", reading.mapping, reading.batch_rows);
    Ok(format!("import-{content:016x}{:016x}", xxhash_rust::xxh3::xxh3_64(how.as_bytes())))
}

/// Reads on a thread of its own and sends what comes.
async fn send(reading: Reading, mut upload: Upload<'_>, checked: &Checked) -> Result<Summary> {
    let (pieces, mut queue) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        // What does not read was told when all was proven.
        reading.read(&mut |(piece, _)| pieces.blocking_send(piece).is_ok())
    });
    let mut sent = Ok(());
    while let (Some(piece), Ok(())) = (queue.recv().await, &sent) {
        sent = upload.send(piece, checked).await;
    }
    drop(queue);
    let read = reading.await.map_err(|error| error.to_string())?;
    // What was sent before an error is acknowledged and stays.
    let summary = upload.finish().await;
    sent.and(read)?;
    summary
}

/// A progress bar, for whoever looks.
fn bar(rows: Option<u64>) -> ProgressBar {
    let (bar, form) = match rows {
        Some(rows) => (ProgressBar::new(rows), "{bar:30} {human_pos} of {human_len} rows, {per_sec}, {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {human_pos} rows, {per_sec}"),
    };
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template(form).expect("the template is written right"));
    bar
}

fn tell(table: &str, summary: &Summary, refused: u64, time: Duration) {
    let before = match summary.before {
        0 => String::new(),
        before => format!(", {} had been sent before", count(before)),
    };
    let refused = match refused {
        0 => String::new(),
        refused => format!(", {} refused", count(refused)),
    };
    say(&format!("{table}: {} rows in {:.1} s{before}{refused}", count(summary.rows), time.as_secs_f64()));
}

/// Says what was refused, and that all of it is in the file at `path`.
fn tell_refused(told: &str, summary: &Summary, path: &Path) {
    let file = name_of(path);
    say(&format!(
        "all others are loaded, and that stays; the refused rows are in {file}, with what is wrong with each"
    ));
    if !told.is_empty() {
        say(told);
    }
    if summary.unlisted > 0 {
        let more = count(summary.unlisted);
        say(&format!("the server refused {more} rows more, which it did not list: use a smaller --batch-rows"));
    }
}
