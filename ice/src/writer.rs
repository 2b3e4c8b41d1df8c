//! Writing a file of ice: rows in their order, in row groups and pages of fixed lengths, so that whoever wants some rows reads
//! little beside them.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::column::ColumnSpec;
use crate::encoding::Encodings;
use crate::error::{Result, unwritable};
use crate::lake::to_lake;
use crate::meta::Footer;
use crate::{GROUP_ROWS_MAX, PAGE_ROWS};

/// Compressed bytes of the cells of a row group, about, at most: a probe of few rows should not be far from others.
const GROUP_BYTES_MAX: usize = 2 << 20;
/// Rows of a row group, at least.
const GROUP_ROWS_MIN: usize = 4096;
/// Higher levels of zstd cost time and save nothing.
const ZSTD_LEVEL: i32 = 1;
/// Bytes of a dictionary, at most: beyond it a column is written plainly from there on.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Who wrote a file. Readers in Java take a name without a version for a writer of before 2015, and refuse encodings of it.
pub(crate) const CREATED_BY: &str = concat!("FirnDB version ", env!("CARGO_PKG_VERSION"));

/// How a file is written.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether encodings are left out that some readers do not know: byte stream split.
    pub compatible: bool,
    /// What a trial found for a file of the same columns and like rows, which saves one of this. Of other columns they count for
    /// nothing.
    pub encodings: Option<Arc<Encodings>>,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The footer of the file.
    pub footer: Footer,
    /// How its columns were written.
    pub encodings: Arc<Encodings>,
}

/// A file that is being written.
pub struct Writer<W: Write + Send> {
    columns: Vec<ColumnSpec>,
    schema: SchemaRef,
    compatible: bool,
    state: State<W>,
}

impl<W: Write + Send> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("columns", &self.columns).finish_non_exhaustive()
    }
}

enum State<W: Write + Send> {
    /// The first rows, by which encodings are chosen.
    Trial {
        sink: W,
        rows: usize,
        batches: Vec<RecordBatch>,
    },
    Writing {
        writer: Box<ArrowWriter<W>>,
        encodings: Arc<Encodings>,
    },
    /// An error ended it.
    Ended,
}

impl<W: Write + Send> Writer<W> {
    /// Writes rows of `columns` to `sink`.
    ///
    /// # Errors
    /// `Unwritable` if the sink fails.
    pub fn new(sink: W, columns: &[ColumnSpec], options: Options) -> Result<Self> {
        let schema = Arc::new(Schema::new(columns.iter().map(ColumnSpec::field).collect::<Vec<_>>()));
        let Options { compatible, encodings } = options;
        let known = encodings.filter(|known| known.are_for(&schema, compatible));
        let mut writer = Self { columns: columns.to_vec(), schema, compatible, state: State::Ended };
        writer.state = match known {
            Some(encodings) => writer.begin(sink, encodings)?,
            None => State::Trial { sink, rows: 0, batches: Vec::new() },
        };
        Ok(writer)
    }

    /// Writes the next rows: an array for each column.
    ///
    /// # Errors
    /// `Unwritable` for arrays of other types, and if the sink fails.
    pub fn write(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let lake = arrays.iter().zip(self.schema.fields()).map(|(array, field)| to_lake(array, field.data_type()));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), lake.collect::<Result<_>>()?).map_err(unwritable)?;
        match &mut self.state {
            State::Writing { writer, .. } => writer.write(&batch).map_err(unwritable),
            State::Trial { rows, batches, .. } => {
                *rows += batch.num_rows();
                batches.push(batch);
                if *rows >= GROUP_ROWS_MAX { self.choose() } else { Ok(()) }
            }
            State::Ended => Err(unwritable("an earlier write failed")),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// `Unwritable` if the sink fails.
    pub fn finish(mut self) -> Result<Written> {
        if matches!(self.state, State::Trial { .. }) {
            self.choose()?;
        }
        match self.state {
            State::Writing { mut writer, encodings } => {
                let footer = Footer(writer.finish().map_err(unwritable)?);
                Ok(Written { footer, encodings })
            }
            _ => Err(unwritable("an earlier write failed")),
        }
    }

    /// Chooses encodings by the rows that came, and writes these.
    fn choose(&mut self) -> Result<()> {
        let State::Trial { sink, batches, .. } = std::mem::replace(&mut self.state, State::Ended) else {
            return Ok(());
        };
        let whole = || common(GROUP_ROWS_MAX);
        let encodings = Encodings::by_trial(&self.schema, &batches, &whole, self.compatible)?;
        self.state = self.begin(sink, Arc::new(encodings))?;
        if let State::Writing { writer, .. } = &mut self.state {
            batches.iter().try_for_each(|batch| writer.write(batch)).map_err(unwritable)?;
        }
        Ok(())
    }

    /// Begins the file.
    fn begin(&self, sink: W, encodings: Arc<Encodings>) -> Result<State<W>> {
        let group_rows = encodings.row_bytes().map_or(GROUP_ROWS_MAX, |bytes| group_rows(bytes.max(1)));
        let mut properties = encodings.put(common(group_rows));
        for column in self.columns.iter().filter(|column| column.statistics) {
            let path = ColumnPath::from(column.name.as_str());
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
        let schema = Arc::clone(&self.schema);
        let writer = ArrowWriter::try_new(sink, schema, Some(properties.build())).map_err(unwritable)?;
        Ok(State::Writing { writer: Box::new(writer), encodings })
    }
}

/// Rows of a row group if the cells of a row take so many bytes: whole pages.
fn group_rows(row_bytes: usize) -> usize {
    (GROUP_BYTES_MAX / row_bytes / PAGE_ROWS * PAGE_ROWS).clamp(GROUP_ROWS_MIN, GROUP_ROWS_MAX)
}

/// What all files have.
fn common(group_rows: usize) -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("the level is one that zstd has");
    WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(PAGE_ROWS)
        // Pages end at multiples of this only, and by the number of rows alone.
        .set_write_batch_size(PAGE_ROWS)
        .set_data_page_size_limit(usize::MAX)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_groups_are_whole_pages_within_bounds() {
        assert_eq!(group_rows(1), GROUP_ROWS_MAX);
        assert_eq!(group_rows(36), 57_344);
        assert_eq!(group_rows(100), 20_480);
        assert_eq!(group_rows(1 << 30), GROUP_ROWS_MIN);
    }
}
