//! The command line of `firn`: one file per kind of command.

mod export;
mod import;
mod mend;
mod remote;
mod restore;
mod runtime;
mod serve;
mod show;
mod sql;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::demo;
use runtime::block_on;

/// Parses the arguments of the process and does what they say.
pub fn run() -> Result<ExitCode, String> {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches)?,
        Some(("demo", matches)) => run_demo(matches)?,
        Some(("import", matches)) => return block_on(import::run(matches))?,
        Some(("export", matches)) => block_on(export::run(matches))??,
        Some(("sql", matches)) => return block_on(sql::run(matches)),
        Some((name @ ("verify" | "repair"), matches)) => mend::run(name, matches)?,
        Some(("restore", matches)) => restore::run(matches)?,
        Some(("checkpoint", matches)) => block_on(remote::run_checkpoint(matches))??,
        Some((name, matches)) => block_on(remote::run(name, matches))??,
        None => unreachable!("clap asks for a subcommand"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole command line.
pub fn command() -> Command {
    let command = Command::new("firn")
        .version(env!("CARGO_PKG_VERSION"))
        .about("FirnDB: ML features, read now, at any past moment, and as they were known then")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(demo_command())
        .subcommand(import::command())
        .subcommand(export::command())
        .subcommand(sql::command())
        .subcommand(restore::command());
    let command = remote::commands().into_iter().fold(command, Command::subcommand);
    mend::commands().into_iter().fold(command, Command::subcommand)
}

fn demo_command() -> Command {
    let flag = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let data = flag("data", "DIR").help("Load into DIR, which must be empty, and keep it");
    let keep = Arg::new("keep").long("keep").action(ArgAction::SetTrue).help("Keep the temporary directory");
    let bucket = flag("bucket", "URL").help(
        "The story with this bucket, which must hold no database: the demo deletes its data in the middle and goes on from there",
    );
    let command = Command::new("demo").about("Tell the story of a year of flights, with a server of its own");
    command.args([data, keep, bucket, remote::endpoint_flag()])
}

fn run_demo(matches: &ArgMatches) -> Result<(), String> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let endpoint = remote::endpoint(matches).map(str::to_owned);
    let home = text("bucket").map(|address| demo::Home { address, endpoint });
    let options = demo::Options { data: text("data").map(Into::into), keep: matches.get_flag("keep"), home };
    block_on(demo::run(options))?
}
