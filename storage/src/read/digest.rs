//! A digest of an answer: equal for equal names, types, validity and value bits in row order, however the answer was
//! cut into batches.
//!
//! Each column is hashed on its own, row by row, so that framing cannot matter; the digest is the hash of the
//! columns' hashes. XXH3 of 128 bits: a fingerprint against accidents, not against forgers.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use xxhash_rust::xxh3::Xxh3;

use crate::column::fixed_width;
use crate::error::Result;

/// A digest that is being made.
#[derive(Clone)]
pub struct Digest {
    columns: Vec<Xxh3>,
    rows: u64,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest of {} columns and {} rows", self.columns.len(), self.rows)
    }
}

impl Digest {
    /// The digest of an answer with `schema` and no rows yet.
    pub fn new(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let mut hash = Xxh3::new();
            hash.update(format!("{}\0{}\0", field.name(), field.data_type()).as_bytes());
            hash
        });
        Self { columns: columns.collect(), rows: 0 }
    }

    /// Adds the rows of `batch`.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        assert_eq!(batch.num_columns(), self.columns.len(), "a digest is of one schema");
        for (hash, column) in self.columns.iter_mut().zip(batch.columns()) {
            hash_rows(hash, column)?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The digest as 32 hexadecimal digits.
    pub fn finish(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(&self.rows.to_le_bytes());
        for column in &self.columns {
            hash.update(&column.digest128().to_le_bytes());
        }
        format!("{:032x}", hash.digest128())
    }
}

fn hash_rows(hash: &mut Xxh3, array: &ArrayRef) -> Result<()> {
    if let DataType::Dictionary(_, values) = array.data_type() {
        return hash_rows(hash, &arrow_cast::cast(array, values)?);
    }
    if let (Some(width), false) =
        (fixed_width(array.data_type()), matches!(array.data_type(), DataType::FixedSizeList(..)))
    {
        let data = array.to_data();
        let bytes = &data.buffers()[0].as_slice()[data.offset() * width..];
        for row in 0..array.len() {
            match array.is_valid(row) {
                true => {
                    hash.update(&[1]);
                    hash.update(&bytes[row * width..(row + 1) * width]);
                }
                false => hash.update(&[0]),
            }
        }
        return Ok(());
    }
    for row in 0..array.len() {
        hash_value(hash, array, row)?;
    }
    Ok(())
}

fn hash_value(hash: &mut Xxh3, array: &ArrayRef, row: usize) -> Result<()> {
    if array.is_null(row) {
        hash.update(&[0]);
        return Ok(());
    }
    hash.update(&[1]);
    let mut bytes = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => bytes(&[u8::from(array.as_boolean().value(row))]),
        DataType::Utf8 => bytes(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => bytes(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => bytes(array.as_string_view().value(row).as_bytes()),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => bytes(array.as_binary_view().value(row)),
        DataType::FixedSizeList(..) => hash_list(hash, &array.as_fixed_size_list().value(row))?,
        DataType::List(_) => hash_list(hash, &array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => hash_list(hash, &array.as_list::<i64>().value(row))?,
        DataType::Map(..) => {
            let entries: ArrayRef = std::sync::Arc::new(array.as_map().value(row));
            hash_list(hash, &entries)?;
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                hash_value(hash, column, row)?;
            }
        }
        _ => hash_rows(hash, &array.slice(row, 1))?,
    }
    Ok(())
}

fn hash_list(hash: &mut Xxh3, items: &ArrayRef) -> Result<()> {
    hash.update(&(items.len() as u64).to_le_bytes());
    hash_rows(hash, items)
}
