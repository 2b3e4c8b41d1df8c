//! The temporal rule (`docs/time.md`): which cell wins. Pure: no clock, no files, no bounds.
//!
//! A walk goes through one entity's visible rows from the newest event time to the oldest, one event time at a time.
//! [`settle`] decides what the rows of one event time mean for the features that are still open. What is visible is
//! decided before, how old a winner may be after.

use crate::error::Result;
use crate::rows::RowKind;
use crate::time::Sequence;

/// One visible row of the event time that is being settled.
#[derive(Debug, Clone, Copy)]
pub struct GroupRow<'a> {
    /// Which run it is in.
    pub run: u32,
    /// Which row of that run.
    pub row: u32,
    /// What it does.
    pub kind: RowKind,
    /// Its encoded row id; empty if there is none.
    pub row_id: &'a [u8],
    /// The sequence of its commit.
    pub sequence: Sequence,
    /// Its place in its batch.
    pub place: u32,
    /// The features whose cells it takes back, if it is [`RowKind::RetractCells`].
    pub retracted: &'a [u32],
}

impl GroupRow<'_> {
    /// What is newer: a later commit, then a later place in the same batch.
    fn age_order(&self) -> (Sequence, u32) {
        (self.sequence, self.place)
    }
}

/// Orders the rows of one event time as the rule walks them: row id, then sequence, then place, each descending.
pub fn sort_group(group: &mut [GroupRow<'_>]) {
    group.sort_unstable_by(|a, b| b.row_id.cmp(a.row_id).then(b.age_order().cmp(&a.age_order())));
}

/// What one event time said beside its winners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// A write stands here: neither taken back nor deleted.
    pub standing: bool,
    /// A delete stands here: nothing earlier can win.
    pub deleted: bool,
}

/// Settles one event time.
///
/// `group` is sorted by [`sort_group`]. `open` holds the slots (indexes into `features`) that no newer event time
/// decided; `cell` says whether a row has a cell in a slot, and is told every win by a second call to `win`.
pub fn settle(
    group: &[GroupRow<'_>],
    features: &[u32],
    open: &mut Vec<usize>,
    mut cell: impl FnMut(&GroupRow<'_>, usize) -> Result<bool>,
    mut win: impl FnMut(&GroupRow<'_>, usize),
) -> Result<Settled> {
    let newest = |kind: RowKind, any_row_id: bool| {
        let of_kind = group.iter().filter(|row| row.kind == kind && (any_row_id || row.row_id.is_empty()));
        of_kind.map(GroupRow::age_order).max()
    };
    // A retract without a row id takes back the deletes before it.
    let undelete = newest(RowKind::Retract, false);
    let delete = newest(RowKind::Delete, true).filter(|delete| undelete.is_none_or(|undelete| undelete < *delete));

    let mut standing = false;
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
            RowKind::Write => {
                if taken_back || delete.is_some_and(|delete| delete > row.age_order()) {
                    continue;
                }
                standing = true;
                let mut still_open = Vec::with_capacity(open.len());
                for &slot in open.iter() {
                    if !cells_taken_back.contains(&features[slot]) && cell(row, slot)? {
                        win(row, slot);
                    } else {
                        still_open.push(slot);
                    }
                }
                *open = still_open;
            }
        }
    }
    Ok(Settled { standing, deleted: delete.is_some() })
}

/// Age of a winner against `base`, whether it exceeds `max_age`; a negative age never does.
pub fn is_expired(base: i64, event_time: i64, max_age: Option<i64>) -> bool {
    max_age.is_some_and(|max_age| i128::from(base) - i128::from(event_time) > i128::from(max_age))
}
