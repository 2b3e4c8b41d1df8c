//! The bucket of the model: which objects are there and what they say.
//!
//! A record is known by the name of its log object, (epoch, n), so a set of records is a set of names. Sets are bits.

/// Epochs there can be; one rule, removed, skips every other.
pub(crate) const EPOCHS: u8 = 6;

/// Log objects of an epoch, which hold one record each, and roots of an epoch.
pub(crate) const EACH: u8 = 2;

/// Which root is the newest. The wrong order is one of the mutations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newest {
    ByEpoch,
    ByNumber,
}

/// What a root says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Root {
    /// Segments that hold the rows, one bit for each epoch.
    pub(crate) segments: u8,
    /// Log objects of earlier epochs that are still to be replayed.
    pub(crate) replay: u16,
    /// The first log object of its own epoch that is still to be replayed.
    pub(crate) start: u8,
    /// What this root condemned.
    pub(crate) condemned: Names,
}

/// Names of objects that can be deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Names {
    pub(crate) logs: u16,
    pub(crate) segments: u8,
    pub(crate) roots: u16,
}

/// The bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Store {
    /// Claims are never deleted: one bit for each epoch.
    pub(crate) claims: u8,
    /// What is there.
    pub(crate) present: Names,
    /// What was there once.
    pub(crate) written: Names,
    /// The records of the segment of each epoch.
    pub(crate) segments: [u16; EPOCHS as usize],
    pub(crate) roots: [[Root; EACH as usize]; EPOCHS as usize],
}

/// What is wrong with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An acknowledged record is not recovered.
    Lost,
    /// An object that is needed is not there.
    Missing,
    /// What an epoch served is not what is recovered.
    Changed,
}

/// The bit of the log object or root `n` of epoch `e`; both count from 1.
pub(crate) fn bit(e: u8, n: u8) -> u16 {
    1 << ((e - 1) * EACH + n - 1)
}

/// The bits of the first `n` log objects or roots of epoch `e`.
pub(crate) fn first(e: u8, n: u8) -> u16 {
    (1..=n).map(|n| bit(e, n)).sum()
}

/// The bits of all epochs below `e`.
pub(crate) fn before(e: u8) -> u16 {
    (1 << ((e - 1) * EACH)) - 1
}

/// The bit of the claim or segment of epoch `e`.
pub(crate) fn claim(e: u8) -> u8 {
    1 << (e - 1)
}

impl Store {
    pub(crate) fn is_claimed(&self, e: u8) -> bool {
        self.claims & claim(e) != 0
    }

    pub(crate) fn put_log(&mut self, e: u8, n: u8) {
        self.present.logs |= bit(e, n);
        self.written.logs |= bit(e, n);
    }

    pub(crate) fn put_segment(&mut self, e: u8, records: u16) {
        self.present.segments |= claim(e);
        self.written.segments |= claim(e);
        self.segments[e as usize - 1] = records;
    }

    pub(crate) fn put_root(&mut self, e: u8, n: u8, root: Root) {
        self.present.roots |= bit(e, n);
        self.written.roots |= bit(e, n);
        self.roots[e as usize - 1][n as usize - 1] = root;
    }

    pub(crate) fn root(&self, e: u8, n: u8) -> Option<Root> {
        let is_there = self.present.roots & bit(e, n) != 0;
        is_there.then(|| self.roots[e as usize - 1][n as usize - 1])
    }

    /// The newest root of epochs up to `last` whose claim is there.
    pub(crate) fn newest(&self, last: u8, newest: Newest) -> Option<(u8, u8)> {
        let all = (1..=last).flat_map(|e| (1..=EACH).map(move |n| (e, n)));
        let there = all.filter(|(e, n)| self.present.roots & bit(*e, *n) != 0 && self.is_claimed(*e));
        match newest {
            Newest::ByEpoch => there.max(),
            Newest::ByNumber => there.max_by_key(|(e, n)| (*n, *e)),
        }
    }

    /// The log objects of epoch `e` from `start` on, up to the first that is not there.
    pub(crate) fn contiguous(&self, e: u8, start: u8) -> u16 {
        let there = (start..=EACH).take_while(|n| self.present.logs & bit(e, *n) != 0);
        there.map(|n| bit(e, n)).sum()
    }

    /// The records that `segments` and the log objects `replay` hold; an error if one of them is not there.
    pub(crate) fn records(&self, segments: u8, replay: u16) -> Result<u16, Violation> {
        if segments & !self.present.segments != 0 || replay & !self.present.logs != 0 {
            return Err(Violation::Missing);
        }
        let named = (1..=EPOCHS).filter(|e| segments & claim(*e) != 0);
        Ok(named.fold(replay, |records, e| records | self.segments[e as usize - 1]))
    }

    /// What an opener that came now would recover.
    pub(crate) fn recovered(&self, newest: Newest) -> Result<u16, Violation> {
        let Some((e, n)) = self.newest(EPOCHS, newest) else { return Ok(0) };
        let root = self.roots[e as usize - 1][n as usize - 1];
        self.records(root.segments, root.replay | self.contiguous(e, root.start))
    }

    /// Forgets what was there once: nothing of it comes back.
    pub(crate) fn forget(&mut self) {
        self.written = Names::default();
        for e in 1..=EPOCHS {
            if self.present.segments & claim(e) == 0 {
                self.segments[e as usize - 1] = 0;
            }
            for n in 1..=EACH {
                if self.present.roots & bit(e, n) == 0 {
                    self.roots[e as usize - 1][n as usize - 1] = Root::default();
                }
            }
        }
    }

    pub(crate) fn delete(&mut self, names: Names) {
        self.present.logs &= !names.logs;
        self.present.segments &= !names.segments;
        self.present.roots &= !names.roots;
    }
}

impl Names {
    /// The first of these names, alone.
    pub(crate) fn one(self) -> Option<Self> {
        let (logs, segments, roots) =
            (self.logs & self.logs.wrapping_neg(), self.segments & self.segments.wrapping_neg(), self.roots);
        let alone = match (logs, segments, roots) {
            (0, 0, 0) => return None,
            (0, 0, roots) => Self { roots: roots & roots.wrapping_neg(), ..Self::default() },
            (0, segments, _) => Self { segments, ..Self::default() },
            (logs, ..) => Self { logs, ..Self::default() },
        };
        Some(alone)
    }

    /// Each of these names, alone.
    pub(crate) fn each(self) -> impl Iterator<Item = Self> {
        let mut left = self;
        std::iter::from_fn(move || {
            let one = left.one()?;
            left = left.without(one);
            Some(one)
        })
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            logs: self.logs & !other.logs,
            segments: self.segments & !other.segments,
            roots: self.roots & !other.roots,
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { logs: self.logs | other.logs, segments: self.segments | other.segments, roots: self.roots | other.roots }
    }
}
