//! The newest visible row of many entities: the fast way for the common case, one look into each run that could beat
//! the best row so far. What it cannot decide (tombstones) is left to the whole rule, `walk.rs`.
//!
//! Questions go in blocks, and a block takes one step after another in each run: all directories, then all searches
//! side by side, then all steps. Each of these waits for memory, and so they wait together.

use std::borrow::Cow;
use std::hint::select_unpredictable;
use std::ops::Range;

use arrow_buffer::ToByteSlice;

use super::bounds::PointBounds;
use super::walk::BoundedRun;
use crate::error::Result;
use crate::prefetch::prefetch;
use crate::rows::{Rows, StepBound, StepSamples};
use crate::segment::directory::Hint;
use crate::time::{Micros, Sequence};

/// Which rows of which entity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) ordinal: u32,
    pub(crate) point: PointBounds,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newest {
    /// No row is visible.
    None,
    /// This row is the newest by the whole order, and no tombstone is near it.
    Row {
        /// Index of the run.
        run: u32,
        /// Row of the run.
        row: u32,
    },
    /// A run that holds the entity has tombstones: the whole rule must be walked.
    Walk,
}

/// How the knowledge bounds of questions become steps.
#[derive(Debug)]
pub(crate) enum Knowledge {
    /// All questions have the one that the runs were bounded with.
    Constant,
    /// Each has its own, and there are many.
    Sampled(Vec<StepSamples>),
    /// Each has its own.
    PerQuestion,
}

/// Questions with bounds of their own from which sampling the steps of all runs pays.
const SAMPLE_QUESTIONS_MIN: usize = 1024;

impl Knowledge {
    /// For so many `questions` over `runs` at `position`, which have one knowledge bound if `constant`.
    pub(crate) fn new(runs: &[BoundedRun<'_>], position: Sequence, constant: bool, questions: usize) -> Self {
        if constant {
            return Self::Constant;
        }
        if questions < SAMPLE_QUESTIONS_MIN {
            return Self::PerQuestion;
        }
        Self::Sampled(runs.iter().map(|bounded| StepSamples::new(&bounded.run.rows.steps, position)).collect())
    }

    /// The steps of the run with this `index` that are visible at `point`.
    #[inline]
    pub(super) fn steps(&self, index: usize, bounded: &BoundedRun<'_>, point: &PointBounds) -> StepBound {
        match self {
            Self::Constant => bounded.steps,
            Self::Sampled(samples) => samples[index].bound(point.known_at),
            Self::PerQuestion => bounded.run.rows.steps.bound(point.known_at, point.position),
        }
    }

    /// `runs` as they are seen from `point`.
    pub(crate) fn seen_from<'r, 'a>(
        &self,
        runs: &'r [BoundedRun<'a>],
        point: &PointBounds,
    ) -> Cow<'r, [BoundedRun<'a>]> {
        if matches!(self, Self::Constant) {
            return Cow::Borrowed(runs);
        }
        let seen = runs.iter().enumerate();
        seen.map(|(index, bounded)| BoundedRun { run: bounded.run, steps: self.steps(index, bounded, point) }).collect()
    }
}

/// Questions that take their steps together.
const BLOCK_QUESTIONS: usize = 64;

/// The newest visible row of each of `questions`. Those of one entity should follow one another, and ordinals ascend.
pub(crate) fn newest(runs: &[BoundedRun<'_>], knowledge: &Knowledge, questions: &[Question]) -> Result<Vec<Newest>> {
    let mut answers = Vec::with_capacity(questions.len());
    let mut hints = vec![Hint::default(); runs.len()];
    let mut looks = Vec::with_capacity(BLOCK_QUESTIONS);
    for block in questions.chunks(BLOCK_QUESTIONS) {
        let mut best = [Best::default(); BLOCK_QUESTIONS];
        for (index, bounded) in runs.iter().enumerate() {
            let rows = &bounded.run.rows;
            find_rows(bounded, &mut hints[index], block, &mut best, &mut looks)?;
            seek_together(&rows.event_times, &mut looks);
            looks.retain(|look| look.first < look.end);
            if !bounded.steps.sees_all(&rows.steps) {
                for look in &looks {
                    prefetch(rows.row_steps[look.first as usize..][..1].to_byte_slice());
                }
            }
            for look in &looks {
                let steps = knowledge.steps(index, bounded, &block[look.question].point);
                let row = rows.skip_unknown(look.first, look.end, &steps);
                if row < look.end {
                    best[look.question].challenge(runs, index, row);
                }
            }
        }
        answers.extend(best[..block.len()].iter().map(|best| best.newest));
    }
    Ok(answers)
}

/// The rows of a question's entity in one run, from the newest within the bounds on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Index of the run.
    pub(super) run: u32,
    /// The first row whose event time is within the bounds.
    pub(super) first: u32,
    /// The end of the entity's rows.
    pub(super) end: u32,
}

/// The spans of many questions.
#[derive(Debug)]
pub(super) struct Spans {
    spans: Vec<Span>,
    /// Where the spans of each question end.
    ends: Vec<u32>,
    /// The questions whose entity has tombstones; they may lack spans.
    pub(super) walks: Vec<u32>,
}

impl Spans {
    /// The spans of a question, in the order of the runs; none if it is to be walked.
    pub(super) fn of(&self, question: usize) -> &[Span] {
        let start = question.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.spans[start as usize..self.ends[question] as usize]
    }
}

impl Spans {
    /// The spans that hold those of all `questions`, which are of one entity, by run.
    pub(super) fn union(&self, questions: Range<usize>) -> Vec<Span> {
        let mut union: Vec<Span> = Vec::new();
        for span in questions.flat_map(|question| self.of(question)) {
            match union.iter_mut().find(|known| known.run == span.run) {
                Some(known) => known.first = known.first.min(span.first),
                None => union.push(*span),
            }
        }
        union
    }
}

/// The spans of `questions` in all runs. Those of one entity should follow one another, and ordinals ascend.
pub(super) fn spans(runs: &[BoundedRun<'_>], questions: &[Question]) -> Result<Spans> {
    let mut found = Spans { spans: Vec::with_capacity(questions.len()), ends: Vec::new(), walks: Vec::new() };
    let mut hints = vec![Hint::default(); runs.len()];
    let mut looks = Vec::with_capacity(BLOCK_QUESTIONS);
    let mut of_block: Vec<(usize, Span)> = Vec::new();
    for block in questions.chunks(BLOCK_QUESTIONS) {
        let mut best = [Best::default(); BLOCK_QUESTIONS];
        of_block.clear();
        for (index, bounded) in runs.iter().enumerate() {
            find_rows(bounded, &mut hints[index], block, &mut best, &mut looks)?;
            seek_together(&bounded.run.rows.event_times, &mut looks);
            let within = looks.iter().filter(|look| look.first < look.end);
            of_block.extend(
                within.map(|look| (look.question, Span { run: index as u32, first: look.first, end: look.end })),
            );
        }
        of_block.sort_by_key(|(question, _)| *question);
        let mut spans = of_block.iter().peekable();
        for (question, best) in best[..block.len()].iter().enumerate() {
            let walks = best.newest == Newest::Walk;
            if walks {
                found.walks.push(found.ends.len() as u32);
            }
            while let Some((_, span)) = spans.next_if(|(of, _)| *of == question) {
                if !walks {
                    found.spans.push(*span);
                }
            }
            found.ends.push(found.spans.len() as u32);
        }
    }
    Ok(found)
}

/// One question's look into one run.
#[derive(Debug, Clone)]
struct Look {
    /// Index into the block.
    question: usize,
    /// Which of the run's entities.
    entity: u32,
    /// The greatest event time that is visible.
    reach: Micros,
    /// The first row that may be the answer.
    first: u32,
    /// How many rows from `first` on are not yet compared.
    open: u32,
    /// Where the first row that may be the answer probably is.
    guess: Range<u32>,
    /// The end of the entity's rows.
    end: u32,
}

/// The best row of a question so far.
#[derive(Debug, Clone, Copy)]
struct Best {
    time: Micros,
    newest: Newest,
}

impl Default for Best {
    fn default() -> Self {
        Self { time: Micros::MIN, newest: Newest::None }
    }
}

impl Best {
    /// Whether a row of `rows` with an event time of at most `as_of` may be newer.
    fn may_lose(&self, rows: &Rows, as_of: Micros) -> bool {
        let (least, greatest) = rows.event_time_range;
        let beatable = match self.newest {
            Newest::None => true,
            Newest::Row { .. } => self.time <= greatest,
            Newest::Walk => false,
        };
        beatable && least <= as_of
    }

    fn challenge(&mut self, runs: &[BoundedRun<'_>], run: usize, row: u32) {
        let rows = &runs[run].run.rows;
        let time = rows.event_times[row as usize];
        let wins = match self.newest {
            Newest::Row { run: known, row: known_row } if time == self.time => {
                let known = &runs[known as usize].run.rows;
                rows.comes_before(row, known, known_row)
            }
            Newest::Row { .. } => time > self.time,
            Newest::None => true,
            Newest::Walk => false,
        };
        if wins {
            *self = Self { time, newest: Newest::Row { run: run as u32, row } };
        }
    }
}

/// Sets `looks` to those of the questions in `block` whose entity has rows in the run that may win.
fn find_rows(
    bounded: &BoundedRun<'_>,
    hint: &mut Hint,
    block: &[Question],
    best: &mut [Best],
    looks: &mut Vec<Look>,
) -> Result<()> {
    looks.clear();
    let rows = &bounded.run.rows;
    let mut last: Option<(u32, Option<u32>)> = None;
    for (question, asked) in block.iter().enumerate() {
        if !best[question].may_lose(rows, asked.point.as_of) {
            continue;
        }
        let entity = match last {
            Some((ordinal, entity)) if ordinal == asked.ordinal => entity,
            _ => rows.entity_from(hint, asked.ordinal)?,
        };
        last = Some((asked.ordinal, entity));
        if let Some(entity) = entity {
            rows.directory.prefetch(entity);
            looks.push(Look {
                question,
                entity,
                reach: bounded.reach(&asked.point),
                first: 0,
                open: 0,
                guess: 0..0,
                end: 0,
            });
        }
    }
    if rows.kinds.is_some() {
        looks.iter().for_each(|look| best[look.question].newest = Newest::Walk);
        looks.clear();
    }
    let guess = Guess::new(rows.event_time_range);
    let mut known: Option<(u32, Range<u32>)> = None;
    for look in looks.iter_mut() {
        let range = match known {
            Some((entity, ref range)) if entity == look.entity => range.clone(),
            _ => rows.rows_of(look.entity)?,
        };
        (look.first, look.open, look.end) = (range.start, range.end - range.start, range.end);
        look.guess = guess.rows(&range, look.reach);
        prefetch_times(&rows.event_times, &look.guess);
        known = Some((look.entity, range));
    }
    Ok(())
}

/// Asks for the event times of `rows`, if they are few; a search among many touches few of them.
fn prefetch_times(event_times: &[Micros], rows: &Range<u32>) {
    if rows.len() <= PREFETCH_ROWS_MAX {
        prefetch(event_times[rows.start as usize..rows.end as usize].to_byte_slice());
    }
}

/// Rows whose event times are all asked for before they are searched.
const PREFETCH_ROWS_MAX: usize = 64;

/// Where among the rows of an entity a moment probably lies, if they are spread evenly over the time of their run:
/// within the square root of their number, which is twice the deviation of an order statistic.
struct Guess {
    greatest: Micros,
    /// One over the time of the run.
    scale: f64,
}

/// Rows of an entity, in a run, below which all of them are the guess.
const GUESS_ROWS_MIN: u32 = 16;

impl Guess {
    fn new((least, greatest): (Micros, Micros)) -> Self {
        Self { greatest, scale: 1.0 / (greatest.saturating_sub(least).max(1) as f64) }
    }

    /// The rows of `range`, newest first, among which the first of at most `reach` probably is.
    #[inline]
    fn rows(&self, range: &Range<u32>, reach: Micros) -> Range<u32> {
        let count = range.end - range.start;
        if count < GUESS_ROWS_MIN {
            return range.clone();
        }
        let before = self.greatest.saturating_sub(reach) as f64 * self.scale * f64::from(count);
        let (middle, beside) = ((before as u32).min(count), f64::from(count).sqrt() as u32);
        range.start + middle.saturating_sub(beside)..range.start + middle.saturating_add(beside).min(count)
    }
}

/// Moves the first row of every look to the first whose event time is at most what it reaches. First the guesses are
/// tried, which mostly hold. Then all searches halve at the same time, and none branches on what it finds: half of such
/// branches would be mispredicted.
fn seek_together(event_times: &[Micros], looks: &mut [Look]) {
    for look in looks.iter_mut().filter(|look| look.open >= GUESS_ROWS_MIN) {
        let end = look.first + look.open;
        let is_later = |row: u32| event_times[row as usize] > look.reach;
        let Range { start, end: after } = look.guess;
        let (first, end) = if start > look.first && !is_later(start - 1) {
            (look.first, start - 1)
        } else if after < end && is_later(after) {
            (after + 1, end)
        } else {
            (start, after)
        };
        (look.first, look.open) = (first, end - first);
    }
    let mut open_max = looks.iter().map(|look| look.open).max().unwrap_or(0);
    while open_max > 0 {
        for look in looks.iter_mut().filter(|look| look.open > 0) {
            let half = look.open / 2;
            let later = event_times[(look.first + half) as usize] > look.reach;
            look.first += select_unpredictable(later, half + 1, 0);
            look.open = select_unpredictable(later, look.open - half - 1, half);
        }
        open_max /= 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Event times from the newest to the oldest: spread evenly, crowded at one end, or mostly the same.
    fn event_times() -> impl Strategy<Value = Vec<Micros>> {
        let spread = prop_oneof![Just(1_i32), Just(8), Just(0)];
        (prop::collection::vec(0.0..1.0_f64, 1..300), spread).prop_map(|(shares, power)| {
            let mut times: Vec<Micros> = shares.iter().map(|share| (share.powi(power) * 1e6) as Micros).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times
        })
    }

    proptest! {
        /// Whether or not a guess holds, the search ends at the first row that is old enough.
        #[test]
        fn a_search_ends_at_the_first_row_within_reach(
            times in event_times(),
            reaches in prop::collection::vec(prop_oneof![-10..1_000_010_i64, Just(i64::MIN), Just(i64::MAX)], 1..8),
            range in prop_oneof![Just((0, 1_000_000)), Just((i64::MIN, i64::MAX)), Just((-5, -5))],
        ) {
            let guess = Guess::new(range);
            let (before, count) = (3, times.len() as u32);
            let rows = before..before + count;
            // Rows of other entities lie around: what is before is too new, what follows too old.
            let event_times: Vec<Micros> = [i64::MAX; 3].into_iter().chain(times.iter().copied()).chain([i64::MIN]).collect();
            let look = |&reach: &Micros| {
                let guess = guess.rows(&rows, reach);
                Look { question: 0, entity: 0, reach, first: rows.start, open: count, guess, end: rows.end }
            };
            let mut looks: Vec<Look> = reaches.iter().map(look).collect();
            seek_together(&event_times, &mut looks);
            for look in looks {
                let expected = before + times.partition_point(|&time| time > look.reach) as u32;
                prop_assert_eq!(look.first, expected);
            }
        }
    }
}
