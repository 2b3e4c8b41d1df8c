//! The rows of one segment that a merge writes: everything but the cells.

use std::sync::Arc;

use arrow_buffer::ArrowNativeType;

use super::row::MergedRow;
use crate::error::Result;
use crate::rows::{RowKind, Rows, step_zones};
use crate::run::{Chunk, Origin, Run};
use crate::segment::SegmentMeta;
use crate::segment::directory::{Directory, Ordinals};
use crate::segment::format::SectionKind;
use crate::segment::writer::SegmentWriter;

/// Rows that are gathered before they are appended.
pub(super) const STRETCH_ROWS: usize = 64 * 1024;

/// The chunk of rows that have no cells.
pub(super) const NO_CHUNK: u32 = u32::MAX;

/// The rows of one segment, in storage order.
pub(super) struct Output<'a> {
    runs: &'a [Arc<Run>],
    ordinals: &'a [u32],
    rows: &'a [MergedRow],
    /// The chunks that hold the cells of these rows.
    pub(super) chunks: Vec<&'a Chunk>,
    /// Where the cells of each row are, by `chunks`; [`NO_CHUNK`] for a tombstone, which has none.
    pub(super) origins: Vec<Origin>,
    /// The commits of the rows, by sequence.
    steps: Vec<(u64, i64)>,
    /// For each run, the new number of each of its steps.
    new_steps: Vec<Vec<u32>>,
    /// How many rows are tombstones.
    pub(super) tombstones: u32,
}

impl<'a> Output<'a> {
    pub(super) fn new(runs: &'a [Arc<Run>], ordinals: &'a [u32], rows: &'a [MergedRow]) -> Self {
        let mut used: Vec<Vec<bool>> = runs.iter().map(|run| vec![false; run.rows.steps.len()]).collect();
        let mut chunks = Vec::new();
        let mut chunk_numbers: Vec<Vec<u32>> = runs.iter().map(|run| vec![NO_CHUNK; run.chunks.len()]).collect();
        let mut tombstones = 0;
        let mut origins = Vec::with_capacity(rows.len());
        for row in rows {
            let run = &runs[row.run as usize];
            used[row.run as usize][run.rows.row_steps[row.row as usize] as usize] = true;
            if run.rows.kind(row.row) == RowKind::Write {
                let origin = run.origin(row.row);
                let number = &mut chunk_numbers[row.run as usize][origin.chunk as usize];
                if *number == NO_CHUNK {
                    *number = chunks.len() as u32;
                    chunks.push(run.chunks[origin.chunk as usize].as_ref());
                }
                origins.push(Origin { chunk: *number, row: origin.row });
            } else {
                tombstones += 1;
                origins.push(Origin { chunk: NO_CHUNK, row: 0 });
            }
        }
        let mut steps = Vec::new();
        for (run, used) in runs.iter().zip(&used) {
            let of = &run.rows.steps;
            let used = (0..of.len()).filter(|&step| used[step]);
            steps.extend(used.map(|step| (of.sequences[step], of.ingest_times[step])));
        }
        steps.sort_unstable();
        steps.dedup();
        assert!(steps.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "a sequence has one ingest time, and both grow");
        let new_step = |sequence: &u64| steps.partition_point(|step| step.0 < *sequence) as u32;
        let new_steps = runs.iter().map(|run| run.rows.steps.sequences.iter().map(new_step).collect()).collect();
        Self { runs, ordinals, rows, chunks, origins, steps, new_steps, tombstones }
    }

    /// Writes all sections but those of features. The answer lacks the file's length and checksum.
    pub(super) fn write(&self, number: u64, writer: &mut SegmentWriter<'_>) -> Result<(SegmentMeta, u32)> {
        let directory = Directory::from_sorted_ordinals(self.ordinals);
        write_directory(&directory, writer)?;
        self.per_row(SectionKind::EventTimes, writer, |rows, row| rows.event_times[row as usize])?;
        self.write_steps(writer)?;
        let place_max = self.rows.iter().map(|row| self.of(row).places.of(row.row)).max();
        if place_max.is_none_or(|place| place <= u32::from(u16::MAX)) {
            self.per_row(SectionKind::Places, writer, |rows, row| rows.places.of(row) as u16)?;
        } else {
            self.per_row(SectionKind::Places, writer, |rows, row| rows.places.of(row))?;
        }
        if self.tombstones > 0 {
            self.per_row(SectionKind::Kinds, writer, |rows, row| rows.kind(row) as u8)?;
        }
        self.write_row_ids(writer)?;
        self.write_retracted(writer)?;
        Ok((self.describe(number, &directory), self.steps.len() as u32))
    }

    fn of(&self, row: &MergedRow) -> &Rows {
        &self.runs[row.run as usize].rows
    }

    fn per_row<T: ArrowNativeType>(
        &self,
        kind: SectionKind,
        writer: &mut SegmentWriter<'_>,
        value: impl Fn(&Rows, u32) -> T,
    ) -> Result<()> {
        writer.begin(kind, 0)?;
        let mut values = Vec::with_capacity(STRETCH_ROWS.min(self.rows.len()));
        for rows in self.rows.chunks(STRETCH_ROWS) {
            values.clear();
            values.extend(rows.iter().map(|row| value(self.of(row), row.row)));
            writer.append(&values)?;
        }
        writer.end(self.rows.len() as u32, 0);
        Ok(())
    }

    fn new_step(&self, row: &MergedRow) -> u32 {
        self.new_steps[row.run as usize][self.of(row).row_steps[row.row as usize] as usize]
    }

    fn write_steps(&self, writer: &mut SegmentWriter<'_>) -> Result<()> {
        writer.begin(SectionKind::RowSteps, 0)?;
        let mut zones = Vec::new();
        // A stretch is a multiple of a zone.
        for rows in self.rows.chunks(STRETCH_ROWS) {
            let steps: Vec<u32> = rows.iter().map(|row| self.new_step(row)).collect();
            zones.extend_from_slice(&step_zones(&steps));
            writer.append(&steps)?;
        }
        writer.end(self.rows.len() as u32, 0);
        writer.section(SectionKind::StepZones, 0, &zones)?;
        let (sequences, ingest_times): (Vec<u64>, Vec<i64>) = self.steps.iter().copied().unzip();
        writer.section(SectionKind::StepSequences, 0, &sequences)?;
        writer.section(SectionKind::StepIngestTimes, 0, &ingest_times)
    }

    fn write_row_ids(&self, writer: &mut SegmentWriter<'_>) -> Result<()> {
        if self.runs.iter().all(|run| run.rows.row_ids.is_none()) {
            return Ok(());
        }
        writer.begin(SectionKind::RowIdOffsets, 0)?;
        writer.append(&[0i32])?;
        let mut end = 0i32;
        for rows in self.rows.chunks(STRETCH_ROWS) {
            let ends = rows.iter().map(|row| {
                end += self.of(row).row_id(row.row).len() as i32;
                end
            });
            writer.append(&ends.collect::<Vec<_>>())?;
        }
        writer.end(self.rows.len() as u32 + 1, 0);
        writer.begin(SectionKind::RowIdBytes, 0)?;
        for row in self.rows {
            writer.append_bytes(self.of(row).row_id(row.row))?;
        }
        writer.end(0, 0);
        Ok(())
    }

    fn write_retracted(&self, writer: &mut SegmentWriter<'_>) -> Result<()> {
        if self.runs.iter().all(|run| run.rows.retracted.is_empty()) {
            return Ok(());
        }
        let mut words: Vec<u32> = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            if self.of(row).kind(row.row) == RowKind::RetractCells {
                let features = self.of(row).retracted_features(row.row);
                words.extend([at as u32, features.len() as u32]);
                words.extend_from_slice(features);
            }
        }
        writer.section(SectionKind::Retracted, 0, &words)
    }

    fn describe(&self, number: u64, directory: &Directory) -> SegmentMeta {
        let (mut event_time_min, mut event_time_max, mut lead_max) = (i64::MAX, i64::MIN, i64::MIN);
        for row in self.rows {
            let of = self.of(row);
            let time = of.event_times[row.row as usize];
            event_time_min = event_time_min.min(time);
            event_time_max = event_time_max.max(time);
            lead_max = lead_max.max(time.saturating_sub(of.ingest_time(row.row)));
        }
        let (first, last) = (self.steps[0], self.steps[self.steps.len() - 1]);
        SegmentMeta {
            number,
            length: 0,
            footer_crc: 0,
            rows: self.rows.len() as u32,
            tombstones: self.tombstones,
            entities: directory.entities(),
            ordinal_min: directory.first(),
            ordinal_max: directory.last(),
            event_time_min,
            event_time_max,
            ingest_time_min: first.1,
            ingest_time_max: last.1,
            sequence_min: first.0,
            sequence_max: last.0,
            lead_max,
        }
    }
}

fn write_directory(directory: &Directory, writer: &mut SegmentWriter<'_>) -> Result<()> {
    let (ordinals, starts) = directory.parts();
    match ordinals {
        Ordinals::Sorted(ordinals) => writer.section(SectionKind::Ordinals, 0, &ordinals.values)?,
        Ordinals::Bitmap { words, ranks } => {
            writer.section(SectionKind::OrdinalBits, 0, &words.values)?;
            writer.section(SectionKind::OrdinalRanks, 0, &ranks.values)?;
        }
    }
    match starts {
        Some(starts) => writer.section(SectionKind::Starts, 0, starts),
        None => Ok(()),
    }
}
