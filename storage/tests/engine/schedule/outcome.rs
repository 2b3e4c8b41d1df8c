//! What comes of the commands of a schedule: what was promised with it, and which errors may be.

use firn_storage::config::Level;
use firn_storage::database::Database;
use firn_storage::error::{Error, Kind};

use super::process::Ended;
use super::promise::{Commit, history, history_and_last};
use super::run::{BEGUN, Schedule};
use crate::world::Outcome;

impl Schedule {
    /// Takes what came of the command of the slot `at`.
    pub fn ended(&mut self, at: usize, ended: Ended) -> Outcome {
        let name = format!("{} #{:?}", self.slots[at].name, self.slots[at].process.unwrap_or_default());
        match ended {
            Ended::Opened(Ok(database)) => {
                self.bucket.note(format!("{name}: serves"));
                self.slots[at].database = Some(database.clone());
                self.slots[at].known = self.read(at, &database)?;
                return self.slots[at].known.iter().try_for_each(|known| self.promises.promise(&name, known));
            }
            Ended::Wrote { number, result: Ok(committed) } => {
                self.bucket.note(format!("{name}: {number} is acknowledged"));
                let slot = &mut self.slots[at];
                let Some(known) = &mut slot.known else { return Ok(()) };
                known.push(Commit { number, ingest_time: committed.ingest_time });
                self.promises.see(committed.position.to_string(), known.clone());
                if slot.level == Level::Object {
                    return self.promises.promise(&name, known);
                }
            }
            Ended::Did(_, Ok(())) => {}
            Ended::Erased(Ok(())) => {
                self.bucket.note(format!("{name}: the erase is acknowledged"));
                self.slots[at].known.iter().for_each(|known| self.promises.erased(known));
            }
            Ended::Erased(Err(error)) => return self.refused(at, "erase", &error),
            Ended::Closed(Ok(())) => self.gone(at),
            Ended::Opened(Err(error)) => {
                self.refused(at, "open", &error)?;
                self.gone(at);
            }
            Ended::Closed(Err(error)) => {
                self.refused(at, "close", &error)?;
                self.gone(at);
            }
            Ended::Wrote { result: Err(error), .. } => return self.refused(at, "write", &error),
            Ended::Did(what, Err(error)) => return self.refused(at, what, &error),
        }
        Ok(())
    }

    pub fn gone(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        (slot.process, slot.database) = (None, None);
    }

    /// Errors that may come of what a schedule does. Who was overtaken must say by whom.
    pub fn refused(&mut self, at: usize, doing: &str, error: &Error) -> Outcome {
        let slot = &mut self.slots[at];
        self.bucket.note(format!("{}: {doing} is refused: {error}", slot.name));
        let message = error.message();
        let known = [
            "(simulated)",
            "try again",
            "erase again",
            "has claimed the bucket",
            "took over while",
            "was taken over while it was fetched",
        ];
        let of_disk = ["written last in epoch", "which is an old copy", "not discarded"];
        let right = match error.kind() {
            Kind::Unavailable => known.iter().any(|known| message.contains(known)),
            Kind::Precondition => of_disk.iter().any(|known| message.contains(known)),
            Kind::Poisoned => {
                slot.stopped = true;
                let process = slot.process;
                return self.overtaken(process, message);
            }
            _ => false,
        };
        if right { Ok(()) } else { Err(format!("{doing}: an error that nobody expects: {error:?}")) }
    }

    /// Whether `message` names who overtook `process`.
    pub fn overtaken(&self, process: Option<usize>, message: &str) -> Outcome {
        let Some((before, rest)) = message.split_once("taken over by ") else {
            return Err(format!("{process:?} stops for a reason that nobody expects: {message}"));
        };
        let epoch = rest.split_once("(epoch ").and_then(|(_, epoch)| epoch.split_once(',')?.0.parse::<u64>().ok());
        let by = epoch.and_then(|epoch| self.bucket.claimant(epoch));
        let named = by.is_some_and(|by| rest.contains(&format!("#{by} (epoch")));
        let of = process.and_then(|process| self.bucket.epoch_of(process));
        let next = of.is_none_or(|of| epoch == Some(of + 1));
        if named && next { Ok(()) } else { Err(format!("{before}: it was not {rest}, but {by:?} of {of:?}")) }
    }

    /// The history that the slot `at` shows; none if what it reads was deleted by who overtook it.
    pub fn read(&self, at: usize, database: &Database) -> Outcome<Option<Vec<Commit>>> {
        let process = self.slots[at].process.expect("it is open");
        match history(database) {
            Ok(history) => Ok(Some(history)),
            Err(error) if self.slots[at].follows && error.kind() == Kind::Unavailable => Ok(None),
            Err(_) if self.bucket.greatest_epoch().is_some_and(|(_, by)| by != process) => Ok(None),
            Err(error) => Err(format!("{} cannot be read: {error:?}", self.slots[at].name)),
        }
    }

    /// Looks at what the slot `at` shows: a follower promises it.
    pub fn look(&mut self, at: usize) -> Outcome {
        let Some(database) = self.slots[at].database.clone() else { return Ok(()) };
        let Some(shown) = self.read(at, &database)? else { return Ok(()) };
        let slot = &self.slots[at];
        if slot.follows {
            return self.promises.promise("follower", &shown);
        }
        let lasting = |history: &[Commit]| self.promises.lasting(history);
        if slot.known.as_ref().is_some_and(|known| !lasting(&shown).starts_with(&lasting(known))) {
            return Err(format!("{} shows {shown:?} and acknowledged {:?}", slot.name, slot.known));
        }
        let last = history_and_last(&database).map_or(0, |(_, last)| last);
        // What has no rows, such as a change of the schema, may be lost unseen.
        if database.position().sequence() == last {
            self.promises.see(database.position().to_string(), shown);
        }
        Ok(())
    }

    pub fn recover(&mut self) -> Outcome {
        let objects = self.bucket.copy();
        self.promises.recover(&BEGUN, &objects, &mut self.random)
    }
}
