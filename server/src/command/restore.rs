//! `firn restore`: a database of its own from what is in a bucket, without a server.

use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};
use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_storage::home::{Copied, copy};
use firn_storage::io::Files;
use firn_storage::io::disk::Disk;
use firn_storage::time::{Clock, SystemClock};
use indicatif::ProgressBar;

use super::remote::{endpoint, endpoint_flag};
use crate::print::{count, say};

/// Files that may be mapped at once: they are copied one after another.
const MAPS_MAX: u64 = 4;

/// The command.
pub(super) fn command() -> Command {
    let address = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("URL").help(help);
    Command::new("restore")
        .about("Copy the database of a bucket into another, as it is or as it is at a checkpoint")
        .long_about(
            "Copy the database of a bucket into another bucket or prefix, as it is or as it is at a checkpoint. The copy is a database \
             of its own, which may be written: `firn serve --bucket` opens it. Positions of the other database count there up to the \
             copy. The other is only read, and may be served meanwhile if a checkpoint is copied.",
        )
        .after_help("Example:\n  firn restore --bucket s3://features/prod --checkpoint before-migration --to s3://features/try")
        .arg(address("bucket", "The bucket to copy from").required(true).env("FIRN_BUCKET"))
        .arg(Arg::new("checkpoint").long("checkpoint").value_name("NAME").help("The checkpoint; without it what is newest"))
        .arg(address("to", "An empty bucket or prefix").required(true))
        .arg(endpoint_flag())
}

/// Copies.
pub(super) fn run(matches: &ArgMatches) -> Result<(), String> {
    let text = |name| matches.get_one::<String>(name);
    let options = Options { endpoint: endpoint(matches).map(str::to_owned), ..Options::default() };
    let open = |name| Bucket::open(text(name).map_or("", String::as_str), &options).map_err(|error| error.to_string());
    let (from, to) = (open("bucket")?, open("to")?);
    let directory = tempfile::tempdir().map_err(|error| format!("a directory for files on the way: {error}"))?;
    let files = on_the_way(directory.path())?;
    let writer = format!("firn restore (process {})", std::process::id());
    let bar = ProgressBar::new_spinner();
    let told = |Copied { files, bytes, .. }: Copied| {
        bar.set_message(format!("{} files, {} bytes", count(files), count(bytes)))
    };
    let by = (writer.as_str(), SystemClock::default().now());
    let copied = copy((from.as_ref(), to.as_ref()), text("checkpoint").map(String::as_str), &files, by, told);
    bar.finish_and_clear();
    let Copied { files, bytes, .. } = copied.map_err(|error| error.to_string())?;
    say(&format!("{} files, {} bytes", count(files), count(bytes)));
    say(&format!("serve it:  firn serve --data DIR --bucket {}", text("to").map_or("", String::as_str)));
    Ok(())
}

fn on_the_way(directory: &Path) -> Result<Arc<dyn Files>, String> {
    let disk = Disk::open(directory, true, MAPS_MAX).map_err(|error| error.to_string())?;
    Ok(Arc::new(disk))
}
