//! `firn sql`: statements from a person, a script or the command line, over Flight SQL.
//!
//! A local directory is served inside the process, so that there is one way to a database.

mod answer;
mod backslash;
mod candidates;
mod drawing;
mod interactive;
mod session;
mod shell;
mod splitter;

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use firn_client::Client;

use super::remote::{connect, server_flag};
use crate::Server;
use crate::config::Config;
use answer::{AnswerFormat, Output};
use session::{Bound, Session};
use shell::Shell;

const WHERE: &str = "Database";
const BOUNDS: &str = "What to read";
const ANSWERS: &str = "Answers";

/// The command.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, value: &'static str, heading: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help_heading(heading).help(help)
    };
    Command::new("sql")
        .about("Run SQL, line by line or from a script")
        .long_about(
            "Run SQL, line by line or from a script.\n\nStatements are those of -c, then those of --file; without both they \
             are read from standard input, and typed if that is a terminal. A statement ends with a semicolon, a line that \
             begins with a backslash is a command of the shell: \\? lists them.\n\nThe exit code is 0, or 1 after the first \
             error, which ends a script.",
        )
        .after_help(
            "Examples:\n  firn sql\n  firn sql -c 'SELECT * FROM weather' --format csv --output weather.csv\n  firn sql \
             --directory data --file nightly.sql --as-of 2013-07-01T00:00:00Z",
        )
        .arg(server_flag().help_heading(WHERE))
        .arg(flag("directory", "DIR", WHERE, "Open the database in DIR, which no server serves, instead of asking one"))
        .arg(
            Arg::new("command")
                .short('c')
                .long("command")
                .value_name("SQL")
                .action(ArgAction::Append)
                .help("Run these statements"),
        )
        .arg(Arg::new("file").short('f').long("file").value_name("FILE").help("Run the statements of a script"))
        .arg(
            flag("format", "FORMAT", ANSWERS, "table, csv, json (one object a line) or parquet")
                .value_parser(AnswerFormat::NAMES)
                .default_value("table"),
        )
        .arg(flag("output", "FILE", ANSWERS, "Write answers to FILE"))
        .arg(flag("timing", "", ANSWERS, "Tell how long each statement took").action(ArgAction::SetTrue))
        .arg(flag("as-of", "TIME", BOUNDS, "What was true then (RFC 3339) [default: latest]"))
        .arg(flag("known-at", "TIME", BOUNDS, "What was known then (RFC 3339); tables must be sealed [default: everything]"))
        .arg(flag("position", "POSITION", BOUNDS, "Exactly these commits, as the server answers them [default: all]"))
}

/// Runs the shell to its end.
pub(super) async fn run(matches: &ArgMatches) -> ExitCode {
    match open(matches).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reaches the database, and leaves it behind as it was found.
async fn open(matches: &ArgMatches) -> Result<(), String> {
    let Some(directory) = matches.get_one::<String>("directory") else {
        let url = matches.get_one::<String>("server").map_or("", String::as_str);
        return talk(matches, &connect(matches).await?, url).await;
    };
    if matches.value_source("server") == Some(ValueSource::CommandLine) {
        return Err("--directory and --server name two databases: leave one out".to_owned());
    }
    // A name that is mistyped must not make a database.
    if !Path::new(directory).is_dir() {
        return Err(format!("there is no directory {directory}: `firn serve --data {directory}` makes one"));
    }
    let mut config = Config::new(directory);
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.metrics = None;
    let server = Server::start(config).await?;
    let talked = match Client::connect(&server.url()).await {
        Ok(client) => talk(matches, &client, directory).await,
        Err(error) => Err(error.to_string()),
    };
    let stopped = server.stop().await;
    talked.and(stopped)
}

/// Runs what is to be run.
async fn talk(matches: &ArgMatches, client: &Client, place: &str) -> Result<(), String> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let mut session = Session::new(client.flight());
    for (bound, flag) in [(Bound::AsOf, "as-of"), (Bound::KnownAt, "known-at"), (Bound::Position, "position")] {
        session.bind(bound, text(flag))?;
    }
    let output =
        Output::new(AnswerFormat::named(text("format").unwrap_or_default())?, text("output").map(PathBuf::from));
    let commands: Vec<&String> = matches.get_many("command").into_iter().flatten().collect();
    let asked = !commands.is_empty() || text("file").is_some();
    let interactive = !asked && std::io::stdin().is_terminal();
    let mut shell = Shell::new(session, output, matches.get_flag("timing"), interactive);
    if interactive {
        // What is wrong with the bounds is told before anything is typed.
        shell.session.check().await?;
        interactive::greet(place);
        return interactive::converse(&mut shell).await;
    }
    let mut scripts: Vec<(String, Option<String>)> =
        commands.into_iter().map(|command| (command.clone(), None)).collect();
    if let Some(file) = text("file") {
        let script = std::fs::read_to_string(file).map_err(|error| format!("could not read {file}: {error}"))?;
        scripts.push((script, Some(format!("{file}:"))));
    } else if !asked {
        let script = std::io::read_to_string(std::io::stdin());
        let script = script.map_err(|error| format!("could not read standard input: {error}"))?;
        scripts.push((script, Some("line ".to_owned())));
    }
    for (script, place) in scripts {
        if shell.script(&script, place.as_deref(), 0).await?.is_break() {
            break;
        }
    }
    Ok(())
}
