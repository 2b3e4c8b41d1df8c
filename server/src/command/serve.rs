//! `firn serve`: the server in the foreground, until it is told to stop.

use std::path::Path;

use clap::{Arg, ArgMatches, Command};

use super::block_on;
use crate::config::{Config, SETTINGS};
use crate::shutdown::Signals;
use crate::{Server, logging};

/// The command and one flag per setting, under the settings' headings.
pub(super) fn command() -> Command {
    let config = Arg::new("config").long("config").value_name("FILE").help("Read settings from this TOML file first");
    let command = Command::new("serve").about("Serve a data directory over Arrow Flight").long_about(
        "Serve a data directory over Arrow Flight.\n\nEvery setting is a flag, a variable FIRN_… and a key of the TOML file \
         given by --config; flags win over variables, variables over the file.",
    );
    SETTINGS.iter().fold(command.arg(config), |command, setting| {
        let help = match setting.default {
            "" => format!("{} [env: {}]", setting.help, setting.variable()),
            default => format!("{} [default: {default}] [env: {}]", setting.help, setting.variable()),
        };
        let arg = Arg::new(setting.name).long(setting.name).help(help).help_heading(setting.heading);
        let arg = match setting.value {
            // A switch is turned on by its name alone.
            "BOOL" => arg.value_name("BOOL").num_args(0..=1).default_missing_value("true").require_equals(true),
            value => arg.value_name(value),
        };
        command.arg(arg)
    })
}

/// Serves until SIGTERM or SIGINT, then finishes what was accepted.
pub(super) fn run(matches: &ArgMatches) -> Result<(), String> {
    let file = matches.get_one::<String>("config").map(Path::new);
    let given: Vec<(&str, String)> = SETTINGS
        .iter()
        .filter_map(|setting| {
            let flag = matches.get_one::<String>(setting.name).cloned();
            Some((setting.name, flag.or_else(|| std::env::var(setting.variable()).ok())?))
        })
        .collect();
    let config = Config::resolve(file, &given)?;
    logging::start(&config.log)?;
    block_on(async {
        let mut signals = Signals::listen().map_err(|error| format!("could not listen for signals: {error}"))?;
        let server = Server::start(config).await?;
        let signal = signals.next().await;
        tracing::info!("{signal}: finishing what was accepted");
        server.stop().await
    })?
}
