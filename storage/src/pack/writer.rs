//! Builds a pack: one pass over the winners to learn their shape, one to write them, stretch by stretch.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};

use super::cells::{cell_bytes, has_null_element, may_have_null_elements};
use super::format::{DescribedFeature, Description, KIND, RANK_ORDINALS};
use super::layout::{Layout, PackFeature, Slot};
use super::survey::Survey;
use super::{DELETED, PackMeta, StretchColumn, VALUE, Winners, file_name};
use crate::blocks::{BlockWriter, Frame};
use crate::error::{Error, Result};
use crate::io::{Append, Files, publish};
use crate::time::Sequence;

/// About how many bytes of winners a stretch may hold in memory while it is built.
const STRETCH_BYTES: usize = 16 << 20;
/// The least and the greatest number of ordinals in a stretch.
const STRETCH_ORDINALS: (usize, usize) = (16, 16_384);
/// How many rows are put together at a time.
const CACHED_ROWS: usize = 64;

/// Builds and publishes pack `number`: the `winners` at `position` of the features (id, type) for the ordinals below
/// `ordinals`. The winners of one ordinal take about `winner_bytes`.
pub fn build(
    files: &Arc<dyn Files>,
    number: u64,
    features: &[(u32, DataType)],
    ordinals: u32,
    position: Sequence,
    winner_bytes: u64,
    winners: &mut dyn Winners,
) -> Result<PackMeta> {
    let stretch = stretch_ordinals(winner_bytes);
    let mut survey = Survey::new(features.len());
    for start in (0..ordinals).step_by(stretch) {
        let length = stretch.min((ordinals - start) as usize);
        let columns = winners.stretch(start, length, false)?;
        assert_eq!(columns.len(), features.len(), "a stretch has a column per feature");
        survey.add(&columns, length);
    }
    // Features whose values turn out not to fit into cells, although their type says so.
    let mut beside = BTreeSet::new();
    loop {
        let mut outcome = None;
        let mut misfit = None;
        let written = publish(files, &file_name(number), |file| {
            let mut writer = Writer::new(file, number, features, &beside, &survey, stretch)?;
            for start in (0..ordinals).step_by(stretch) {
                let length = stretch.min((ordinals - start) as usize);
                let columns = winners.stretch(start, length, true)?;
                if let Some(index) = writer.misfit(&columns, length) {
                    misfit = Some(index);
                    return Err(Error::invalid("a feature's values do not fit into cells"));
                }
                writer.stretch(start, &columns, length)?;
            }
            outcome = Some(writer.finish(ordinals, position)?);
            Ok(())
        });
        if let Some(index) = misfit {
            beside.insert(index);
            continue;
        }
        written?;
        let frame = outcome.expect("a published file was finished");
        return Ok(PackMeta { number, length: frame.length, position, ordinals, rows: survey.rows(), crc: frame.crc });
    }
}

/// How many ordinals go into a stretch: a power of two, so that a shift finds it.
fn stretch_ordinals(winner_bytes: u64) -> usize {
    let most = (STRETCH_BYTES / winner_bytes.max(1) as usize).clamp(STRETCH_ORDINALS.0, STRETCH_ORDINALS.1);
    1 << most.ilog2()
}

/// How much memory it takes to build a pack whose winners take `winner_bytes` for each ordinal.
pub fn memory_bytes(winner_bytes: u64) -> u64 {
    stretch_ordinals(winner_bytes) as u64 * winner_bytes
}

struct Writer<'a> {
    file: BlockWriter<'a>,
    layout: Layout,
    survey: &'a Survey,
    stretch_ordinals: usize,
    packed: bool,
    rows: u64,
    stretches: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(
        file: &'a mut dyn Append,
        number: u64,
        features: &[(u32, DataType)],
        beside: &BTreeSet<usize>,
        survey: &'a Survey,
        stretch_ordinals: usize,
    ) -> Result<Self> {
        let (groups, group_count) = survey.groups();
        let typed: Vec<_> = features
            .iter()
            .zip(groups)
            .enumerate()
            .map(|(index, ((feature, data_type), group))| {
                (*feature, data_type.clone(), *group, beside.contains(&index))
            })
            .collect();
        let layout = Layout::new(&typed, group_count);
        // Leaving out an eighth of the rows pays for the two more cache misses of a packed lookup.
        let packed = u64::from(survey.rows()) * 8 < u64::from(survey.ordinals()) * 7;
        let file = BlockWriter::new(file, KIND, number)?;
        Ok(Self { file, layout, survey, stretch_ordinals, packed, rows: 0, stretches: Vec::new() })
    }

    /// The first feature with a value that its cell cannot hold.
    fn misfit(&self, columns: &[StretchColumn], length: usize) -> Option<usize> {
        let fixed = self.layout.features().iter().zip(columns).enumerate();
        let mut fixed = fixed.filter(|(_, (laid, _))| matches!(laid.slot, Slot::Fixed { .. }));
        fixed.find_map(|(index, (_, column))| {
            let values = values_of(column);
            let misfit = |at| column.statuses[at] == VALUE && has_null_element(values, at);
            (may_have_null_elements(values) && (0..length).any(misfit)).then_some(index)
        })
    }

    fn stretch(&mut self, start: u32, columns: &[StretchColumn], length: usize) -> Result<()> {
        let kept: Vec<usize> =
            (0..length).filter(|&at| !self.packed || self.survey.is_present(start + at as u32)).collect();
        let rows = self.rows_of(columns, &kept);
        let offset = self.file.align()?;
        self.file.append(&rows)?;
        self.stretches.extend_from_slice(&offset.to_le_bytes());
        self.stretches.extend_from_slice(&self.rows.to_le_bytes());
        let features = self.layout.features().to_vec();
        for (laid, column) in features.iter().zip(columns) {
            if matches!(laid.slot, Slot::Variable(_)) {
                let (offset, length) = self.append_array(column, &laid.data_type, &kept, length)?;
                self.stretches.extend_from_slice(&offset.to_le_bytes());
                self.stretches.extend_from_slice(&length.to_le_bytes());
            }
        }
        self.rows += kept.len() as u64;
        Ok(())
    }

    /// The bytes of the rows `kept` of a stretch.
    fn rows_of(&self, columns: &[StretchColumn], kept: &[usize]) -> Vec<u8> {
        let stride = self.layout.stride();
        let mut bytes = vec![0; kept.len() * stride];
        let cells: Vec<Option<Buffer>> = self.layout.features().iter().zip(columns).map(fixed_cells).collect();
        // Some rows at a time, so that they stay in the cache while every feature adds its part.
        for (rows, kept) in bytes.chunks_mut(CACHED_ROWS * stride).zip(kept.chunks(CACHED_ROWS)) {
            self.layout.start_rows(rows);
            for (index, column) in columns.iter().enumerate() {
                for (row, &at) in rows.chunks_exact_mut(stride).zip(kept) {
                    if column.statuses[at] != VALUE {
                        self.layout.set_status(row, index, column.statuses[at]);
                    }
                }
            }
            for (laid, column) in self.layout.features().iter().zip(columns) {
                for (row, &at) in rows.chunks_exact_mut(stride).zip(kept) {
                    if column.statuses[at] < DELETED {
                        self.layout.set_event_time(row, laid.group, column.event_times[at]);
                    }
                }
            }
            for ((laid, column), cells) in self.layout.features().iter().zip(columns).zip(&cells) {
                if let (Slot::Fixed { offset, width }, Some(cells)) = (laid.slot, cells) {
                    let statuses = &column.statuses;
                    match width {
                        8 => put_cells(rows, stride, offset as usize, 8, cells, kept, statuses),
                        4 => put_cells(rows, stride, offset as usize, 4, cells, kept, statuses),
                        1 => put_cells(rows, stride, offset as usize, 1, cells, kept, statuses),
                        width => put_cells(rows, stride, offset as usize, width as usize, cells, kept, statuses),
                    }
                }
            }
        }
        bytes
    }

    /// Appends the values of a variable feature, and says where.
    fn append_array(
        &mut self,
        column: &StretchColumn,
        data_type: &DataType,
        kept: &[usize],
        length: usize,
    ) -> Result<(u64, u64)> {
        if kept.iter().all(|&at| column.statuses[at] != VALUE) {
            return Ok((0, 0));
        }
        let values = values_of(column);
        assert_eq!(values.data_type(), data_type, "winners have the type of their feature");
        let values = if kept.len() == length {
            Arc::clone(values)
        } else {
            let mut mask = vec![false; length];
            kept.iter().for_each(|&at| mask[at] = true);
            arrow_select::filter::filter(values, &BooleanArray::from(mask))?
        };
        let schema = Arc::new(Schema::new(vec![Field::new("0", data_type.clone(), true)]));
        let bytes = stream(&schema, Some(values))?;
        let offset = self.file.align()?;
        self.file.append(&bytes)?;
        Ok((offset, bytes.len() as u64))
    }

    fn finish(mut self, ordinals: u32, position: Sequence) -> Result<Frame> {
        assert_eq!(self.survey.ordinals(), ordinals, "every ordinal was surveyed");
        let laid = self.layout.features();
        let fields = laid.iter().map(|laid| Field::new(laid.feature.to_string(), laid.data_type.clone(), true));
        let schema_bytes = stream(&Arc::new(Schema::new(fields.collect::<Vec<_>>())), None)?;
        let schema = self.file.align()?;
        self.file.append(&schema_bytes)?;
        let (presence, ranks) = if self.packed { self.append_presence()? } else { (0, 0) };
        let stretches = self.file.align()?;
        self.file.append(&self.stretches)?;
        let features = self.layout.features().iter().map(|laid| DescribedFeature {
            feature: laid.feature,
            group: laid.group,
            cell: match laid.slot {
                Slot::Fixed { offset, width } => Some((offset, width)),
                Slot::Variable(_) => None,
            },
        });
        let description = Description {
            position,
            ordinals,
            rows: self.survey.rows(),
            packed: self.packed,
            stride: self.layout.stride() as u64,
            groups: self.layout.groups(),
            stretch_ordinals: self.stretch_ordinals as u32,
            features: features.collect(),
            schema,
            schema_length: schema_bytes.len() as u64,
            presence,
            ranks,
            stretches,
        };
        let text = serde_json::to_vec(&description).expect("numbers always have a JSON form");
        self.file.finish(&text)
    }

    fn append_presence(&mut self) -> Result<(u64, u64)> {
        let words_per_rank = RANK_ORDINALS as usize / 64;
        let presence = self.file.align()?;
        let mut ranks = Vec::new();
        let mut before = 0_u32;
        for group in self.survey.presence().chunks(words_per_rank) {
            ranks.extend_from_slice(&before.to_le_bytes());
            for index in 0..words_per_rank {
                let word = group.get(index).copied().unwrap_or(0);
                before += word.count_ones();
                self.file.append(&word.to_le_bytes())?;
            }
        }
        let at = self.file.align()?;
        self.file.append(&ranks)?;
        Ok((presence, at))
    }
}

/// The cells of a fixed-width feature in one stretch; zeros lie where there is no value.
fn fixed_cells((laid, column): (&PackFeature, &StretchColumn)) -> Option<Buffer> {
    let Slot::Fixed { width, .. } = laid.slot else {
        return None;
    };
    let values = values_of(column);
    assert_eq!(values.data_type(), &laid.data_type, "winners have the type of their feature");
    if let Some(nulls) = values.nulls().filter(|nulls| nulls.null_count() > 0) {
        let whole = column.statuses.iter().enumerate().all(|(at, &status)| status != VALUE || nulls.is_valid(at));
        assert!(whole, "a winner that is a value is not null");
    }
    Some(cell_bytes(values, width as usize))
}

/// Copies the cells of the ordinals `kept` into their rows.
#[inline]
fn put_cells(
    rows: &mut [u8],
    stride: usize,
    offset: usize,
    width: usize,
    cells: &[u8],
    kept: &[usize],
    statuses: &[u8],
) {
    for (row, &at) in rows.chunks_exact_mut(stride).zip(kept) {
        if statuses[at] == VALUE {
            row[offset..offset + width].copy_from_slice(&cells[at * width..(at + 1) * width]);
        }
    }
}

fn values_of(column: &StretchColumn) -> &ArrayRef {
    column.values.as_ref().expect("the second pass asks for values")
}

/// An arrow IPC stream of `schema` and at most one batch of one column.
fn stream(schema: &Arc<Schema>, values: Option<ArrayRef>) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    if let Some(values) = values {
        writer.write(&RecordBatch::try_new(Arc::clone(schema), vec![values])?)?;
    }
    Ok(writer.into_inner()?)
}
