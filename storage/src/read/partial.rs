//! Partial rows where nothing was deleted or taken back: the newest cell of each feature is sought by itself, and the
//! rows between are passed over by bitmap. What has tombstones is left to the whole rule, `walk.rs`.
//!
//! Features go one after another, each through all questions, which come in storage order: what is read of a feature
//! lies together.

use super::newest::{Knowledge, Question, Span, spans};
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
    let mut winners = Vec::with_capacity(features.len());
    for &feature in features {
        let cells: Vec<Cells<'_>> = runs.iter().map(|bounded| Cells::new(bounded.run, feature)).collect();
        let mut won = Vec::new();
        for (index, question) in questions.iter().enumerate() {
            let seek = Seek { runs, knowledge, cells: &cells, question };
            if let Some(winner) = seek.newest(spans.of(index))? {
                won.push((index as u32, winner));
            }
        }
        winners.push(won);
    }
    Ok(NewestCells { winners, walks: spans.walks })
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
                (time, rows.order(row)) > (best_time, known_rows.order(known.row))
            });
            if wins {
                best = Some((time, winner));
            }
        }
        Ok(best.map(|(_, winner)| winner))
    }

    /// The first visible row of `span` with a cell.
    fn first(&self, span: &Span) -> Result<Option<u32>> {
        let index = span.run as usize;
        let bounded = &self.runs[index];
        let rows = &bounded.run.rows;
        let steps = self.knowledge.steps(index, bounded, &self.question.point);
        let mut from = span.first;
        while let Some(row) = self.cells[index].next(from, span.end)? {
            if steps.sees(&rows.steps, rows.row_steps[row as usize]) {
                return Ok(Some(row));
            }
            from = row + 1;
        }
        Ok(None)
    }
}
