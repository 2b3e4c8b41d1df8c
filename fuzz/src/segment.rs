//! Segments: any bytes as a segment file, opened and read to the last cell.
//!
//! Every row and every cell is read through the doors that reads use. What could be read is merged into a new segment,
//! as compaction does, and is the same there; an error names the file.

use std::cell::Cell;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use firn_storage::column::Column;
use firn_storage::compaction::merge::{KeepAll, Merge};
use firn_storage::error::{Kind, Result};
use firn_storage::io::Files;
use firn_storage::io::simulated::Simulated;
use firn_storage::rows::RowKind;
use firn_storage::run::Run;
use firn_storage::segment::{DIRECTORY, SegmentMeta, describe, file_name, open};
use roaring::RoaringBitmap;

use crate::sample::sample;
use crate::{Verdict, names, seal};

/// The number of the file that is read.
const NUMBER: u64 = 7;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    check(bytes);
    let mut sealed = bytes.to_vec();
    seal::segment(&mut sealed, NUMBER);
    check(&sealed)
}

fn check(bytes: &[u8]) -> Verdict {
    let disk = Simulated::new();
    disk.create_directory(DIRECTORY).expect("an empty disk");
    disk.plant(&file_name(NUMBER), bytes);
    let files: Arc<dyn Files> = Arc::new(disk);
    let read = describe(&files, NUMBER).and_then(|meta| open(&files, &meta)).and_then(|run| Ok((rows_of(&run)?, run)));
    match read {
        Ok((rows, run)) => {
            let merged = again(&files, run);
            assert_eq!(merged.len(), rows.len(), "a merged segment has other rows");
            for (merged, row) in merged.iter().zip(&rows) {
                assert_eq!(merged, row, "a row of a merged segment is another");
            }
            Verdict::Accepted
        }
        Err(error) => {
            names(&error, &file_name(NUMBER));
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Precondition), "{error:?}");
            Verdict::Refused
        }
    }
}

/// A row with everything that is known of it.
#[derive(Debug, PartialEq)]
struct Row {
    ordinal: u32,
    event_time: i64,
    row_id: Vec<u8>,
    sequence: u64,
    ingest_time: i64,
    place: u32,
    kind: RowKind,
    retracted: Vec<u32>,
    /// The cells of a write, an array of one value each.
    cells: Vec<(u32, ArrayRef)>,
}

/// Reads everything, as `verify` and then as reads do.
fn rows_of(run: &Run) -> Result<Vec<Row>> {
    let of = &run.rows;
    let checks = of.checks.as_ref().expect("a segment has checks");
    checks.all()?;
    let mut rows = Vec::new();
    for (ordinal, range) in of.entities()? {
        assert_eq!(of.range(ordinal)?, range);
        for row in range {
            let kind = of.kind(row);
            // Of other rows nobody asks for them, and a merge leaves them out.
            let retracted = if kind == RowKind::RetractCells { of.retracted_features(row) } else { &[] };
            let mut cells = Vec::new();
            for column in run.chunks[0].columns.iter().filter(|_| kind == RowKind::Write) {
                cells.extend(cell_of(column, row)?.map(|cell| (column.feature(), cell)));
            }
            rows.push(Row {
                ordinal,
                event_time: of.event_times[row as usize],
                row_id: of.row_id(row).to_vec(),
                sequence: of.sequence(row),
                ingest_time: of.ingest_time(row),
                place: of.places.of(row),
                kind,
                retracted: retracted.to_vec(),
                cells,
            });
        }
    }
    run.chunks[0].columns.iter().try_for_each(Column::verify)?;
    Ok(rows)
}

/// One cell, through every door.
fn cell_of(column: &Column, row: u32) -> Result<Option<ArrayRef>> {
    let Some(position) = column.position(row)? else { return Ok(None) };
    column.check(position)?;
    let (stretch, index) = column.locate(position);
    let cell = column.stretch(stretch)?.slice(index as usize, 1);
    assert_eq!(cell.to_data(), column.values()?.slice(position as usize, 1).to_data());
    if let Some(fixed) = column.fixed() {
        let position = position as usize;
        assert_eq!(fixed.nulls.is_some_and(|nulls| nulls.is_null(position)), cell.is_null(0));
        assert_eq!(fixed.value(position).len(), fixed.width);
    }
    Ok(Some(cell))
}

/// The rows after a merge of `run` alone.
fn again(files: &Arc<dyn Files>, run: Run) -> Vec<Row> {
    let types: Vec<(u32, DataType)> =
        run.chunks[0].columns.iter().map(|column| (column.feature(), column.data_type().clone())).collect();
    let next = Cell::new(NUMBER);
    let merge = Merge {
        files,
        runs: &[Arc::new(run)],
        erased: &RoaringBitmap::new(),
        filter: &KeepAll,
        types: &types,
        segment_rows_max: 1 << 20,
        segment_bytes_max: 1 << 30,
        next_number: &|| {
            next.set(next.get() + 1);
            next.get()
        },
        throttle: &|_| {},
        cancelled: &|| false,
    };
    let metas: Vec<SegmentMeta> = merge.run().expect("what was read can be merged");
    let runs = metas.iter().map(|meta| open(files, meta).expect("a merged segment opens"));
    runs.flat_map(|run| rows_of(&run).expect("a merged segment can be read")).collect()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let disk = &sample().old;
    let names = disk.names();
    let contents = names.iter().filter(|name| name.ends_with(".segment")).map(|name| disk.content(name));
    // In an order of their own: which number a segment got is chance.
    let mut seeds: Vec<Vec<u8>> = contents.collect();
    seeds.iter_mut().for_each(|seed| seal::segment(seed, NUMBER));
    seeds.sort();
    seeds
}
