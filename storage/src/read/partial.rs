//! Partial rows where nothing was deleted or taken back: the newest cell of each feature is sought by itself, and the
//! rows between are passed over by bitmap. What has tombstones is left to the whole rule, `walk.rs`.
//!
//! Features go one after another, each through all questions, which come in storage order: what is read of a feature
//! lies together. Where many questions ask for one entity of few rows, the cells of a feature are listed once for all.

use std::cmp::Ordering;
use std::ops::Range;

use super::newest::{Knowledge, Question, Span, Spans, spans};
use super::walk::{BoundedRun, Winner};
use crate::column::Column;
use crate::error::Result;
use crate::run::Run;
use crate::time::Micros;

/// What was found for some questions, which are named by their index.
#[derive(Debug)]
pub(crate) struct NewestCells {
    /// For each feature, the questions with a winner.
    pub(crate) winners: Vec<Vec<(u32, Winner)>>,
    /// The questions whose entity has tombstones: nothing was decided.
    pub(crate) walks: Vec<u32>,
}

/// The winners of `features` for each of `questions`. Those of one entity should follow one another, and ordinals
/// ascend.
pub(crate) fn newest_cells(
    runs: &[BoundedRun<'_>],
    knowledge: &Knowledge,
    questions: &[Question],
    features: &[u32],
) -> Result<NewestCells> {
    let spans = spans(runs, questions)?;
    let all = neighbours(questions, &spans, matches!(knowledge, Knowledge::Constant));
    let mut listed = Vec::new();
    let mut winners = Vec::with_capacity(features.len());
    for &feature in features {
        let cells: Vec<Cells<'_>> = runs.iter().map(|bounded| Cells::new(bounded.run, feature)).collect();
        let mut won = Vec::with_capacity(questions.len());
        for neighbours in &all {
            let asked = &questions[neighbours.questions.clone()];
            let seek = |question| Seek { runs, knowledge, cells: &cells, question };
            if let Some(entity) = &neighbours.entity {
                seek(&asked[0]).list(entity, &mut listed)?;
            }
            for (index, question) in neighbours.questions.clone().zip(asked) {
                let winner = match &neighbours.entity {
                    Some(_) => newest_listed(&listed, question.point.as_of),
                    None => seek(question).newest(spans.of(index))?,
                };
                if let Some(winner) = winner {
                    won.push((index as u32, winner));
                }
            }
        }
        winners.push(won);
    }
    Ok(NewestCells { winners, walks: spans.walks })
}

/// Questions that follow one another.
struct Neighbours {
    questions: Range<usize>,
    /// If all ask for one entity, and to list its cells pays: its rows in each run, as far as any of them may ask.
    entity: Option<Vec<Span>>,
}

/// Questions of one entity from which listing its cells pays.
const LIST_QUESTIONS_MIN: usize = 3;
/// Rows of an entity per question, at most, for listing its cells.
const LIST_ROWS_MAX: usize = 64;

/// Cuts `questions` into those of one entity. Cells are listed only if every question sees the same steps (`same_steps`).
fn neighbours(questions: &[Question], spans: &Spans, same_steps: bool) -> Vec<Neighbours> {
    let mut all = Vec::new();
    let mut start = 0;
    for asked in questions.chunk_by(|a, b| a.ordinal == b.ordinal) {
        let questions = start..start + asked.len();
        start = questions.end;
        let mut entity = None;
        let next_walk = spans.walks.partition_point(|walk| (*walk as usize) < questions.start);
        let walked = spans.walks.get(next_walk).is_some_and(|walk| questions.contains(&(*walk as usize)));
        if same_steps && !walked && asked.len() >= LIST_QUESTIONS_MIN {
            let rows = spans.union(questions.clone());
            let count: usize = rows.iter().map(|span| (span.end - span.first) as usize).sum();
            entity = (count <= LIST_ROWS_MAX * asked.len()).then_some(rows);
        }
        all.push(Neighbours { questions, entity });
    }
    all
}

/// The newest of `listed`, cells of one entity and feature from the newest on, that lies within `as_of`.
fn newest_listed(listed: &[(Micros, Winner)], as_of: Micros) -> Option<Winner> {
    let first = listed.partition_point(|(time, _)| *time > as_of);
    listed.get(first).map(|(_, winner)| *winner)
}

/// Where the cells of one feature are in a run.
enum Cells<'a> {
    /// Nowhere.
    None,
    /// In this column, whose rows are the run's.
    Column(&'a Column),
    /// In the chunks of a run in memory.
    Chunks(&'a Run, u32),
}

impl<'a> Cells<'a> {
    fn new(run: &'a Run, feature: u32) -> Self {
        if run.origins.is_some() {
            return Self::Chunks(run, feature);
        }
        run.chunks.first().and_then(|chunk| chunk.column(feature)).map_or(Self::None, Self::Column)
    }

    /// The first of the write rows `from .. end` with a cell.
    fn next(&self, from: u32, end: u32) -> Result<Option<u32>> {
        match self {
            Self::None => Ok(None),
            Self::Column(column) => column.next_position(from, end),
            Self::Chunks(run, feature) => {
                for row in from..end {
                    let origin = run.origin(row);
                    if let Some(column) = run.chunks[origin.chunk as usize].column(*feature)
                        && column.position(origin.row)?.is_some()
                    {
                        return Ok(Some(row));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// One feature of one question.
struct Seek<'s, 'r> {
    runs: &'s [BoundedRun<'r>],
    knowledge: &'s Knowledge,
    cells: &'s [Cells<'s>],
    question: &'s Question,
}

impl Seek<'_, '_> {
    /// The newest row of `spans`, by the whole order, with a visible cell.
    fn newest(&self, spans: &[Span]) -> Result<Option<Winner>> {
        let mut best: Option<(Micros, Winner)> = None;
        for span in spans {
            let rows = &self.runs[span.run as usize].run.rows;
            if best.is_some_and(|(time, _)| time > rows.event_time_range.1) {
                // Runs are ordered by their newest event time: none of the others can beat this cell.
                break;
            }
            let Some(row) = self.first(span)? else { continue };
            let winner = Winner { run: span.run, row };
            if let [_] = spans {
                return Ok(Some(winner));
            }
            let time = rows.event_times[row as usize];
            let wins = best.is_none_or(|(best_time, known)| {
                let known_rows = &self.runs[known.run as usize].run.rows;
                time > best_time || (time == best_time && rows.comes_before(row, known_rows, known.row))
            });
            if wins {
                best = Some((time, winner));
            }
        }
        Ok(best.map(|(_, winner)| winner))
    }

    /// Sets `listed` to all visible cells in `spans`, which are of one entity, from the newest on.
    fn list(&self, spans: &[Span], listed: &mut Vec<(Micros, Winner)>) -> Result<()> {
        listed.clear();
        let rows_of = |winner: &Winner| &self.runs[winner.run as usize].run.rows;
        for span in spans {
            let mut rest = *span;
            while let Some(row) = self.first(&rest)? {
                let winner = Winner { run: span.run, row };
                listed.push((rows_of(&winner).event_times[row as usize], winner));
                rest.first = row + 1;
            }
        }
        if spans.len() > 1 {
            listed.sort_unstable_by(|(time, winner), (other_time, other)| {
                other_time.cmp(time).then_with(|| match (winner.run == other.run, winner.row.cmp(&other.row)) {
                    (true, order) => order,
                    (false, _) if rows_of(winner).comes_before(winner.row, rows_of(other), other.row) => Ordering::Less,
                    (false, _) => Ordering::Greater,
                })
            });
        }
        Ok(())
    }

    /// The first visible row of `span` with a cell.
    fn first(&self, span: &Span) -> Result<Option<u32>> {
        let index = span.run as usize;
        let bounded = &self.runs[index];
        let rows = &bounded.run.rows;
        let steps = self.knowledge.steps(index, bounded, &self.question.point);
        let all = steps.sees_all(&rows.steps);
        let mut from = span.first;
        while let Some(row) = self.cells[index].next(from, span.end)? {
            if all || steps.sees(&rows.steps, rows.row_steps[row as usize]) {
                return Ok(Some(row));
            }
            from = row + 1;
        }
        Ok(None)
    }
}
