//! The end of a schedule: everything comes to rest, and then all is as it must be.

use firn_storage::config::Level;
use firn_storage::io::simulated::Simulated;

use super::call::Verdict;
use super::process::Command;
use super::promise::{Commit, history};
use super::run::{Odds, Schedule, Slot};
use crate::world::Outcome;

/// Grants until everything must have come to rest.
const GRANTS_MAX: u64 = 20_000;

impl Schedule {
    /// Lets everything end: what runs runs to its end, who was overtaken says so, the last writer writes.
    pub fn come_to_rest(&mut self) -> Outcome {
        self.odds = Odds { change: 0, fault: 0, kill: 0, ..self.odds };
        self.finish()?;
        self.bucket.land();
        self.recover()?;
        let last = self.bucket.greatest_epoch();
        let mut writer = None;
        for at in 0..self.slots.len() {
            if self.slots[at].follows || self.slots[at].database.is_none() {
                continue;
            }
            let stands = last.is_some_and(|(_, by)| Some(by) == self.slots[at].process);
            self.write(at)?;
            self.finish()?;
            // A write that need not be in the bucket asks nothing of it.
            if self.slots[at].level == Level::Local && !self.slots[at].stopped {
                let database = self.slots[at].database.clone().expect("it is open");
                self.start(at, Command::Publish(database));
                self.finish()?;
            }
            match (stands, self.slots[at].stopped) {
                (true, false) => writer = Some(at),
                (false, true) => {}
                (stands, stopped) => {
                    return Err(format!("{}: the last: {stands}, stopped: {stopped}", self.slots[at].name));
                }
            }
        }
        let at = writer.map_or_else(|| self.begin_anew(), Ok)?;
        self.write(at)?;
        self.finish()?;
        let database = self.slots[at].database.clone().expect("the last writer is open");
        self.start(at, Command::Publish(database));
        self.finish()?;
        self.recover()?;
        self.follow_to_the_end(at)
    }

    /// Opens a writer on an empty disk, which must work.
    fn begin_anew(&mut self) -> Outcome<usize> {
        self.kill(0, false)?;
        self.slots[0].world.files = Simulated::new();
        self.start_open(0, Level::Object, false);
        self.finish()?;
        let opened = self.slots[0].database.is_some();
        if opened { Ok(0) } else { Err("the bucket cannot be opened in the end".to_owned()) }
    }

    /// Lets all calls of commands through.
    fn finish(&mut self) -> Outcome {
        for _ in 0..GRANTS_MAX {
            self.settle()?;
            let runs = |slot: &&Slot| slot.running.is_some();
            let Some(process) = self.slots.iter().find(runs).and_then(|slot| slot.process) else { return Ok(()) };
            self.bucket.grant(process, Verdict::Land);
        }
        Err("commands do not end".to_owned())
    }

    /// The follower, if there is one, comes to have what the writer `at` has.
    fn follow_to_the_end(&mut self, at: usize) -> Outcome {
        let Some(follower) = self.slots.iter().position(|slot| slot.follows) else { return Ok(()) };
        if self.slots[follower].database.is_none() {
            self.kill(follower, false)?;
            self.start_open(follower, Level::Object, false);
            self.finish()?;
        }
        let process = self.slots[follower].process.ok_or("the bucket cannot be followed in the end")?;
        for calls in 0..GRANTS_MAX / 10 {
            let database = self.slots[follower].database.clone().expect("it is open");
            let lasting = |history: Vec<Commit>| self.promises.lasting(&history);
            let shown = if calls % 10 == 0 { self.read(follower, &database)?.map(lasting) } else { None };
            if shown.is_some() && shown == self.slots[at].known.clone().map(lasting) {
                return Ok(());
            }
            self.bucket.grant(process, Verdict::Land);
            self.settle()?;
        }
        let database = self.slots[follower].database.clone().expect("it is open");
        let status = database.status()["follower"].clone();
        Err(format!(
            "the follower does not come to have {:?}: it has {:?}, {status}",
            self.slots[at].known,
            history(&database)
        ))
    }
}
