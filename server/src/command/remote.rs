//! Commands that speak to a running server: what there is, and upkeep.

use clap::{Arg, ArgMatches, Command};
use firn_client::Client;
use serde_json::{Value, json};

/// Where a server listens unless a flag says otherwise.
const SERVER: &str = "grpc://127.0.0.1:3476";

/// The commands.
pub(super) fn commands() -> Vec<Command> {
    let server = || {
        let help = "The server to ask";
        Arg::new("server").long("server").value_name("URL").env("FIRN_SERVER").default_value(SERVER).help(help)
    };
    let table = |required: bool| Arg::new("table").value_name("TABLE").required(required).help("The feature table");
    let entity = Arg::new("entity").value_name("ENTITY").required(true).help("The entity");
    let keys = Arg::new("keys").value_name("COLUMN=VALUE").required(true).num_args(1..).help("Leading key columns");
    let block = Arg::new("block").long("block").action(clap::ArgAction::SetTrue).help("Refuse later rows of it");
    vec![
        Command::new("entities").about("List the entities").arg(server()),
        Command::new("tables").about("List the feature tables").arg(server()),
        Command::new("describe").about("Print the declaration of a table").arg(table(true)).arg(server()),
        Command::new("status").about("Print what the server holds and does").arg(server()),
        Command::new("flush").about("Write memtables to segments").arg(table(false)).arg(server()),
        Command::new("compact").about("Merge segments and build latest packs").arg(table(false)).arg(server()),
        Command::new("erase").about("Erase an entity from every file").arg(entity).arg(keys).arg(block).arg(server()),
    ]
}

/// Asks the server and prints the answer as JSON.
pub(super) async fn run(name: &str, matches: &ArgMatches) -> Result<(), String> {
    let url = matches.get_one::<String>("server").map_or(SERVER, String::as_str);
    let client = Client::connect(url).await.map_err(|error| format!("could not reach {url}: {error}"))?;
    let answer = client.action(action_of(name), &body(name, matches)?).await.map_err(|error| error.to_string())?;
    println!("{answer:#}");
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
        "describe" | "flush" | "compact" => Ok(match matches.get_one::<String>("table") {
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
        _ => Ok(json!({})),
    }
}
