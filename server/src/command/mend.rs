//! `firn verify` and `firn repair`: a closed data directory, without a server.

use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use firn_storage::io::Files;
use firn_storage::io::disk::Disk;
use firn_storage::repair::{Repaired, repair};
use firn_storage::time::SystemClock;
use firn_storage::verify::{Damage, Report, advice, verify};

use crate::print::{count, json_flag, say};

/// Files that may be mapped at once: they are looked at one after another.
const MAPS_MAX: u64 = 64;

/// The commands.
pub(super) fn commands() -> Vec<Command> {
    let data = || {
        let help = "The data directory; no server may have it open";
        Arg::new("data").long("data").value_name("DIR").env("FIRN_DATA").required(true).help(help)
    };
    let drop_damaged = Arg::new("drop-damaged").long("drop-damaged").action(ArgAction::SetTrue);
    let drop_damaged = drop_damaged.help("Also mend what costs acknowledged rows: cut the log, set segments aside");
    vec![
        Command::new("verify")
            .about("Read every file of a closed data directory and list all damage")
            .long_about(
                "Read every file of a closed data directory and list all damage: the file, where in it, what is lost, and how \
                 to mend it.\n\nEvery checksum and every promise of the format is checked. Nothing is changed. The exit code is \
                 1 if anything is damaged.",
            )
            .arg(data())
            .arg(json_flag()),
        Command::new("repair")
            .about("Mend a closed data directory, keeping everything that is whole")
            .long_about(
                "Mend a closed data directory, keeping everything that is whole.\n\nWhat can be made again is made again. What \
                 would give up acknowledged rows is only named, unless --drop-damaged is given. Nothing is deleted: what is \
                 changed or left out goes to DIR/damaged/ first. The exit code is 1 if damage is left.",
            )
            .arg(data())
            .arg(drop_damaged)
            .arg(json_flag()),
    ]
}

/// Runs one of them.
pub(super) fn run(name: &str, matches: &ArgMatches) -> Result<(), String> {
    let files = open(matches.get_one::<String>("data").map_or(Path::new(""), Path::new))?;
    let json = matches.get_flag("json");
    if name == "verify" {
        let report = verify(&files).map_err(|error| error.to_string())?;
        if json {
            say(&as_json(&report))
        } else {
            tell_report(&report)
        }
        return end(&report.damages, &advice(&report));
    }
    let done =
        repair(&files, &SystemClock::default(), matches.get_flag("drop-damaged")).map_err(|error| error.to_string())?;
    if json {
        say(&as_json(&done))
    } else {
        tell_repaired(&done)
    }
    end(&done.left, "damage is left; see what is said of it above")
}

/// The files of `data`, which must be there and not be open elsewhere.
fn open(data: &Path) -> Result<Arc<dyn Files>, String> {
    if !data.is_dir() {
        return Err(format!("there is no directory {}", data.display()));
    }
    let disk = Disk::open(data, true, MAPS_MAX).map_err(|error| error.to_string())?;
    Ok(Arc::new(disk))
}

fn as_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("a report is plain data")
}

fn end(damages: &[Damage], otherwise: &str) -> Result<(), String> {
    if damages.is_empty() { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn tell_report(report: &Report) {
    report.damages.iter().for_each(tell_damage);
    for note in &report.notes {
        say(&format!("note: {note}"));
    }
    let places = match report.damages.len() {
        0 => "no damage".to_owned(),
        1 => "1 damaged place".to_owned(),
        places => format!("{} damaged places", count(places as u64)),
    };
    say(&format!("{} files, {} bytes: {places}", count(report.files), count(report.bytes)));
}

fn tell_damage(damage: &Damage) {
    say(&format!("{} at offset {}: {}", damage.file, damage.offset, damage.what));
    say(&format!("  lost  {}", damage.lost));
    say(&format!("  mend  {}", damage.mend));
}

fn tell_repaired(done: &Repaired) {
    if done.before.damages.is_empty() {
        return say("no damage: nothing was changed");
    }
    for deed in &done.done {
        say(deed);
    }
    for file in &done.set_aside {
        say(&format!("kept {file}"));
    }
    if !done.left.is_empty() {
        say("\nleft as it is:");
        done.left.iter().for_each(tell_damage);
    }
}
