//! The answer of one table while it is filled: cells, statuses, winners' event times.
//!
//! Cells of fixed width are copied as bytes to their place, in one slab that all columns share; all others are
//! remembered as (source, position) and interleaved at the end. Most rows have one status in all columns: that is kept
//! once, and a column keeps statuses only where it differs. What wins is decided before; here ages are compared and
//! defaults put in, last.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

use super::bounds::Bounds;
use super::estimate::ValueBytes;
use super::fixed;
use super::picked::Picked;
use super::plain::{ALIGNMENT, TableAnswer};
use super::plan::AskedFeature;
use super::resolved::{FeatureWinners, Pick, Resolved};
use super::rule::is_expired;
use super::slab::{Slab, SpareSlabs};
use super::statuses::{BaseStatuses, Status, status_array};
use crate::column::{Column, fixed_width};
use crate::error::Result;
use crate::gather::Added;
use crate::model::types::as_declared;
use crate::parallel;
use crate::time::Micros;
use crate::view::TableState;

/// The features of one table for all rows of a request.
#[derive(Debug)]
pub(crate) struct AnswerTable<'a> {
    base: BaseStatuses,
    /// The cells of all columns of fixed width, one column after another, each from a multiple of [`ALIGNMENT`] on.
    slab: Slab,
    columns: Vec<AnswerColumn<'a>>,
}

impl<'a> AnswerTable<'a> {
    /// The `features` of `table` for the rows of `base`, whose statuses count unless a column says otherwise.
    pub(crate) fn new(
        features: &'a [AskedFeature],
        table: &TableState,
        base: BaseStatuses,
        event_times: bool,
        slabs: &Arc<SpareSlabs>,
    ) -> Self {
        let mixed = table.mixed.read();
        let rows = base.rows();
        let columns: Vec<AnswerColumn<'a>> = features
            .iter()
            .map(|feature| {
                // A feature that was widened has columns of several types: those are cast, not copied.
                let fixed = fixed_width(&feature.stored).filter(|_| !mixed.contains(&feature.feature.id));
                AnswerColumn::new(feature, rows, fixed, event_times)
            })
            .collect();
        let bytes = columns.iter().map(|column| column.slab_bytes(rows)).sum();
        Self { base, slab: slabs.zeroed(bytes), columns }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.base.rows()
    }

    /// Whether each row has a winner, a value or a null, in some column. To be asked before [`AnswerTable::finish`], which
    /// lets winners expire.
    pub(crate) fn won(&self) -> Vec<bool> {
        let wins = |status: u8| status == Status::Value as u8 || status == Status::Null as u8;
        let mut won = vec![false; self.rows()];
        for column in &self.columns {
            match column.statuses.as_deref().or(self.base.each()) {
                None => won.fill(true),
                Some(statuses) => won.iter_mut().zip(statuses).for_each(|(won, &status)| *won |= wins(status)),
            }
        }
        won
    }

    /// The columns, the slab's share of each (empty for those that are not of fixed width), and the base.
    pub(crate) fn split(&mut self) -> (&mut [AnswerColumn<'a>], Vec<&mut [u8]>, &BaseStatuses) {
        let rows = self.base.rows();
        let mut rest = self.slab.as_mut_slice();
        let mut cells = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let (share, after) = std::mem::take(&mut rest).split_at_mut(column.slab_bytes(rows));
            cells.push(&mut share[..column.width * rows]);
            rest = after;
        }
        (&mut self.columns, cells, &self.base)
    }

    /// The bytes of all cells: those of the slab, and of the others each as long as it is.
    pub(crate) fn bytes(&self) -> u64 {
        let rows = self.base.rows();
        self.columns.iter().map(|column| column.slab_bytes(rows) as u64 + column.picked_bytes()).sum()
    }

    /// Puts in what was found in history.
    pub(crate) fn fill(&mut self, resolved: &[Resolved], threads: usize) -> Result<()> {
        let (columns, cells, base) = self.split();
        let filled = columns.iter_mut().zip(cells).enumerate();
        let mut filled: Vec<_> = filled.map(|(slot, (column, cells))| Filled { slot, column, cells }).collect();
        // Neighbours stay together: their cells mostly lie together too.
        let share = filled.len().div_ceil(threads).max(1);
        let mut shares: Vec<_> = filled.chunks_mut(share).collect();
        parallel::map_mut(&mut shares, threads, |columns| {
            resolved.iter().try_for_each(|resolved| fill_columns(columns, base, resolved))
        })?;
        Ok(())
    }

    /// Ends the filling: `forgotten` rows have no answer, cells older than max age expire (measured as `bounds` say),
    /// defaults go where nothing else is.
    pub(crate) fn finish(
        mut self,
        forgotten: &[usize],
        bounds: &Bounds,
        with: (bool, bool),
        threads: usize,
    ) -> Result<TableAnswer> {
        // Where all are values and none can expire, every cell is what it is.
        if !forgotten.is_empty() || self.base.each().is_some() || self.columns.iter().any(AnswerColumn::may_differ) {
            let (columns, cells, base) = self.split();
            let mut filled: Vec<_> = columns.iter_mut().zip(cells).collect();
            parallel::map_mut(&mut filled, threads, |(column, cells)| {
                column.expire(cells, base, forgotten, bounds);
                Ok(())
            })?;
        }
        let slab = std::mem::replace(&mut self.slab, Slab::empty()).freeze();
        if with == (false, false) && self.base.each().is_none() && self.columns.iter().all(AnswerColumn::is_plain) {
            return Ok(TableAnswer::Plain(slab));
        }
        let (base, rows) = (&self.base, self.base.rows());
        let mut start = 0;
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push((column, slab.slice_with_length(start, column.width * rows)));
            start += column.slab_bytes(rows);
        }
        let (statuses, event_times) = with;
        let base_nulls = BaseNulls::new(base);
        let columns = parallel::map(columns, threads, |(column, cells)| {
            let status = statuses.then(|| column.status_array(base));
            let time = event_times.then(|| column.event_time_array(base));
            Ok([Some(column.array(cells, base, &base_nulls)?), status, time])
        })?;
        Ok(TableAnswer::Columns(columns))
    }
}

/// A column that is being filled.
struct Filled<'c, 'a> {
    /// The feature's place among those asked.
    slot: usize,
    column: &'c mut AnswerColumn<'a>,
    /// Its share of the slab.
    cells: &'c mut [u8],
}

/// Rows that every column takes before the next rows: few enough that what one column brought into the cache is there
/// for the others.
const FILL_ROWS: usize = 1024;

/// Puts what `resolved` found into `filled`.
fn fill_columns(filled: &mut [Filled<'_, '_>], base: &BaseStatuses, resolved: &Resolved) -> Result<()> {
    for of in filled.iter_mut() {
        let mut columns = resolved.sources.iter().filter_map(|source| source.chunk.column(of.column.asked.feature.id));
        if columns.any(|column| column.fixed().is_none()) {
            of.column.make_picks(of.cells)?;
        }
    }
    for source in &resolved.sources {
        let mut in_slab = Vec::with_capacity(filled.len());
        for of in filled.iter_mut() {
            let column = source.chunk.column(of.column.asked.feature.id);
            if of.column.is_slab() {
                in_slab.push((of, column));
            } else {
                of.column.fill(of.cells, base, column, &source.picks, &source.event_times)?;
            }
        }
        for (piece, picks) in source.picks.chunks(FILL_ROWS).enumerate() {
            let event_times = source.event_times.get(piece * FILL_ROWS..).unwrap_or(&[]);
            let mut checked = None;
            for (of, column) in &mut in_slab {
                if let Some(column) = column.filter(|column| column.strip().is_none() || column.strip() != checked) {
                    column.prefetch(picks.iter().map(|pick| pick.row));
                    column.check_all_of(picks.iter().map(|pick| pick.row))?;
                    checked = column.strip();
                }
                of.column.fill(of.cells, base, *column, picks, event_times)?;
            }
        }
    }
    for of in filled.iter_mut() {
        if let Some(decided) = resolved.features.get(of.slot) {
            let columns = resolved.sources.iter().map(|source| source.chunk.column(of.column.asked.feature.id));
            of.column.fill_decided(of.cells, base, decided, &columns.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// One feature's column of an answer.
#[derive(Debug)]
pub(crate) struct AnswerColumn<'a> {
    asked: &'a AskedFeature,
    /// Kept once they differ from the base.
    statuses: Option<Vec<u8>>,
    /// Kept only if ages or event times need them.
    event_times: Option<Vec<Micros>>,
    /// Bytes per cell in the slab; 0 if the column has no share of it.
    width: usize,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    /// In the slab.
    Slab,
    /// Gathered at the end.
    Picked(Picked),
}

impl<'a> AnswerColumn<'a> {
    fn new(asked: &'a AskedFeature, rows: usize, fixed: Option<usize>, event_times: bool) -> Self {
        let cells = match fixed {
            Some(_) => Cells::Slab,
            None => Cells::Picked(Picked::new(&asked.stored, &asked.default, rows)),
        };
        let keep_times = event_times || asked.max_age.is_some();
        let event_times = keep_times.then(|| vec![0; rows]);
        Self { asked, statuses: None, event_times, width: fixed.unwrap_or(0), cells }
    }

    /// The feature.
    pub(crate) fn asked(&self) -> &AskedFeature {
        self.asked
    }

    /// Whether cells are copied into the slab.
    pub(crate) fn is_slab(&self) -> bool {
        matches!(self.cells, Cells::Slab)
    }

    /// Whether a cell may have another status than the base says, or get it from its age.
    fn may_differ(&self) -> bool {
        self.statuses.is_some() || self.asked.max_age.is_some()
    }

    /// Whether its cells are values, and the answer's as they lie in the slab.
    fn is_plain(&self) -> bool {
        self.is_slab() && self.statuses.is_none() && self.asked.plain_width.is_some()
    }

    fn slab_bytes(&self, rows: usize) -> usize {
        (self.width * rows).next_multiple_of(ALIGNMENT)
    }

    /// The bytes of the cells that are not in the slab.
    fn picked_bytes(&self) -> u64 {
        let Cells::Picked(picked) = &self.cells else { return 0 };
        let values: Vec<ValueBytes<'_>> = picked.arrays().iter().map(ValueBytes::of).collect();
        let default = if self.asked.default.is_valid(0) { ValueBytes::of(&self.asked.default).at(0) } else { 0 };
        // A cell that expires is answered with the default.
        let least = if self.asked.max_age.is_some() { default } else { 0 };
        let bytes = |&(array, position): &Added| match array {
            0 => default,
            array => values[array].at(position).max(least),
        };
        picked.cells().iter().map(bytes).sum()
    }

    /// Says what the status of `place` is.
    pub(crate) fn set_status(&mut self, base: &BaseStatuses, place: u32, status: Status) {
        self.statuses.get_or_insert_with(|| base.to_vec())[place as usize] = status as u8;
    }

    /// The winners' event times, if they are kept.
    pub(crate) fn event_times_mut(&mut self) -> Option<&mut Vec<Micros>> {
        self.event_times.as_mut()
    }

    /// Puts in the cells of `picks`, which are checked if they go to the slab; `event_times` are those of the picks, and
    /// of those that follow, if they are kept.
    fn fill(
        &mut self,
        cells: &mut [u8],
        base: &BaseStatuses,
        column: Option<&Column>,
        picks: &[Pick],
        event_times: &[Micros],
    ) -> Result<()> {
        if let Some(times) = &mut self.event_times {
            for (pick, time) in picks.iter().zip(event_times) {
                times[pick.place as usize] = *time;
            }
        }
        let Some(column) = column else {
            picks.iter().for_each(|pick| self.set_status(base, pick.place, Status::Never));
            return Ok(());
        };
        let mut nulls = Vec::new();
        match &mut self.cells {
            Cells::Slab => fixed::copy_picks(cells, column, picks, &mut nulls),
            Cells::Picked(picked) => {
                let winners = picks.iter().map(|pick| (pick.place, pick.row));
                picked.pick(column, winners, |place, status| {
                    if status == Status::Null {
                        nulls.push(place);
                    }
                })?;
            }
        }
        nulls.into_iter().for_each(|place| self.set_status(base, place, Status::Null));
        Ok(())
    }

    /// Puts in what was decided for this feature by itself.
    fn fill_decided(
        &mut self,
        cells: &mut [u8],
        base: &BaseStatuses,
        decided: &FeatureWinners,
        columns: &[Option<&Column>],
    ) -> Result<()> {
        let statuses = self.statuses.get_or_insert_with(|| base.to_vec());
        decided.deleted.iter().for_each(|&place| statuses[place as usize] = Status::Deleted as u8);
        for (won, column) in decided.won.iter().zip(columns) {
            let Some(column) = column else { continue };
            if let Some(event_times) = &mut self.event_times {
                for (pick, time) in won.picks.iter().zip(&won.event_times) {
                    event_times[pick.place as usize] = *time;
                }
            }
            let note = |place: u32, status: Status| statuses[place as usize] = status as u8;
            match &mut self.cells {
                Cells::Slab => fixed::copy(cells, column, &won.picks, note)?,
                Cells::Picked(picked) => {
                    let winners = won.picks.iter().map(|pick| (pick.place, pick.row));
                    picked.pick(column, winners, note)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the cells picks. Bytes that were copied so far become a source: a list with a null inside has no bytes of
    /// its own, so one such value makes the whole column picks.
    pub(crate) fn make_picks(&mut self, cells: &[u8]) -> Result<()> {
        if self.is_slab() {
            let rows = cells.len() / self.width;
            let copied = fixed::array(&self.asked.stored, rows, Buffer::from(cells), None)?;
            let mut picked = Picked::new(&self.asked.stored, &self.asked.default, rows);
            picked.add(copied, (0..rows as u32).map(|row| (row, row)));
            self.cells = Cells::Picked(picked);
        }
        Ok(())
    }

    /// Puts in cells that are values of `array` by position, as a latest pack has them for types without a fixed
    /// width: (place, position).
    pub(crate) fn pick(&mut self, array: &ArrayRef, cells: impl Iterator<Item = (u32, u32)>) {
        match &mut self.cells {
            Cells::Picked(picked) => picked.add(ArrayRef::clone(array), cells),
            Cells::Slab => unreachable!("a column in the slab takes bytes"),
        }
    }

    /// Decides the last statuses, and puts defaults into the slab where they belong.
    fn expire(&mut self, cells: &mut [u8], base: &BaseStatuses, forgotten: &[usize], bounds: &Bounds) {
        forgotten.iter().for_each(|&row| self.set_status(base, row as u32, Status::Forgotten));
        if let (Some(max_age), Some(event_times)) = (self.asked.max_age, &self.event_times) {
            for (row, &event_time) in event_times.iter().enumerate() {
                let status = self.statuses.as_deref().or(base.each()).map_or(Status::Value as u8, |known| known[row]);
                let won = status == Status::Value as u8 || status == Status::Null as u8;
                if won && is_expired(bounds.ages_from(row), event_time, Some(max_age)) {
                    self.statuses.get_or_insert_with(|| base.to_vec())[row] = Status::Expired as u8;
                }
            }
        }
        let statuses = self.statuses.as_deref().or(base.each());
        if let (true, true, Some(statuses)) = (self.is_slab(), self.asked.default.is_valid(0), statuses) {
            fixed::put_default(
                cells,
                self.width,
                &self.asked.default,
                statuses.iter().map(|&status| uses_default(status)),
            );
        }
    }

    /// The finished cells, of the declared type. `cells` is the column's share of the slab.
    fn array(&self, cells: Buffer, base: &BaseStatuses, base_nulls: &BaseNulls) -> Result<ArrayRef> {
        let statuses = self.statuses.as_deref().or(base.each());
        let array = match &self.cells {
            Cells::Slab => {
                let has_default = self.asked.default.is_valid(0);
                let nulls = match &self.statuses {
                    Some(statuses) => nulls_of(statuses, has_default),
                    None => base_nulls.of(has_default),
                };
                fixed::array(&self.asked.stored, base.rows(), cells, nulls)?
            }
            Cells::Picked(picked) => {
                let of = |row: usize| statuses.map_or(Status::Value as u8, |statuses| statuses[row]);
                picked.finish(&self.asked.stored, of)?
            }
        };
        as_declared(array, &self.asked.feature.data_type)
    }

    /// The status of each cell, by name.
    fn status_array(&self, base: &BaseStatuses) -> ArrayRef {
        match &self.statuses {
            Some(statuses) => status_array(statuses.iter().copied()),
            None => status_array(base.to_vec().into_iter()),
        }
    }

    /// The event time of each winner; null where nothing won.
    fn event_time_array(&self, base: &BaseStatuses) -> ArrayRef {
        let won = self.statuses.as_deref().or(base.each()).map(|statuses| {
            let won: BooleanBuffer = statuses.iter().map(|&status| status <= Status::Expired as u8).collect();
            NullBuffer::new(won)
        });
        let times = self.event_times.clone().unwrap_or_default();
        Arc::new(TimestampMicrosecondArray::new(times.into(), won).with_timezone("UTC"))
    }
}

/// Whether a cell with `status` is answered with the feature's default.
fn uses_default(status: u8) -> bool {
    status >= Status::Expired as u8
}

/// Which cells are not null, or `None` if all are.
fn nulls_of(statuses: &[u8], has_default: bool) -> Option<NullBuffer> {
    let valid = |&status: &u8| status == Status::Value as u8 || (has_default && uses_default(status));
    if statuses.iter().all(valid) {
        return None;
    }
    Some(NullBuffer::new(BooleanBuffer::collect_bool(statuses.len(), |row| valid(&statuses[row]))))
}

/// Which cells are not null in columns that have the base's statuses: found once for all of them.
struct BaseNulls {
    with_default: Option<NullBuffer>,
    without: Option<NullBuffer>,
}

impl BaseNulls {
    fn new(base: &BaseStatuses) -> Self {
        let of = |has_default| base.each().and_then(|statuses| nulls_of(statuses, has_default));
        Self { with_default: of(true), without: of(false) }
    }

    fn of(&self, has_default: bool) -> Option<NullBuffer> {
        if has_default { self.with_default.clone() } else { self.without.clone() }
    }
}
