//! `firn import`: files into a table.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use firn_client::wire::Put;
use firn_storage::model::value::parse_time_text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use super::remote::{connect, server_flag};
use crate::config::parse_bytes;
use crate::print::{count, say};
use crate::transfer::bad_rows::BadRowsFile;
use crate::transfer::history::Reading;
use crate::transfer::send::{Summary, Upload};
use crate::transfer::shape::Shape;
use crate::transfer::source::{Source, content_hash, name_of};
use crate::transfer::stage::Mapping;
use crate::transfer::{Format, Result};

const SOURCE: &str = "Files";
const ROWS: &str = "Rows";

/// Pieces that are read ahead of the one being sent.
const READ_AHEAD: usize = 4;

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
             --map says where a name differs.\n\nAn import that was interrupted can be run again: it knows the same files by \
             their content and goes on where it stopped.",
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
        .arg(flag("at", "TIME", SOURCE, "The event time of all rows, if the files have none (RFC 3339)"))
        .arg(switch("history", "Rows bring their own ingest times, in the column ingest_time (see --map); the table must be unsealed"))
        .arg(switch("seal", "Seal the table afterwards: its history is complete"))
        .arg(switch("nulls-absent", "A null means that the cell was not written, not an explicit null"))
        .arg(flag("bad-rows", "FILE", ROWS, "Write rows that are refused to FILE (CSV, with reasons) and load all others"))
        .arg(flag("batch-rows", "ROWS", ROWS, "Rows of one batch, which is applied whole or not at all").default_value("65536"))
        .arg(flag("sort-bytes-max", "SIZE", ROWS, "History that is not sorted by ingest time is sorted in memory up to this size").default_value("1GiB"))
        .arg(flag("producer", "NAME", ROWS, "The name that makes a repetition safe [default: from the content of the files]"))
        .arg(server_flag())
}

/// Runs the import.
pub(super) async fn run(matches: &ArgMatches) -> Result<()> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let client = connect(matches).await?;
    let shape = Shape::ask(&client, text("table").unwrap_or_default()).await?;
    let mut reading = reading(matches, shape)?;
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
    let bad_rows =
        text("bad-rows").map(|path| BadRowsFile::open(Path::new(path), &reading.shape, reading.mapping.history));
    let started = Instant::now();
    let table = reading.shape.table.clone();
    let producer = reading.put.producer.as_deref().unwrap_or_default();
    let applied = client.producer(&table, producer).await.map_err(|error| error.to_string())?.unwrap_or(0);
    let upload = Upload::new(&client, applied, bad_rows.transpose()?, bar(reading.rows()?));
    let summary = send(reading, upload).await?;
    if matches.get_flag("seal") {
        client.seal_table(&table).await.map_err(|error| error.to_string())?;
    }
    tell(&table, &summary, started.elapsed(), matches);
    Ok(())
}

fn reading(matches: &ArgMatches, shape: Shape) -> Result<Reading> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let files = matches.get_many::<String>("files").into_iter().flatten().map(PathBuf::from);
    let source = |path: PathBuf| Ok(Source { format: Format::of(&path, text("format"))?, path });
    let sources = files.map(source).collect::<Result<Vec<_>>>()?;
    let mut mapping = Mapping { history: matches.get_flag("history"), ..Mapping::default() };
    for pair in matches.get_many::<String>("map").into_iter().flatten() {
        let (name, column) = pair.split_once('=').ok_or_else(|| format!("--map {pair}: write NAME=COLUMN"))?;
        mapping.renamed.insert(name.to_owned(), column.to_owned());
    }
    if let Some(at) = text("at") {
        mapping.at = Some(parse_time_text(at, false).map_err(|error| error.at("--at").to_string())?);
    }
    let mut put = Put::write(shape.table.clone());
    put.nulls_absent = matches.get_flag("nulls-absent");
    put.report_bad_rows = text("bad-rows").is_some();
    put.ingest_time = mapping.history.then(|| "ingest_time".to_owned());
    let batch_rows = text("batch-rows").unwrap_or_default();
    let batch_rows = batch_rows.parse().ok().filter(|rows| (1..=1 << 24).contains(rows));
    let batch_rows = batch_rows.ok_or("--batch-rows is a number from 1 to 16777216")?;
    let sort_bytes_max = parse_bytes(text("sort-bytes-max").unwrap_or_default())?;
    Ok(Reading { sources, shape, mapping, put, batch_rows, sort_bytes_max })
}

/// A name that the same files, cut into the same pieces, have again. How bad rows are treated is no part of it.
fn producer(reading: &Reading) -> Result<String> {
    let content = content_hash(&reading.sources)?;
    let put = Put { report_bad_rows: false, ..reading.put.clone() };
    let formats: Vec<Format> = reading.sources.iter().map(|source| source.format).collect();
    // Whether the table is sealed is no part of it: the first batch seals it.
    let columns: Vec<_> = reading.shape.columns().collect();
    let version = env!("CARGO_PKG_VERSION");
    let how = format!("{version} {:?} {put:?} {} {formats:?} {columns:?}", reading.mapping, reading.batch_rows);
    Ok(format!("import-{content:016x}{:016x}", xxhash_rust::xxh3::xxh3_64(how.as_bytes())))
}

/// Reads on a thread of its own and sends what comes.
async fn send(reading: Reading, mut upload: Upload<'_>) -> Result<Summary> {
    let (pieces, mut queue) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || reading.read(&mut |piece| pieces.blocking_send(piece).is_ok()));
    let mut sent = Ok(());
    while let (Some(piece), Ok(())) = (queue.recv().await, &sent) {
        sent = upload.send(piece).await;
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

fn tell(table: &str, summary: &Summary, time: Duration, matches: &ArgMatches) {
    let before = match summary.before {
        0 => String::new(),
        before => format!(", {} had been sent before", count(before)),
    };
    let refused = match summary.bad_rows {
        0 => String::new(),
        bad => format!(", {} refused", count(bad)),
    };
    say(&format!("{table}: {} rows in {:.1} s{before}{refused}", count(summary.rows), time.as_secs_f64()));
    if let (Some(file), true) = (matches.get_one::<String>("bad-rows"), summary.bad_rows > 0) {
        let file = name_of(Path::new(file));
        match summary.unlisted {
            0 => say(&format!("the refused rows are in {file}, with what is wrong with each")),
            more => say(&format!(
                "{file} has what the server listed; {} faults more were not listed: use a smaller --batch-rows",
                count(more)
            )),
        }
    }
}
