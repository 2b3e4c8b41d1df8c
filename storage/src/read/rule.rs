//! The temporal rule (`docs/time.md`): which writes stand, and which cell wins. Pure: no clock, no files, no bounds.
//!
//! A walk goes through one entity's visible rows from the newest event time to the oldest, one event time at a time.
//! [`standing`] decides which writes of one event time stand; [`settle`] what they mean for the features that are still
//! open. What is visible is decided before, how old a winner may be after.

use crate::error::Result;
use crate::rows::RowKind;
use crate::time::Sequence;

/// One visible row of the event time that is being settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisibleRow<'a> {
    /// Which run it is in.
    pub(crate) run: u32,
    /// Which row of that run.
    pub(crate) row: u32,
    /// What it does.
    pub(crate) kind: RowKind,
    /// Its encoded row id; empty if there is none.
    pub(crate) row_id: &'a [u8],
    /// The sequence of its commit.
    pub(crate) sequence: Sequence,
    /// Its place in its batch.
    pub(crate) place: u32,
    /// The features whose cells it takes back, if it is [`RowKind::RetractCells`].
    pub(crate) retracted: &'a [u32],
}

impl VisibleRow<'_> {
    /// What is newer: a later commit, then a later place in the same batch.
    fn age_order(&self) -> (Sequence, u32) {
        (self.sequence, self.place)
    }
}

/// Orders the rows of one event time as the rule walks them: row id, then sequence, then place, each descending.
pub(crate) fn sort_group(group: &mut [VisibleRow<'_>]) {
    group.sort_unstable_by(|a, b| b.row_id.cmp(a.row_id).then(b.age_order().cmp(&a.age_order())));
}

/// Tells `stands` each write of one event time that is neither taken back nor deleted, in the order of the walk, with
/// the features whose cells of it are taken back. Answers whether a delete stands: then nothing earlier does.
///
/// `group` is sorted by [`sort_group`].
pub(crate) fn standing<'a>(
    group: &[VisibleRow<'a>],
    mut stands: impl FnMut(&VisibleRow<'a>, &[u32]) -> Result<()>,
) -> Result<bool> {
    let newest = |kind: RowKind, any_row_id: bool| {
        let of_kind = group.iter().filter(|row| row.kind == kind && (any_row_id || row.row_id.is_empty()));
        of_kind.map(VisibleRow::age_order).max()
    };
    // A retract without a row id takes back the deletes before it.
    let undelete = newest(RowKind::Retract, false);
    let delete = newest(RowKind::Delete, true).filter(|delete| undelete.is_none_or(|undelete| undelete < *delete));

    let mut identity: Option<&[u8]> = None;
    let mut taken_back = false;
    let mut cells_taken_back: Vec<u32> = Vec::new();
    for row in group {
        if identity != Some(row.row_id) {
            identity = Some(row.row_id);
            taken_back = false;
            cells_taken_back.clear();
        }
        match row.kind {
            RowKind::Retract => taken_back = true,
            RowKind::RetractCells => cells_taken_back.extend_from_slice(row.retracted),
            RowKind::Delete => {}
            RowKind::Write if taken_back || delete.is_some_and(|delete| delete > row.age_order()) => {}
            RowKind::Write => stands(row, &cells_taken_back)?,
        }
    }
    Ok(delete.is_some())
}

/// What one event time said beside its winners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// A write stands here: neither taken back nor deleted.
    pub(crate) standing: bool,
    /// A delete stands here: nothing earlier can win.
    pub(crate) deleted: bool,
}

/// Settles one event time: of each open feature the first cell of a standing write wins.
///
/// `group` is sorted by [`sort_group`]. `open` holds the slots (indexes into `features`) that no newer event time
/// decided; `cell` says whether a row has a cell in a slot, and is told every win by a second call to `win`.
pub(crate) fn settle(
    group: &[VisibleRow<'_>],
    features: &[u32],
    open: &mut Vec<usize>,
    mut cell: impl FnMut(&VisibleRow<'_>, usize) -> Result<bool>,
    mut win: impl FnMut(&VisibleRow<'_>, usize),
) -> Result<Settled> {
    let mut stood = false;
    let deleted = standing(group, |row, taken_back| {
        stood = true;
        let mut still_open = Vec::with_capacity(open.len());
        for &slot in open.iter() {
            if !taken_back.contains(&features[slot]) && cell(row, slot)? {
                win(row, slot);
            } else {
                still_open.push(slot);
            }
        }
        *open = still_open;
        Ok(())
    })?;
    Ok(Settled { standing: stood, deleted })
}

/// Age of a winner against `base`, whether it exceeds `max_age`; a negative age never does.
pub(crate) fn is_expired(base: i64, event_time: i64, max_age: Option<i64>) -> bool {
    max_age.is_some_and(|max_age| i128::from(base) - i128::from(event_time) > i128::from(max_age))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: RowKind, row_id: &'static [u8], sequence: Sequence) -> VisibleRow<'static> {
        VisibleRow { run: 0, row: sequence as u32, kind, row_id, sequence, place: 0, retracted: &[] }
    }

    fn stand(mut group: Vec<VisibleRow<'static>>) -> (Vec<(u32, Vec<u32>)>, bool) {
        sort_group(&mut group);
        let mut stood = Vec::new();
        let deleted = standing(&group, |row, taken_back| {
            stood.push((row.row, taken_back.to_vec()));
            Ok(())
        });
        (stood, deleted.expect("nothing fails"))
    }

    #[test]
    fn every_write_stands_that_no_newer_tombstone_of_its_identity_or_event_time_takes_back() {
        use RowKind::{Delete, Retract, RetractCells, Write};
        let cells = VisibleRow { retracted: &[7], ..row(RetractCells, b"a", 3) };
        let group = vec![row(Write, b"a", 1), row(Write, b"a", 2), cells, row(Write, b"a", 4), row(Write, b"b", 5)];
        let all = vec![(5, vec![]), (4, vec![]), (2, vec![7]), (1, vec![7])];
        assert_eq!(stand(group.clone()), (all, false), "corrections stand too, and cells are taken back of older ones");
        let with = |more: VisibleRow<'static>| stand([group.clone(), vec![more]].concat());
        assert_eq!(with(row(Retract, b"a", 6)), (vec![(5, vec![])], false));
        assert_eq!(with(row(Delete, b"", 6)), (vec![], true));
        let undeleted = [group, vec![row(Delete, b"", 6), row(Retract, b"", 7)]].concat();
        assert_eq!(stand(undeleted).0.len(), 4, "the delete was taken back");
    }
}
