//! Where everything lies in a row of a pack.
//!
//! ```text
//! byte 0          1 if every feature's status is value, else 0
//! statuses        2 bits per feature, the lowest bits first
//! event times     8 bytes per time group, aligned to 8
//! cells           the widest alignment first; zeros where there is no value
//! padding         to a multiple of 8
//! ```

use arrow_schema::DataType;
use xxhash_rust::xxh3::xxh3_64;

use super::cells::{cell_alignment, cell_width};
use crate::blocks::number_at;

/// Where the values of a feature are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// In the row.
    Fixed {
        /// From the start of the row.
        offset: u32,
        /// In bytes.
        width: u32,
    },
    /// In arrays beside the rows: the argument of [`Pack::variable`](super::Pack::variable).
    Variable(u32),
}

/// One feature of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFeature {
    /// The feature's id.
    pub feature: u32,
    /// The type as the pack stores it.
    pub data_type: DataType,
    /// The time group: features of one group have winners with equal event times.
    pub group: u16,
    /// Where its values are.
    pub slot: Slot,
}

/// A run of bytes that every row has at the same offset, for [`gather`](super::gather::gather).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// From the start of the row.
    pub offset: u32,
    /// In bytes; 0 if only the status is wanted.
    pub width: u32,
    /// Index of the feature whose status decides whether the bytes are a value; `None` for event times.
    pub status: Option<u32>,
}

/// Where everything lies in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    features: Vec<PackFeature>,
    /// The features by id, with their indexes.
    by_id: Vec<(u32, u32)>,
    groups: u16,
    stride: usize,
    variables: u32,
    /// A hash of everything that says where cells are.
    fingerprint: u64,
}

impl Layout {
    /// The layout of rows with these features (id, type, time group, whether to keep its values beside the rows).
    pub(super) fn new(features: &[(u32, DataType, u16, bool)], groups: u16) -> Self {
        let mut cells: Vec<(u32, usize)> = Vec::new();
        let mut laid: Vec<PackFeature> = Vec::with_capacity(features.len());
        let mut variables = 0;
        for (index, (feature, data_type, group, beside)) in features.iter().enumerate() {
            let slot = match cell_width(data_type).filter(|_| !beside) {
                Some(width) => {
                    cells.push((width, index));
                    Slot::Fixed { offset: 0, width }
                }
                None => {
                    variables += 1;
                    Slot::Variable(variables - 1)
                }
            };
            laid.push(PackFeature { feature: *feature, data_type: data_type.clone(), group: *group, slot });
        }
        // A stable sort: cells of one alignment stay in the order of the features, as most requests name them.
        cells.sort_by_key(|(width, _)| std::cmp::Reverse(cell_alignment(*width)));
        let mut end = times_offset(features.len()) + usize::from(groups) * 8;
        for (width, index) in cells {
            laid[index].slot = Slot::Fixed { offset: end as u32, width };
            end += width as usize;
        }
        let mut by_id: Vec<(u32, u32)> = laid.iter().zip(0..).map(|(laid, index)| (laid.feature, index)).collect();
        by_id.sort_unstable();
        let fingerprint = xxh3_64(format!("{laid:?}").as_bytes());
        Self { features: laid, by_id, groups, stride: end.next_multiple_of(8), variables, fingerprint }
    }

    /// Whether rows of both layouts have the same cells at the same places.
    pub fn is_like(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.stride == other.stride
    }

    /// The features, in the order in which the pack was asked for.
    pub fn features(&self) -> &[PackFeature] {
        &self.features
    }

    /// The index of the feature with id `feature`.
    pub fn index_of(&self, feature: u32) -> Option<usize> {
        let found = self.by_id.binary_search_by_key(&feature, |(id, _)| *id).ok()?;
        Some(self.by_id[found].1 as usize)
    }

    /// The indexes of the features with these ids, or `None` if one is not there. Cheap if they come in the order of
    /// the pack, as all features of a table do.
    pub fn indexes_of(&self, features: impl Iterator<Item = u32>) -> Option<Vec<usize>> {
        let mut next = 0;
        let mut indexes = Vec::with_capacity(features.size_hint().0);
        for id in features {
            let index = match self.features.get(next) {
                Some(laid) if laid.feature == id => next,
                _ => self.index_of(id)?,
            };
            indexes.push(index);
            next = index + 1;
        }
        Some(indexes)
    }

    /// [`Layout::indexes_of`] of features that the pack holds as these types.
    pub fn indexes_alike<'a>(&self, features: impl Iterator<Item = (u32, &'a DataType)> + Clone) -> Option<Vec<usize>> {
        let indexes = self.indexes_of(features.clone().map(|(id, _)| id))?;
        let mut types = features.map(|(_, data_type)| data_type).zip(&indexes);
        types.all(|(data_type, &index)| self.features[index].data_type == *data_type).then_some(indexes)
    }

    /// How many time groups there are.
    pub fn groups(&self) -> u16 {
        self.groups
    }

    /// Bytes per row.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// How many features keep their values beside the rows.
    pub fn variables(&self) -> u32 {
        self.variables
    }

    /// What to gather of the feature at `index`: its cell and status, or only its status if it has no cell.
    pub fn cell(&self, index: usize) -> Cell {
        let (offset, width) = match self.features[index].slot {
            Slot::Fixed { offset, width } => (offset, width),
            Slot::Variable(_) => (0, 0),
        };
        Cell { offset, width, status: Some(index as u32) }
    }

    /// What to gather for the event times of `group`: 8 bytes, an `i64` in the machine's order.
    pub fn time_cell(&self, group: u16) -> Cell {
        Cell { offset: (times_offset(self.features.len()) + usize::from(group) * 8) as u32, width: 8, status: None }
    }

    /// Whether every feature of `row` has a value.
    #[inline]
    pub fn all_values(&self, row: &[u8]) -> bool {
        row[0] == 1
    }

    /// The status of the feature at `index` in `row`.
    #[inline]
    pub fn status(&self, row: &[u8], index: usize) -> u8 {
        status_of(row, index)
    }

    /// The event time of the winners of `group` in `row`; means nothing if none of its features has a value or null.
    #[inline]
    pub fn event_time(&self, row: &[u8], group: u16) -> i64 {
        number_at(row, times_offset(self.features.len()) + usize::from(group) * 8) as i64
    }

    /// Makes zeroed rows into rows whose features all have a value.
    pub(super) fn start_rows(&self, rows: &mut [u8]) {
        rows.chunks_exact_mut(self.stride).for_each(|row| row[0] = 1);
    }

    /// Writes the status, other than value, of the feature at `index` into a started row.
    pub(super) fn set_status(&self, row: &mut [u8], index: usize, status: u8) {
        row[0] = 0;
        row[1 + index / 4] |= (status & 3) << (index % 4 * 2);
    }

    /// Writes the event time of `group` in `row`.
    pub(super) fn set_event_time(&self, row: &mut [u8], group: u16, time: i64) {
        let at = times_offset(self.features.len()) + usize::from(group) * 8;
        row[at..at + 8].copy_from_slice(&time.to_le_bytes());
    }
}

/// Where the event times start in a row of `features` features.
fn times_offset(features: usize) -> usize {
    (1 + features.div_ceil(4)).next_multiple_of(8)
}

/// The status of the feature at `index` in `row`.
#[inline]
pub(super) fn status_of(row: &[u8], index: usize) -> u8 {
    row[1 + index / 4] >> (index % 4 * 2) & 3
}
