//! Where pages are: which bytes of a file hold which rows of which column.

use std::ops::Range;

use parquet::file::metadata::ParquetMetaData;

/// A page of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Its bytes.
    pub(crate) bytes: Range<u64>,
    /// Its rows, in the file; empty for a dictionary, which all rows of its row group need.
    pub(crate) rows: Range<u64>,
}

/// The pages of the leaf `leaf` in the row group `group`, whose first row is `first`, the dictionary first if there is one.
pub(crate) fn pages_of(metadata: &ParquetMetaData, group: usize, first: u64, leaf: usize) -> Option<Vec<Page>> {
    let of_group = metadata.row_groups().get(group)?;
    let locations = metadata.offset_index()?.get(group)?.get(leaf)?.page_locations();
    let end = first + u64::try_from(of_group.num_rows()).ok()?;
    let start = of_group.column(leaf).byte_range().0;
    let mut pages = Vec::with_capacity(locations.len() + 1);
    let offset = |place: usize| locations.get(place).and_then(|page| u64::try_from(page.offset).ok());
    let row = |place: usize| {
        locations.get(place).map_or(Some(end), |page| u64::try_from(page.first_row_index).ok().map(|row| first + row))
    };
    if offset(0)? > start {
        pages.push(Page { bytes: start..offset(0)?, rows: first..first });
    }
    for (place, page) in locations.iter().enumerate() {
        let start = offset(place)?;
        let bytes = start..start + u64::try_from(page.compressed_page_size).ok()?;
        pages.push(Page { bytes, rows: row(place)?..row(place + 1)? });
    }
    Some(pages)
}

/// `ranges`, ascending, with those made one that are at most `gap` apart, as long as they have at most `most` bytes together.
pub fn merge_ranges(ranges: &[Range<u64>], gap: u64, most: u64) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) && range.end - last.start <= most => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_within_gap_and_length() {
        let ranges = [0..10, 10..20, 25..30, 100..200, 205..300];
        assert_eq!(merge_ranges(&ranges, 0, 1000), [0..20, 25..30, 100..200, 205..300]);
        assert_eq!(merge_ranges(&ranges, 5, 1000), [0..30, 100..300]);
        assert_eq!(merge_ranges(&ranges, 5, 150), [0..30, 100..200, 205..300]);
        assert_eq!(merge_ranges(&ranges, 1000, 1000), vec![0..300]);
    }
}
