//! A writer of the model: one call of the store at a time, in the order that the rules give.
//!
//! It claims an epoch, takes over, and then appends, publishes and sweeps in any order. A writer that crashed or stands
//! still is one that makes no further step, so that both need no step of their own.

use crate::store::{EACH, EPOCHS, Names, Newest, Root, Store, Violation, before, bit, claim, first};

/// A rule that is removed, to see that the model finds what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    Nothing,
    CheckAfterLog,
    LogBeforeCheck,
    CheckBeforeDelete,
    RootBeforeDelete,
    RootBeforeServe,
    NewestByEpoch,
    DenseEpochs,
    CheckBeforeServe,
    OrderOfAcknowledging,
}

/// What a writer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Step {
    #[default]
    Gone,
    ListEpochs,
    Claim,
    ListRoots,
    GetRoot,
    ListLog,
    PutRoot,
    CheckServe,
    /// Append, publish or sweep, as it likes.
    Work,
    CheckFirst,
    PutLog,
    CheckLog,
    /// Two log objects are on their way.
    Flight,
    PutPublished,
    CheckPublished,
    Delete,
}

/// A writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Writer {
    pub(crate) step: Step,
    /// Its epoch, or the one that it tries to claim.
    pub(crate) epoch: u8,
    /// The root that it takes over from.
    base: (u8, u8),
    /// Its own root, the last that it wrote or is about to write.
    root: Root,
    /// Whether its first root is written.
    rooted: bool,
    /// What it serves.
    view: u16,
    /// Its last log object.
    appended: u8,
    /// Of the log objects in flight: which have landed, and after which of them no next epoch was there.
    landed: [bool; 2],
    checked: [bool; 2],
    published: bool,
    swept: bool,
    /// What it is about to delete.
    doomed: Names,
}

/// All there is: the bucket, the writers, and what must stay true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) writers: [Writer; 3],
    /// Records that were acknowledged.
    pub(crate) acknowledged: u16,
    /// For each epoch that served, the records of earlier epochs that it served, and a bit that says so.
    pub(crate) served: [u16; EPOCHS as usize],
    /// How many writes that were given up may still land.
    pub(crate) late: u8,
    /// Whether a writer may have two log objects in flight.
    pub(crate) flight: bool,
}

/// The bit of [`World::served`] that says that an epoch served; records need fewer.
const SERVED: u16 = 1 << 15;

impl World {
    pub(crate) fn new(writers: usize, late: u8, flight: bool) -> Self {
        let mut world = Self { late, flight, ..Self::default() };
        world.writers[3 - writers..].fill(Writer { step: Step::ListEpochs, ..Writer::default() });
        world
    }

    /// What is broken, if something is.
    pub(crate) fn broken(&self, removed: Removed) -> Option<Violation> {
        let recovered = match self.store.recovered(removed.newest()) {
            Ok(recovered) => recovered,
            Err(violation) => return Some(violation),
        };
        if self.acknowledged & !recovered != 0 {
            return Some(Violation::Lost);
        }
        let mut serving = (1..=EPOCHS).filter(|e| self.served[*e as usize - 1] & SERVED != 0);
        let changed = serving.any(|e| recovered & before(e) != self.served[e as usize - 1] & !SERVED);
        changed.then_some(Violation::Changed)
    }

    /// Every world that is one step from here, with who made which step.
    pub(crate) fn next(&self, removed: Removed) -> Vec<(u8, Step, World)> {
        let mut found = Vec::new();
        for at in 0..self.writers.len() {
            // Equal writers make equal steps.
            if at == 0 || self.writers[at] != self.writers[at - 1] {
                self.steps(at, removed, &mut found);
            }
        }
        if self.late > 0 {
            for name in self.store.written.without(self.store.present).each() {
                let mut world = self.clone();
                world.late -= 1;
                world.store.present = world.store.present.and(name);
                found.push((0, Step::Gone, world));
            }
        }
        for (_, _, world) in &mut found {
            // Writers are alike until they have an epoch, so their order says nothing.
            world.writers.sort_unstable();
            if world.late == 0 {
                world.store.forget();
            }
        }
        found
    }

    /// The worlds after the next call of writer `at`: one, or several if it has a choice.
    fn steps(&self, at: usize, removed: Removed, found: &mut Vec<(u8, Step, World)>) {
        let writer = self.writers[at];
        let choices = match writer.step {
            Step::Gone => 0,
            Step::Work => 5,
            Step::Flight => 4,
            _ => 1,
        };
        for choice in 0..choices {
            let mut world = self.clone();
            let mut writer = writer;
            if writer.call(choice, &mut world, removed) {
                found.push((writer.epoch, self.writers[at].step, world.with(at, writer)));
            }
        }
    }

    fn with(mut self, at: usize, writer: Writer) -> Self {
        // Of one that stopped nothing matters any more.
        self.writers[at] = if writer.step == Step::Gone { Writer::default() } else { writer };
        self
    }

    /// Epoch `e` begins to serve `view`.
    fn serve(&mut self, e: u8, view: u16) {
        self.served[e as usize - 1] = SERVED | view;
    }
}

impl Removed {
    fn newest(self) -> Newest {
        if self == Self::NewestByEpoch { Newest::ByNumber } else { Newest::ByEpoch }
    }
}

impl Writer {
    /// Makes the next call; false if it has no such choice.
    fn call(&mut self, choice: u8, world: &mut World, removed: Removed) -> bool {
        let e = self.epoch;
        match self.step {
            Step::Gone => return false,
            Step::ListEpochs => {
                let last = (1..=EPOCHS).rev().find(|e| world.store.is_claimed(*e)).unwrap_or(0);
                self.epoch = last + if removed == Removed::DenseEpochs { 2 } else { 1 };
                self.step = Step::Claim;
            }
            // The number is another's, or ours from now on.
            Step::Claim if world.store.is_claimed(e) => self.epoch += 1,
            Step::Claim => {
                world.store.claims |= claim(e);
                self.step = Step::ListRoots;
            }
            Step::ListRoots => match world.store.newest(e - 1, removed.newest()) {
                Some(base) => (self.base, self.step) = (base, Step::GetRoot),
                None => self.take_over(Root { start: 1, ..Root::default() }, 0, removed),
            },
            Step::GetRoot => match world.store.root(self.base.0, self.base.1) {
                Some(root) => (self.root, self.step) = (root, Step::ListLog),
                None => self.step = Step::ListRoots,
            },
            Step::ListLog => {
                let end = world.store.contiguous(self.base.0, self.root.start);
                self.take_over(self.root, end, removed);
            }
            Step::PutRoot => {
                world.store.put_root(e, 1, self.root);
                self.rooted = true;
                self.step = if removed == Removed::RootBeforeServe { Step::Work } else { Step::CheckServe };
                if removed == Removed::CheckBeforeServe {
                    self.serve(world);
                }
            }
            Step::CheckServe if world.store.is_claimed(e + 1) => self.step = Step::Gone,
            Step::CheckServe => self.serve(world),
            Step::Work => return self.work(choice, world, removed),
            Step::Flight => return self.fly(choice, world, removed),
            _ => self.finish(world, removed),
        }
        true
    }

    /// Makes the first root from `base` and the log objects `end` of its epoch.
    fn take_over(&mut self, base: Root, end: u16, removed: Removed) {
        self.root = Root { replay: base.replay | end, start: 1, ..base };
        self.base = (0, 0);
        self.step = if removed == Removed::RootBeforeServe { Step::CheckServe } else { Step::PutRoot };
    }

    fn serve(&mut self, world: &mut World) {
        // What is missing here is missing to every opener, and found as that.
        self.view = world.store.records(self.root.segments, self.root.replay).unwrap_or(self.root.replay);
        world.serve(self.epoch, self.view);
        self.step = Step::Work;
    }

    /// Begins one of the things that a serving writer does; false if it cannot.
    fn work(&mut self, choice: u8, world: &mut World, removed: Removed) -> bool {
        let e = self.epoch;
        let possible = match choice {
            0 => self.appended < EACH,
            1 => !self.published && self.rooted,
            2 => !self.swept && self.rooted,
            3 => self.appended == 0 && world.flight,
            _ => !self.rooted,
        };
        match choice {
            _ if !possible => {}
            0 if removed == Removed::LogBeforeCheck => self.step = Step::CheckFirst,
            0 => self.put_log(world),
            1 => {
                world.store.put_segment(e, self.view);
                self.published = true;
                self.step = Step::PutPublished;
                if removed == Removed::RootBeforeDelete {
                    self.step = Step::CheckPublished;
                }
            }
            2 => {
                self.swept = true;
                self.doomed = self.orphans(&world.store).and(self.root.condemned);
                self.step = Step::Delete;
            }
            3 => {
                (self.step, self.appended) = (Step::Flight, EACH);
                (self.landed, self.checked) = ([false; 2], [false; 2]);
            }
            _ => self.step = Step::PutRoot,
        }
        // To decide is no call yet, but the call follows at once.
        if possible && [Step::CheckFirst, Step::PutRoot].contains(&self.step) {
            return self.call(0, world, removed);
        }
        possible
    }

    /// Lands one of the log objects in flight, or looks for the next epoch after it; they are acknowledged in order.
    fn fly(&mut self, choice: u8, world: &mut World, removed: Removed) -> bool {
        let (at, is_check) = (usize::from(choice % 2), choice >= 2);
        if self.landed[at] != is_check || self.checked[at] {
            return false;
        }
        if !is_check {
            world.store.put_log(self.epoch, at as u8 + 1);
            self.landed[at] = true;
            return true;
        }
        if world.store.is_claimed(self.epoch + 1) {
            self.step = Step::Gone;
            return true;
        }
        self.checked[at] = true;
        for at in 0..2 {
            if self.checked[at] && (self.checked[0] || removed == Removed::OrderOfAcknowledging) {
                self.acknowledge(world, at as u8 + 1);
            }
        }
        self.step = Step::Flight;
        if self.checked == [true; 2] {
            (self.step, self.landed, self.checked) = (Step::Work, [false; 2], [false; 2]);
        }
        true
    }

    fn put_log(&mut self, world: &mut World) {
        self.appended += 1;
        world.store.put_log(self.epoch, self.appended);
        self.step = Step::CheckLog;
    }

    /// The calls that end an append, a publish or a sweep.
    fn finish(&mut self, world: &mut World, removed: Removed) {
        let e = self.epoch;
        let is_over = world.store.is_claimed(e + 1);
        match self.step {
            Step::CheckFirst => self.step = if is_over { Step::Gone } else { Step::PutLog },
            Step::PutLog => {
                self.put_log(world);
                self.acknowledge(world, self.appended);
            }
            Step::CheckLog if is_over && removed != Removed::CheckAfterLog => self.step = Step::Gone,
            Step::CheckLog => self.acknowledge(world, self.appended),
            Step::PutPublished => {
                if removed != Removed::RootBeforeDelete {
                    self.root = self.published();
                    self.doomed = self.root.condemned;
                }
                world.store.put_root(e, 2, self.root);
                self.step = match removed {
                    Removed::CheckBeforeDelete => Step::Delete,
                    Removed::RootBeforeDelete => Step::Work,
                    _ => Step::CheckPublished,
                };
            }
            Step::CheckPublished if is_over => self.step = Step::Gone,
            Step::CheckPublished => {
                if removed == Removed::RootBeforeDelete {
                    self.root = self.published();
                    self.doomed = self.root.condemned;
                }
                self.step = Step::Delete;
            }
            Step::Delete => {
                let Some(name) = self.doomed.one() else { return self.deleted(world, removed) };
                world.store.delete(name);
                self.doomed = self.doomed.without(name);
                if self.doomed == Names::default() {
                    self.deleted(world, removed);
                }
            }
            other => unreachable!("{other:?} is handled before"),
        }
    }

    /// Everything that was to be deleted is.
    fn deleted(&mut self, world: &World, removed: Removed) {
        let is_root_left = self.published && world.store.root(self.epoch, 2).is_none();
        let before_root = removed == Removed::RootBeforeDelete && is_root_left;
        self.step = if before_root { Step::PutPublished } else { Step::Work };
    }

    fn acknowledge(&mut self, world: &mut World, n: u8) {
        let record = bit(self.epoch, n);
        self.view |= record;
        world.acknowledged |= record;
        self.step = Step::Work;
    }

    /// The root that names one segment with everything that is served, and condemns what it replaces.
    fn published(&self) -> Root {
        let (e, old) = (self.epoch, self.root);
        let replaced = Names { logs: old.replay | first(e, self.appended), segments: old.segments, roots: first(e, 1) };
        Root { segments: claim(e), replay: 0, start: self.appended + 1, condemned: old.condemned.and(replaced) }
    }

    /// What lies there of earlier epochs and is not named by this one's root.
    fn orphans(&self, store: &Store) -> Names {
        let (e, there) = (self.epoch, store.present);
        Names {
            logs: there.logs & before(e) & !self.root.replay,
            segments: there.segments & (claim(e) - 1) & !self.root.segments,
            roots: there.roots & before(e),
        }
    }
}
