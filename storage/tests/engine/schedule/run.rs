//! A schedule: writers, a follower and openers on empty disks over one bucket, in an order that a seed decides.
//!
//! One actor is favoured for a while, whose calls are let through while all others stand where they are, at whatever call that
//! is; then another. Processes are killed at any call, disks are lost, copied or come back, calls fail and land late. At any
//! moment a copy of the bucket is opened ([`Promises::recover`]). In the end everything comes to rest: who was overtaken must say
//! so, who writes last must write, and a follower must have what it has.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use firn_storage::config::{FollowOptions, Level, Options};
use firn_storage::database::{Database, EraseRequest};
use firn_storage::io::simulated::Simulated;
use firn_storage::model::batch::Producer;
use firn_storage::objects::Objects;
use firn_storage::objects::memory::Memory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::bucket::Bucket;
use super::call::{Doing, Verdict};
use super::gate::Gate;
use super::lie::Lie;
use super::process::{Command, Ended, Running};
use super::promise::{Commit, ERASED, Promises, entity_of};
use crate::types::Type;
use crate::world::plain::{batch, of_texts, text};
use crate::world::{Deed, ENTITY, Feature, Outcome, Setting, Shape, World};

/// A place for one process after another: a disk, and whoever runs on it.
pub struct Slot {
    pub name: String,
    pub follows: bool,
    /// Whose options and disk they are.
    pub world: World,
    pub process: Option<usize>,
    pub database: Option<Database>,
    pub running: Option<Running>,
    /// What it serves, as far as it was told; none if that could not be read any more when it had opened.
    pub known: Option<Vec<Commit>>,
    /// The writes of this process.
    pub writes: u64,
    pub level: Level,
    /// Whether it was told to stop.
    pub stopped: bool,
}

/// What a seed decides once.
pub struct Odds {
    /// That another actor is favoured, of a thousand.
    pub change: u32,
    /// That a call fails.
    pub fault: u32,
    /// That a process is killed.
    pub kill: u32,
    pub garbage_age: Duration,
}

/// A schedule that runs.
pub struct Schedule {
    pub random: StdRng,
    pub bucket: Bucket,
    pub slots: Vec<Slot>,
    pub favourite: usize,
    pub promises: Promises,
    pub odds: Odds,
    /// Commands that may still be given.
    pub left: u32,
    pub number: i64,
    pub processes: usize,
}

/// What a schedule came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pub calls: u64,
    pub commits: u64,
    pub openings: u64,
    pub recovered: u64,
}

impl Summary {
    /// Counts `other` too.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.commits += other.commits;
        self.openings += other.openings;
        self.recovered += other.recovered;
    }
}

/// A bucket with two tables, and the world that made it.
pub static BEGUN: LazyLock<World> = LazyLock::new(|| {
    let mut world = of_texts(Setting { home: true, start: 1_000_000_000, ..Setting::default() });
    let features = vec![Feature::plain(0, "m", Type::Int64)];
    world.create_table("u", false, Shape { features, ..Shape::default() }).expect("a table");
    world.close().expect("a clean end");
    world
});

/// Runs the schedule of `seed` over a bucket that tells `lie`; an error says what broke, and what was done until then.
pub fn run(seed: u64, lie: Option<Lie>) -> Outcome<Summary> {
    let mut schedule = Schedule::new(seed, lie);
    let ran = schedule.run();
    schedule.end();
    let trace = schedule.bucket.trace();
    let summary = Summary {
        calls: schedule.bucket.calls(),
        commits: schedule.promises.count(),
        openings: schedule.processes as u64,
        recovered: schedule.promises.recovered,
    };
    ran.map(|()| summary).map_err(|error| format!("{error}\nafter:\n  {}", trace.join("\n  ")))
}

impl Schedule {
    fn new(seed: u64, lie: Option<Lie>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let bucket = Bucket::new(BEGUN.objects.copy(), lie);
        let writers = if random.random_bool(0.3) { 3 } else { 2 };
        let follows = random.random_bool(0.5);
        let slot = |at: usize, random: &mut StdRng| {
            let follows = at == writers;
            let mut world = BEGUN.on(if at == 0 { BEGUN.files.copy() } else { Simulated::new() });
            world.objects = Memory::new();
            // Clocks differ.
            world.clock.advance(random.random_range(-3..4) * 100_000);
            let name = if follows { "follower".to_owned() } else { format!("writer {at}") };
            Slot {
                name,
                follows,
                world,
                process: None,
                database: None,
                running: None,
                known: None,
                writes: 0,
                level: Level::Object,
                stopped: false,
            }
        };
        let slots = (0..writers + usize::from(follows)).map(|at| slot(at, &mut random)).collect();
        let among = |choices: &[u32], random: &mut StdRng| choices[random.random_range(0..choices.len())];
        let odds = Odds {
            change: among(&[300, 100, 40, 15], &mut random),
            fault: among(&[0, 0, 15, 50], &mut random),
            kill: among(&[0, 3, 10], &mut random),
            garbage_age: Duration::from_secs(random.random_range(0..2)),
        };
        let left = random.random_range(10..36);
        let (promises, favourite, number, processes) = (Promises::new(), 0, 0, 0);
        Self { random, bucket, slots, favourite, promises, odds, left, number, processes }
    }

    fn per_mille(&mut self, odds: u32) -> bool {
        self.random.random_range(0..1000) < odds
    }

    fn run(&mut self) -> Outcome {
        while self.left > 0 {
            if self.per_mille(self.odds.change) {
                self.favourite = self.random.random_range(0..self.slots.len());
            }
            self.act(self.favourite)?;
            self.settle()?;
            if self.per_mille(25) {
                self.recover()?;
            }
            if self.per_mille(60) {
                let at = self.random.random_range(0..self.slots.len());
                self.look(at)?;
            }
        }
        self.come_to_rest()
    }

    /// Lets the actor `at` do something: its call gets a verdict, or it gets a command.
    fn act(&mut self, at: usize) -> Outcome {
        let slot = &self.slots[at];
        let waiting = slot.process.and_then(|process| self.bucket.waiting(process));
        if slot.process.is_some() && self.per_mille(self.odds.kill) {
            let lands = self.random.random_bool(0.5);
            return self.kill(at, lands);
        }
        let slot = &self.slots[at];
        match (waiting, slot.process) {
            (Some(call), Some(process)) => {
                // What follows calls for ever: it must not use up the schedule.
                if slot.follows && self.per_mille(10) {
                    self.left -= 1;
                }
                let verdict = self.verdict(call.doing);
                self.bucket.grant(process, verdict);
                Ok(())
            }
            _ => {
                self.left -= 1;
                if self.slots[at].database.is_some() { self.command(at) } else { self.open(at) }
            }
        }
    }

    fn verdict(&mut self, doing: Doing) -> Verdict {
        if !self.per_mille(self.odds.fault) {
            return Verdict::Land;
        }
        match self.random.random_range(0..4) {
            0 => Verdict::Before,
            1 => Verdict::After,
            2 if doing == Doing::Create => Verdict::Conflict,
            _ => Verdict::Later(self.random.random_range(1..80)),
        }
    }

    /// Opens a database in the slot `at`: on its disk, on a copy of another's, or on an empty one.
    fn open(&mut self, at: usize) -> Outcome {
        let disk = match self.random.random_range(0..10) {
            0..4 => None,
            // As if a machine were started twice; power may be lost on the way.
            4 if !self.slots[at].follows => {
                let other = self
                    .random
                    .random_range(0..self.slots.len() - usize::from(self.slots.iter().any(|slot| slot.follows)));
                let files = self.slots[other].world.files.crash(self.random.random());
                self.bucket
                    .note(format!("{}: gets a copy of the disk of {}", self.slots[at].name, self.slots[other].name));
                Some(files)
            }
            _ => Some(Simulated::new()),
        };
        if let Some(files) = disk {
            self.slots[at].world.files = files;
        }
        let discard_local = self.random.random_bool(0.2);
        let level = if self.random.random_bool(0.2) { Level::Local } else { Level::Object };
        self.start_open(at, level, discard_local);
        Ok(())
    }

    pub fn start_open(&mut self, at: usize, level: Level, discard_local: bool) {
        let garbage_age = self.odds.garbage_age;
        let slot = &mut self.slots[at];
        let name = format!("{} #{}", slot.name, self.processes);
        self.processes += 1;
        let (process, gate) = Gate::new(&self.bucket, &name);
        let mut options: Options = slot.world.options();
        options.reader_threads = 1;
        let objects: Arc<dyn Objects> = Arc::new(gate);
        if slot.follows {
            let ice = options.home.take().expect("a world with a bucket").policy.ice;
            options.follow = Some(FollowOptions { objects, interval: Duration::ZERO, ice, checkpoint: None });
        } else {
            let home = options.home.as_mut().expect("a world with a bucket");
            (home.objects, home.writer) = (objects, name);
            home.policy.acknowledge = level;
            // It sends when it is rung for, and else never.
            home.policy.upload_interval = Duration::from_secs(1 << 20);
            (home.policy.garbage_age, home.policy.discard_local) = (garbage_age, discard_local);
            // One call after the other, so that there is one order.
            home.policy.ice.requests_max = 1;
        }
        (slot.process, slot.level, slot.stopped, slot.writes) = (Some(process), level, false, 0);
        self.start(at, Command::Open(Box::new(options)));
    }

    /// Gives the idle process of the slot `at` something to do.
    fn command(&mut self, at: usize) -> Outcome {
        if self.slots[at].follows {
            return self.kill(at, false);
        }
        self.slots[at].world.clock.advance(self.random.random_range(0..300_000));
        let database = self.slots[at].database.clone().expect("it is open");
        let roll = if self.slots[at].stopped { 97 } else { self.random.random_range(0..100) };
        match roll {
            0..55 => return self.write(at),
            55..75 => self.start(at, Command::Publish(database)),
            75..83 => self.start(at, Command::Flush(database)),
            83..89 => self.start(at, Command::Compact(database)),
            89..94 => self.start(at, Command::Freeze(database)),
            // A nudge of what is acknowledged for the disk alone would not make the log go up.
            94..96 if self.slots[at].level == Level::Object => return self.erase(at),
            _ => self.start(at, Command::Close(database)),
        }
        Ok(())
    }

    pub fn write(&mut self, at: usize) -> Outcome {
        self.number += 1;
        let number = self.number;
        let event = self.random.random_range(0..=number);
        let batch = text(entity_of(number), event, number);
        let slot = &mut self.slots[at];
        let database = slot.database.clone().expect("it is open");
        let (request, rows) = (slot.world.write_request(&batch), slot.world.record_batch(&batch));
        let proven = database.prove(&database.catalog(), &request, &rows);
        let mut proven = proven.map_err(|error| format!("a good batch is refused: {error:?}"))?.batch;
        slot.writes += 1;
        let previous = slot.writes.checked_sub(1).filter(|previous| *previous > 0);
        let name = format!("{:?}", slot.process);
        proven.producer = Some(Producer { name, seq: slot.writes, previous });
        self.promises.send(number, batch);
        self.start(at, Command::Write { database, number, batch: Box::new(proven) });
        Ok(())
    }

    fn erase(&mut self, at: usize) -> Outcome {
        let slot = &self.slots[at];
        let database = slot.database.clone().expect("it is open");
        let keys = slot.world.keys.columns(&[ERASED]).into_iter();
        let keys = keys.map(|(field, values)| (field.name().clone(), values)).collect();
        let request = EraseRequest { entity: ENTITY.to_owned(), keys, block: false };
        let empty = batch(Deed::Write { columns: vec![0], nulls_absent: false }, Vec::new());
        let (asked, rows) = (slot.world.write_request(&empty), slot.world.record_batch(&empty));
        let proven = database.prove(&database.catalog(), &asked, &rows);
        let mut nudge = proven.map_err(|error| format!("an empty batch is refused: {error:?}"))?.batch;
        nudge.producer = Some(Producer { name: format!("nudge {}", self.left), seq: 1, previous: None });
        self.promises.begin_erase();
        self.start(at, Command::Erase { database, request, nudge: Box::new(nudge) });
        Ok(())
    }

    pub fn start(&mut self, at: usize, command: Command) {
        let slot = &mut self.slots[at];
        let process = slot.process.expect("a process");
        self.bucket.note(format!("{} #{process}: {}", slot.name, command.name()));
        slot.running = Some(command.start(&self.bucket, process));
    }

    /// Waits until all stand still, and takes what came of commands.
    pub fn settle(&mut self) -> Outcome {
        if !self.bucket.settle() {
            return Err("the schedule hangs".to_owned());
        }
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            if slot.process.is_some_and(|process| !self.bucket.runs(process))
                && let Some(running) = slot.running.take()
            {
                let ended = running.join().expect("it catches panics")?;
                self.ended(at, ended)?;
            }
            let poisoned = |database: &Database| self.slots[at].follows && database.is_poisoned();
            if self.slots[at].database.as_ref().is_some_and(poisoned) {
                return Err("the follower is poisoned".to_owned());
            }
        }
        Ok(())
    }

    /// Ends the process of the slot `at` where it is; the disk is as a loss of power leaves it.
    pub fn kill(&mut self, at: usize, lands: bool) -> Outcome {
        let Some(process) = self.slots[at].process else { return Ok(()) };
        self.bucket.note(format!("{} #{process}: is killed", self.slots[at].name));
        self.slots[at].world.files = self.slots[at].world.files.crash(self.random.random());
        self.bucket.kill(process, lands);
        let slot = &mut self.slots[at];
        let ended = slot.running.take().map(|running| running.join().expect("it catches panics"));
        slot.database = None;
        if let Some(Ok(Ended::Wrote { result: Ok(_), .. })) = &ended {
            self.ended(at, ended.expect("it is there")?)?;
        } else if let Some(Err(panic)) = ended {
            return Err(panic);
        }
        self.slots[at].process = None;
        self.slots[at].database = None;
        Ok(())
    }

    /// Ends every process.
    fn end(&mut self) {
        for at in 0..self.slots.len() {
            if let Some(process) = self.slots[at].process {
                self.bucket.kill(process, false);
            }
        }
        for slot in &mut self.slots {
            // What a command that was cut short came to is of no interest.
            if let Some(running) = slot.running.take() {
                drop(running.join());
            }
            slot.database = None;
        }
    }
}
