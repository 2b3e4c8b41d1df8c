//! Commands that speak to a running server: what there is, and upkeep.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use firn_client::Client;
use firn_client::wire::{RECEIPTS_ASKED, Receipts};
use serde_json::{Value, json};

use super::show;
use crate::print::{json_flag, say};

/// Where a server listens unless a flag says otherwise.
const SERVER: &str = "grpc://127.0.0.1:3476";

/// `--server`.
pub(super) fn server_flag() -> Arg {
    Arg::new("server")
        .long("server")
        .value_name("URL")
        .env("FIRN_SERVER")
        .default_value(SERVER)
        .help("The server to ask")
}

/// `--bucket-endpoint`, as `firn serve` has it.
pub(super) fn endpoint_flag() -> Arg {
    Arg::new("bucket-endpoint")
        .long("bucket-endpoint")
        .value_name("URL")
        .env("FIRN_BUCKET_ENDPOINT")
        .help("The server of buckets, if it is not the cloud's own")
}

/// The server of buckets that the flag names, if it names one.
pub(super) fn endpoint(matches: &ArgMatches) -> Option<&str> {
    matches.get_one::<String>("bucket-endpoint").map(String::as_str).filter(|endpoint| *endpoint != "none")
}

/// A client of the server that the flag names.
pub(super) async fn connect(matches: &ArgMatches) -> Result<Client, String> {
    let url = matches.get_one::<String>("server").map_or(SERVER, String::as_str);
    Client::connect(url).await.map_err(|error| format!("could not reach {url}: {error}"))
}

/// The commands.
pub(super) fn commands() -> Vec<Command> {
    let table = |required: bool| Arg::new("table").value_name("TABLE").required(required);
    let all = "The feature table; without it all tables";
    let entity = Arg::new("entity").value_name("ENTITY").required(true).help("The entity");
    let keys = Arg::new("keys").value_name("COLUMN=VALUE").required(true).num_args(1..).help("Leading key columns");
    let block = Arg::new("block").long("block").action(ArgAction::SetTrue).help("Refuse later rows of it");
    let last = Arg::new("last").long("last").value_name("COUNT").value_parser(value_parser!(u64));
    let last = last.help(format!("Of so many erases, the last of all [default: {RECEIPTS_ASKED}]"));
    let command =
        |name: &'static str, about: &'static str| Command::new(name).about(about).arg(server_flag()).arg(json_flag());
    vec![
        command("entities", "List the entities"),
        command("tables", "List the feature tables"),
        command("describe", "Show the declaration of a table").arg(table(true).help("The feature table")),
        command("status", "Show what the server holds and does"),
        command("flush", "Write memtables to segments").arg(table(false).help(all)),
        command("compact", "Merge segments and build latest packs").arg(table(false).help(all)),
        command("freeze", "Put segments into the bucket as Parquet").arg(table(false).help(all)),
        checkpoint_command(),
        command("erase", "Erase an entity from every file")
            .long_about(
                "Erase an entity, or all whose leading key columns are given: at once from every answer, then from every file. \
                 It cannot be taken back.",
            )
            .after_help("Example:\n  firn erase user user_id=4711 --block")
            .arg(entity.clone())
            .arg(keys)
            .arg(block),
        command("receipts", "Show what erases found, and when the bytes went from where").arg(entity).arg(last),
    ]
}

fn checkpoint_command() -> Command {
    let name = || Arg::new("checkpoint").value_name("NAME").required(true).help("What it is called");
    let command =
        |name: &'static str, about: &'static str| Command::new(name).about(about).arg(server_flag()).arg(json_flag());
    Command::new("checkpoint")
        .about("Keep states of the database in its bucket, by name")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(command("create", "Keep the database as it is now").arg(name()))
        .subcommand(command("list", "List the checkpoints"))
        .subcommand(command("drop", "Let a checkpoint go").arg(name()))
}

/// Asks the server about checkpoints and prints the answer.
pub(super) async fn run_checkpoint(matches: &ArgMatches) -> Result<(), String> {
    let (deed, matches) = matches.subcommand().expect("clap asks for a subcommand");
    let (action, body) = match deed {
        "list" => ("list_checkpoints", json!({})),
        deed => {
            let name = matches.get_one::<String>("checkpoint");
            (if deed == "create" { "create_checkpoint" } else { "drop_checkpoint" }, json!({ "checkpoint": name }))
        }
    };
    let answer = connect(matches).await?.action(action, &body).await.map_err(|error| error.to_string())?;
    say(&match deed {
        _ if matches.get_flag("json") => format!("{answer:#}"),
        "list" => show::checkpoints(&answer),
        "create" => show::checkpoint(&answer),
        _ => "done".to_owned(),
    });
    Ok(())
}

/// Asks the server and prints the answer.
pub(super) async fn run(name: &str, matches: &ArgMatches) -> Result<(), String> {
    let client = connect(matches).await?;
    let answer = client.action(action_of(name), &body(name, matches)?).await.map_err(|error| error.to_string())?;
    say(&match name {
        _ if matches.get_flag("json") => format!("{answer:#}"),
        "entities" => show::entities(&answer),
        "tables" => show::tables(&answer),
        "describe" => show::declaration(&answer),
        "status" => show::status(&answer),
        "erase" => show::receipt(&answer),
        "receipts" => show::receipts(&answer),
        _ => "done".to_owned(),
    });
    Ok(())
}

fn action_of(name: &str) -> &str {
    match name {
        "entities" => "list_entities",
        "tables" => "list_tables",
        "describe" => "describe_table",
        other => other,
    }
}

fn body(name: &str, matches: &ArgMatches) -> Result<Value, String> {
    match name {
        "describe" | "flush" | "compact" | "freeze" => Ok(match matches.get_one::<String>("table") {
            Some(table) => json!({ "table": table }),
            None => json!({}),
        }),
        "erase" => {
            let mut entities = serde_json::Map::new();
            for key in matches.get_many::<String>("keys").into_iter().flatten() {
                let (column, value) = key.split_once('=').ok_or_else(|| format!("{key:?} is not COLUMN=VALUE"))?;
                // A number is a number key; everything else is text.
                let value = value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number));
                entities.insert(column.to_owned(), json!([value]));
            }
            let entity = matches.get_one::<String>("entity");
            Ok(json!({ "entity": entity, "entities": entities, "block": matches.get_flag("block") }))
        }
        "receipts" => {
            let entity = matches.get_one::<String>("entity").cloned().unwrap_or_default();
            let last = matches.get_one::<u64>("last").copied().unwrap_or(RECEIPTS_ASKED);
            Ok(Receipts { entity, last }.encode())
        }
        _ => Ok(json!({})),
    }
}
