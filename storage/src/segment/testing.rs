//! Rows for tests, written out one by one: runs are made from them, and whatever a run says is read back into them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use arrow_select::concat::concat;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::column::Column;
use crate::error::Result;
use crate::io::Files;
use crate::io::simulated::Simulated;
use crate::rows::{RowKind, Rows, Steps, step_zones};
use crate::run::{Chunk, Origin, Run};
use crate::segment::DIRECTORY;
use crate::segment::directory::Directory;

/// A row with everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TestRow {
    pub(crate) ordinal: u32,
    pub(crate) event_time: i64,
    pub(crate) row_id: Vec<u8>,
    pub(crate) sequence: u64,
    /// [`TestRow::ingested`] of the sequence.
    pub(crate) ingest_time: i64,
    pub(crate) place: u32,
    pub(crate) kind: RowKind,
    pub(crate) retracted: Vec<u32>,
    /// An array of one value for each feature that has a cell.
    pub(crate) cells: BTreeMap<u32, ArrayRef>,
}

impl TestRow {
    /// When the commits of tests were ingested.
    pub(crate) fn ingested(sequence: u64) -> i64 {
        1_000_000 + sequence as i64 / 2
    }

    fn key(&self) -> impl Ord + use<> {
        let newest_first = (Reverse(self.event_time), Reverse(self.row_id.clone()), Reverse(self.sequence));
        (self.ordinal, newest_first, Reverse(self.place))
    }
}

/// Brings rows into storage order.
pub(crate) fn sort(rows: &mut [TestRow]) {
    rows.sort_by_key(|row| row.key());
}

/// A run in memory of `rows`, which are in storage order; their cells lie in `chunks` chunks.
pub(crate) fn run_of(rows: &[TestRow], row_ids: bool, chunks: usize, random: &mut StdRng) -> Run {
    let mut of_chunk: Vec<Vec<usize>> = vec![Vec::new(); chunks];
    let mut origins = Vec::new();
    for row in 0..rows.len() {
        let chunk = random.random_range(0..chunks);
        origins.push(Origin { chunk: chunk as u32, row: of_chunk[chunk].len() as u32 });
        of_chunk[chunk].push(row);
    }
    let chunks = of_chunk.iter().map(|of| Arc::new(chunk_of(rows, of))).collect();
    let mut sequences: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
    sequences.sort_unstable();
    sequences.dedup();
    let step = |row: &TestRow| sequences.partition_point(|&sequence| sequence < row.sequence) as u32;
    let row_steps: Vec<u32> = rows.iter().map(step).collect();
    let mut ids = BinaryBuilder::new();
    rows.iter().for_each(|row| ids.append_value(&row.row_id));
    let kinds = rows.iter().map(|row| row.kind as u8);
    let retracted = rows.iter().enumerate().filter(|(_, row)| row.kind == RowKind::RetractCells);
    let times = rows.iter().map(|row| row.event_time);
    let lead = |row: &TestRow| row.event_time - row.ingest_time;
    let rows = Rows {
        directory: Directory::from_sorted_ordinals(&rows.iter().map(|row| row.ordinal).collect::<Vec<_>>()),
        event_times: times.clone().collect(),
        step_zones: step_zones(&row_steps),
        row_steps: row_steps.into(),
        steps: Steps {
            ingest_times: sequences.iter().map(|&sequence| TestRow::ingested(sequence)).collect(),
            sequences: sequences.into(),
        },
        places: rows.iter().map(|row| row.place).collect::<Vec<u32>>().into(),
        kinds: rows.iter().any(|row| row.kind != RowKind::Write).then(|| kinds.collect()),
        row_ids: row_ids.then(|| ids.finish().into()),
        retracted: retracted.map(|(at, row)| (at as u32, row.retracted.clone())).collect(),
        lead_max: rows.iter().map(lead).max().unwrap_or(i64::MIN),
        event_time_range: (times.clone().min().unwrap_or(i64::MAX), times.max().unwrap_or(i64::MIN)),
        checks: None,
    };
    Run { rows, chunks, origins: Some(origins), segment: None, ice: None }
}

fn chunk_of(rows: &[TestRow], of_chunk: &[usize]) -> Chunk {
    let mut types: BTreeMap<u32, DataType> = BTreeMap::new();
    for &row in of_chunk {
        types.extend(rows[row].cells.iter().map(|(&feature, cell)| (feature, cell.data_type().clone())));
    }
    let column = |(feature, data_type): (u32, DataType)| {
        let absent = new_null_array(&data_type, 1);
        let cells: Vec<&dyn Array> =
            of_chunk.iter().map(|&row| rows[row].cells.get(&feature).unwrap_or(&absent).as_ref()).collect();
        let present: BooleanBuffer = of_chunk.iter().map(|&row| rows[row].cells.contains_key(&feature)).collect();
        let dense =
            of_chunk.iter().all(|&row| rows[row].kind != RowKind::Write || rows[row].cells.contains_key(&feature));
        Column::in_memory(feature, concat(&cells).expect("cells of one type"), (!dense).then_some(present))
    };
    Chunk { columns: types.into_iter().map(column).collect() }
}

/// Everything that `run` says, through the doors that readers use.
pub(crate) fn rows_of(run: &Run) -> Result<Vec<TestRow>> {
    let mut rows = Vec::new();
    let of = &run.rows;
    for (ordinal, range) in of.entities()? {
        assert_eq!(of.range(ordinal)?, range);
        for row in range {
            let origin = run.origin(row);
            let mut cells = BTreeMap::new();
            for column in &run.chunks[origin.chunk as usize].columns {
                if of.kind(row) == RowKind::Write
                    && let Some(cell) = cell_of(column, origin.row)?
                {
                    cells.insert(column.feature(), cell);
                }
            }
            rows.push(TestRow {
                ordinal,
                event_time: of.event_times[row as usize],
                row_id: of.row_id(row).to_vec(),
                sequence: of.sequence(row),
                ingest_time: of.ingest_time(row),
                place: of.places.of(row),
                kind: of.kind(row),
                retracted: of.retracted_features(row).to_vec(),
                cells,
            });
        }
    }
    Ok(rows)
}

/// The cell of `row`, which must look the same through every door.
pub(crate) fn cell_of(column: &Column, row: u32) -> Result<Option<ArrayRef>> {
    let Some(position) = column.position(row)? else {
        return Ok(None);
    };
    column.check(position)?;
    let (stretch, index) = column.locate(position);
    let array = column.stretch(stretch)?.slice(index as usize, 1);
    assert_eq!(array.to_data(), column.values()?.slice(position as usize, 1).to_data());
    if let Some(fixed) = column.fixed() {
        let position = position as usize;
        assert_eq!(fixed.nulls.is_some_and(|nulls| nulls.is_null(position)), array.is_null(0));
        if array.is_valid(0) {
            let data = match array.data_type() {
                DataType::FixedSizeList(..) => array.to_data().child_data()[0].clone(),
                _ => array.to_data(),
            };
            let items = fixed.width / data.len();
            let bytes = &data.buffers()[0][data.offset() * items..][..fixed.width];
            assert_eq!(fixed.value(position), bytes);
        }
    }
    Ok(Some(array))
}

/// A generator of test data that is the same in every run of the test.
pub(crate) fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// An empty simulated disk on which segments can be written.
pub(crate) fn disk() -> Simulated {
    let disk = Simulated::new();
    disk.create_directory(DIRECTORY).expect("an empty disk");
    disk
}
