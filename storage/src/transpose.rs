//! From rows of bytes to columns: cells of rows that follow each other, of several features at once.
//!
//! Rows go in blocks that stay in the first cache, so that a row whose features lie side by side is fetched once for all of
//! them. Nothing is checked for damage here, and nulls are the caller's.

use std::ops::Range;

use arrow_buffer::Buffer;

use crate::fixed_values::FixedValues;

/// Rows per block.
pub(crate) const BLOCK_ROWS: usize = 64;

/// Columns that grow together.
#[derive(Debug)]
pub(crate) struct Transposed {
    columns: Vec<Cells>,
}

/// The cells of one column, by their width.
#[derive(Debug)]
enum Cells {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
    Eight(Vec<u64>),
    Sixteen(Vec<i128>),
}

/// Whether cells of `width` bytes can be transposed.
pub(crate) fn is_transposed(width: usize) -> bool {
    matches!(width, 1 | 2 | 4 | 8 | 16)
}

impl Transposed {
    /// Columns of cells of these `widths`, for which [`is_transposed`] holds, with room for so many rows.
    pub(crate) fn new(widths: impl Iterator<Item = usize>, rows: usize) -> Self {
        let column = |width| match width {
            1 => Cells::One(Vec::with_capacity(rows)),
            2 => Cells::Two(Vec::with_capacity(rows)),
            4 => Cells::Four(Vec::with_capacity(rows)),
            8 => Cells::Eight(Vec::with_capacity(rows)),
            16 => Cells::Sixteen(Vec::with_capacity(rows)),
            other => unreachable!("cells of {other} bytes are not transposed"),
        };
        Self { columns: widths.map(column).collect() }
    }

    /// Adds `rows` of each column, which it has `from` there; zeros where it has none.
    pub(crate) fn add(&mut self, from: &[Option<FixedValues<'_>>], rows: Range<usize>) {
        assert_eq!(from.len(), self.columns.len(), "each column grows");
        for block in rows.clone().step_by(BLOCK_ROWS) {
            let block = block..rows.end.min(block + BLOCK_ROWS);
            for (column, from) in self.columns.iter_mut().zip(from) {
                column.add(from.as_ref(), block.clone());
            }
        }
    }

    /// The bytes of each column.
    pub(crate) fn finish(self) -> impl Iterator<Item = Buffer> {
        self.columns.into_iter().map(|cells| match cells {
            Cells::One(cells) => Buffer::from_vec(cells),
            Cells::Two(cells) => Buffer::from_vec(cells),
            Cells::Four(cells) => Buffer::from_vec(cells),
            Cells::Eight(cells) => Buffer::from_vec(cells),
            Cells::Sixteen(cells) => Buffer::from_vec(cells),
        })
    }
}

impl Cells {
    fn add(&mut self, from: Option<&FixedValues<'_>>, rows: Range<usize>) {
        match self {
            Self::One(cells) => extend(cells, from, rows, u8::from_ne_bytes),
            Self::Two(cells) => extend(cells, from, rows, u16::from_ne_bytes),
            Self::Four(cells) => extend(cells, from, rows, u32::from_ne_bytes),
            Self::Eight(cells) => extend(cells, from, rows, u64::from_ne_bytes),
            Self::Sixteen(cells) => extend(cells, from, rows, i128::from_ne_bytes),
        }
    }
}

#[inline]
fn extend<T: Default + Clone, const WIDTH: usize>(
    cells: &mut Vec<T>,
    from: Option<&FixedValues<'_>>,
    rows: Range<usize>,
    cell: impl Fn([u8; WIDTH]) -> T,
) {
    let Some(from) = from else {
        return cells.resize(cells.len() + rows.len(), T::default());
    };
    assert!(from.width == WIDTH && from.stride >= WIDTH, "a column has cells of one width");
    // After the last cell there may be nothing of its row any more, so it goes by itself.
    let last = rows.end - 1;
    let before = from.bytes[rows.start * from.stride..last * from.stride].chunks_exact(from.stride);
    cells.extend(before.map(|row| cell(*row.first_chunk().expect("a row is as long as a cell"))));
    cells.push(cell(from.sized(last)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_the_rows() {
        const ROWS: usize = 150;
        // Rows of 3 + 4 + 8 + 1 bytes, the first three of which are nobody's.
        let bytes: Vec<u8> = (0..ROWS * 16).map(|at| (at * 7 % 251) as u8).collect();
        let values = |start: usize, width| Some(FixedValues { width, stride: 16, bytes: &bytes[start..], nulls: None });
        let alone: Vec<u8> = (0..ROWS * 2).map(|at| at as u8).collect();
        let from = [
            values(3, 4),
            values(7, 8),
            values(15, 1),
            None,
            Some(FixedValues { width: 2, stride: 2, bytes: &alone, nulls: None }),
        ];
        let mut transposed = Transposed::new([4, 8, 1, 16, 2].into_iter(), ROWS);
        transposed.add(&from, 5..6);
        transposed.add(&from, 10..ROWS);
        let columns: Vec<Buffer> = transposed.finish().collect();
        let rows = || std::iter::once(5).chain(10..ROWS);
        let cells = |start: usize, width: usize| {
            rows().flat_map(|row| bytes[row * 16 + start..][..width].to_vec()).collect::<Vec<u8>>()
        };
        assert_eq!(columns[0].as_slice(), cells(3, 4));
        assert_eq!(columns[1].as_slice(), cells(7, 8));
        assert_eq!(columns[2].as_slice(), cells(15, 1));
        assert_eq!(columns[3].as_slice(), vec![0; (ROWS - 9) * 16]);
        assert_eq!(columns[4].as_slice(), rows().flat_map(|row| alone[row * 2..][..2].to_vec()).collect::<Vec<u8>>());
    }
}
