//! Measures ice: bytes a row, rows a second to write, and to read the rows part and the cells, of a history like that of a
//! feature table. With a path it leaves the file there, to be compared with what another writer makes of the same rows.
//!
//! `cargo run --release -p firn-ice --example measure -- [PATH]`

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{
    ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use firn_ice::{ColumnSpec, Meta, Options, Reader, Writer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROWS: usize = 2_000_000;
const ENTITIES: usize = 20_000;
const BATCH_ROWS: usize = 8192;
const DAY: i64 = 86_400_000_000;

fn rows() -> Vec<(String, ArrayRef)> {
    let mut random = StdRng::seed_from_u64(1);
    let mut shares: Vec<f64> = (0..ENTITIES).map(|_| (-2.0 * random.random::<f64>().ln()).sqrt().exp()).collect();
    let whole: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share *= ROWS as f64 / whole);
    let mut rows: Vec<(u32, i64)> = Vec::with_capacity(ROWS);
    for (entity, share) in shares.iter().enumerate() {
        rows.extend((0..share.round() as usize).map(|_| (entity as u32, random.random_range(0..90 * DAY))));
    }
    rows.resize(ROWS, (ENTITIES as u32 - 1, 0));
    rows.sort_by_key(|(entity, time)| (*entity, std::cmp::Reverse(*time)));
    let sequences: Vec<u64> = rows.iter().map(|(_, time)| 1 + (*time / (90 * DAY / 244)) as u64).collect();
    let utc = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef;
    let start = 1_700_000_000_000_000_i64;
    let names = Field::new("item", DataType::Utf8, false);
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("k".into(), Arc::new(rows.iter().map(|(entity, _)| u64::from(*entity) * 7919).collect::<UInt64Array>())),
        ("at".into(), utc(rows.iter().map(|(_, time)| start + time).collect())),
        ("ingest_time".into(), utc(sequences.iter().map(|sequence| start + *sequence as i64 * 31_868_852).collect())),
        ("sequence".into(), Arc::new(UInt64Array::from(sequences))),
        ("kind".into(), Arc::new(StringArray::from_iter_values((0..ROWS).map(|_| "write")))),
        ("row".into(), Arc::new((0..ROWS).map(|_| random.random_range(0..8192u32)).collect::<UInt32Array>())),
        ("features".into(), new_null_array(&DataType::List(Arc::new(names)), ROWS)),
    ];
    let mut walk = 0.0_f64;
    let mut cells = |of: &mut dyn FnMut(&mut StdRng) -> f64| -> ArrayRef {
        Arc::new((0..ROWS).map(|_| of(&mut random)).collect::<Float64Array>())
    };
    let normal = |random: &mut StdRng| {
        (-2.0 * random.random::<f64>().ln()).sqrt() * (std::f64::consts::TAU * random.random::<f64>()).cos()
    };
    columns.push(("noise".into(), cells(&mut |random| random.random())));
    columns.push(("normal".into(), cells(&mut |random| normal(random))));
    columns.push(("price".into(), cells(&mut |random| (normal(random).exp() * 2000.0).round() / 100.0)));
    columns.push(("ratio".into(), cells(&mut |random| f64::from(random.random_range(0..1000)) / 1000.0)));
    columns.push((
        "walk".into(),
        cells(&mut |random| {
            walk += normal(random);
            walk.round() / 4.0
        }),
    ));
    for name in ["total", "count"] {
        let mut total = 0.0;
        let step = |random: &mut StdRng| {
            total += f64::from(random.random_range(0..3));
            total
        };
        columns.push((name.into(), cells(&mut { step })));
    }
    for (name, values) in [("score", 6), ("flag", 2), ("level", 50)] {
        columns.push((name.into(), cells(&mut |random| f64::from(random.random_range(0..values)))));
    }
    let words = (0..ROWS).map(|_| format!("category {:03}", random.random_range(0..1000)));
    columns.push(("category".into(), Arc::new(StringArray::from_iter_values(words))));
    columns.push(("_ordinal".into(), Arc::new(rows.iter().map(|(entity, _)| *entity).collect::<UInt32Array>())));
    columns
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let columns = rows();
    let spec = |(place, (name, array)): (usize, &(String, ArrayRef))| ColumnSpec {
        name: name.clone(),
        data_type: array.data_type().clone(),
        nullable: true,
        field_id: Some(place as i32),
        statistics: name == "at" || name == "_ordinal",
    };
    let specs: Vec<ColumnSpec> = columns.iter().enumerate().map(spec).collect();
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &specs, Options::default())?;
    for start in (0..ROWS).step_by(BATCH_ROWS) {
        let count = BATCH_ROWS.min(ROWS - start);
        writer.write(&columns.iter().map(|(_, array)| array.slice(start, count)).collect::<Vec<_>>())?;
    }
    let meta = Meta::new(writer.finish()?.footer, &bytes)?;
    let wrote = begun.elapsed().as_secs_f64();
    let described = meta.encode()?.len();
    println!(
        "{:.1} bytes a row, {:.2} of them to describe the file",
        bytes.len() as f64 / ROWS as f64,
        described as f64 / ROWS as f64
    );
    println!("{:.2} M rows/s written, one thread", ROWS as f64 / wrote / 1e6);
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(path, &bytes)?;
    }
    let bytes = Bytes::from(bytes);
    let reader = Reader::new(meta)?;
    let all = 0..ROWS as u64;
    for (what, chosen) in
        [("times, steps and places", vec![1, 2, 3, 5, 18]), ("all cells", (7..18).collect::<Vec<_>>())]
    {
        let types: Vec<DataType> = chosen.iter().map(|column| columns[*column].1.data_type().clone()).collect();
        let begun = Instant::now();
        for (group, rows) in reader.by_group(std::slice::from_ref(&all)) {
            let get = |range: &Range<u64>| bytes.slice(range.start as usize..range.end as usize);
            reader.decode(group, (&chosen, &types), &rows, &get)?;
        }
        println!("{:.1} M rows/s read of {what}, one thread", ROWS as f64 / begun.elapsed().as_secs_f64() / 1e6);
    }
    Ok(())
}
