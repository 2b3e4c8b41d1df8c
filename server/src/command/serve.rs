//! `firn serve`: the server in the foreground, until it is told to stop.

use std::path::Path;

use clap::{Arg, ArgMatches, Command};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::runtime::block_on;
use crate::config::{Config, SETTINGS, Setting};
use crate::signals::Signals;
use crate::{Server, logging};

/// The command and one flag per setting, under the settings' headings.
pub(super) fn command() -> Command {
    let config = Arg::new("config").long("config").value_name("FILE").help("Read settings from this TOML file first");
    let command = Command::new("serve").about("Serve a data directory over Arrow Flight").long_about(
        "Serve a data directory over Arrow Flight.\n\nEvery setting is a flag, a variable FIRN_… and a key of the TOML file \
         given by --config; flags win over variables, variables over the file.\n\nA SIZE is a number of bytes, or one with \
         KiB, MiB, GiB or TiB; a DURATION is a number with us, ms, s, m, h or d; a BOOL is true or false, and its flag alone \
         says true.",
    );
    let example = "For example: firn serve --data /var/lib/firn --memory-bytes-max 4GiB --flush-bytes-max 512MiB";
    let command = command.after_help(example);
    SETTINGS.iter().fold(command.arg(config), |command, setting| {
        let default =
            if setting.default.is_empty() { String::new() } else { format!("[default: {}] ", setting.default) };
        let arg = Arg::new(setting.name)
            .long(setting.name)
            .help(format!("{} {default}", setting.help))
            .long_help(format!("{}\n{default}[env: {}]", setting.help, setting.variable()))
            .help_heading(setting.heading)
            .value_name(setting.value);
        let arg = match setting.value {
            // A switch is turned on by its name alone.
            "BOOL" => arg.num_args(0..=1).default_missing_value("true").require_equals(true),
            _ => arg,
        };
        command.arg(arg)
    })
}

/// What a flag says of `setting`, or else its variable.
fn given(matches: &ArgMatches, setting: &Setting) -> Option<String> {
    matches.get_one::<String>(setting.name).cloned().or_else(|| std::env::var(setting.variable()).ok())
}

/// Serves until SIGTERM or SIGINT, then finishes what was accepted.
pub(super) fn run(matches: &ArgMatches) -> Result<(), String> {
    let file = matches.get_one::<String>("config").map(Path::new);
    let given: Vec<(&str, String)> =
        SETTINGS.iter().filter_map(|setting| Some((setting.name, given(matches, setting)?))).collect();
    let config = Config::resolve(file, &given)?;
    logging::start(&config.log)?;
    raise_open_files();
    block_on(async {
        let mut signals = Signals::listen().map_err(|error| format!("could not listen for signals: {error}"))?;
        let server = Server::start(config).await?;
        let signal = signals.next().await;
        tracing::info!("{signal}: finishing what was accepted");
        server.stop().await
    })?
}

/// Lets the process have as many open files as it may. The usual soft limit, 1,024, is below `connections-max` and the
/// files of a database; it is kept low for programs that use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!("at most {:?} files may be open, and the limit could not be raised: {error}", limit.current);
    }
}
