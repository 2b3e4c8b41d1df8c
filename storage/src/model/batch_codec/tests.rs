//! Tests of the bytes of a batch: what goes in comes out, and whatever comes in does no harm.

use std::sync::Arc;

use arrow_array::{BinaryArray, Float64Array, StringArray};
use arrow_buffer::Buffer;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::Kind;
use crate::model::testing::{any_json, any_type};
use crate::model::types::stored_type;
use crate::model::value::from_json;

/// Everything that a batch says, for comparing.
fn told(batch: &WriteBatch) -> String {
    let keys: Vec<&[u8]> = batch.keys.iter().collect();
    let cells = |column: &Column| {
        let present: Vec<bool> =
            (0..batch.rows() as u32).map(|row| column.position(row).expect("in memory").is_some()).collect();
        let values = column.values().expect("in memory");
        (column.feature(), column.is_dense(), present, values.data_type().clone(), format!("{values:?}"))
    };
    let columns: Vec<_> = batch.columns.iter().map(cells).collect();
    let head = (batch.table, batch.shape, batch.kind, &batch.retracted, &batch.producer);
    format!(
        "{head:?} {keys:?} {:?} {:?} {:?} {:?} {columns:?}",
        batch.row_ids, batch.event_times, batch.ingest_times, batch.places
    )
}

fn small() -> WriteBatch {
    WriteBatch {
        table: 7,
        shape: 3,
        kind: RowKind::Write,
        keys: Keys::from_binary(BinaryArray::from(vec![b"a".as_slice(), b"bc"])),
        row_ids: Some(BinaryArray::from(vec![b"".as_slice(), b"r"])),
        event_times: vec![5, -6].into(),
        ingest_times: Some(vec![1, 2].into()),
        places: vec![1, 4].into(),
        columns: vec![
            Column::in_memory(2, Arc::new(Float64Array::from(vec![Some(1.5), None])), None),
            Column::in_memory(9, Arc::new(StringArray::from(vec!["x", "y"])), Some(vec![false, true].into())),
        ],
        retracted: vec![],
        producer: Some(Producer { name: "p".to_owned(), seq: 7, previous: Some(6) }),
    }
}

fn round_trip(batch: &WriteBatch) -> WriteBatch {
    WriteBatch::decode(&batch.encode().expect("it encodes")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_batch_comes_back() {
    assert_eq!(told(&round_trip(&small())), told(&small()));
    let tombstone = WriteBatch {
        kind: RowKind::RetractCells,
        columns: vec![],
        retracted: vec![2, 9],
        row_ids: None,
        ingest_times: None,
        producer: None,
        ..small()
    };
    assert_eq!(told(&round_trip(&tombstone)), told(&tombstone));
    let fixed = WriteBatch {
        keys: Keys::Fixed { width: 8, bytes: Buffer::from_vec(vec![1_u64, 2]) },
        places: vec![0, 1].into(),
        ..small()
    };
    assert_eq!(told(&round_trip(&fixed)), told(&fixed));
    let none = WriteBatch {
        keys: Keys::Fixed { width: 8, bytes: Buffer::from_vec(Vec::<u64>::new()) },
        row_ids: None,
        event_times: Vec::new().into(),
        ingest_times: None,
        places: Vec::new().into(),
        columns: vec![],
        ..small()
    };
    assert_eq!(told(&round_trip(&none)), told(&none));
}

#[test]
fn any_flipped_or_missing_byte_is_an_error_or_another_batch() {
    let bytes = small().encode().expect("it encodes");
    for length in 0..bytes.len() {
        assert!(WriteBatch::decode(&bytes[..length]).is_err(), "cut at {length}");
    }
    assert!(WriteBatch::decode(&[bytes.clone(), vec![0; 8]].concat()).is_err());
    for place in 0..bytes.len() {
        for flip in [0x01, 0x04, 0x80, 0xFF] {
            let mut flipped = bytes.clone();
            flipped[place] ^= flip;
            if let Ok(batch) = WriteBatch::decode(&flipped) {
                assert_eq!(batch.event_times.len(), batch.keys.len());
                let _ = told(&batch);
            }
        }
    }
}

#[test]
fn what_is_no_batch_is_damaged() {
    let decode = |batch: WriteBatch| {
        let error = WriteBatch::decode(&batch.encode().expect("it encodes")).expect_err("it is damaged");
        assert_eq!(error.kind(), Kind::Corrupt);
        error.message().to_owned()
    };
    let cells = || vec![small().columns[0].clone()];
    let cases = [
        (WriteBatch { kind: RowKind::RetractCells, ..small() }, "has cells that do not belong to its kind"),
        (WriteBatch { kind: RowKind::Delete, ..small() }, "has cells that do not belong to its kind"),
        (WriteBatch { retracted: vec![1], ..small() }, "has cells that do not belong to its kind"),
        (WriteBatch { columns: [cells(), cells()].concat(), ..small() }, "has columns out of order"),
        (WriteBatch { event_times: vec![1].into(), ..small() }, "a logged batch"),
    ];
    for (batch, expected) in cases {
        let message = decode(batch);
        assert!(message.contains(expected), "{message}");
    }
    // The head begins behind its length: version, table, shape, kind, flags, rows.
    let bytes = small().encode().expect("it encodes");
    for (place, value, expected) in [
        (4, 9, "is of an unknown version"),
        (17, 9, "has rows of an unknown kind"),
        (18, 0xFF, "has unknown flags"),
        (22, 0xFF, "ends early"),
    ] {
        let mut damaged = bytes.clone();
        damaged[place] = value;
        let error = WriteBatch::decode(&damaged).expect_err(expected);
        assert!(error.message().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn parts_of_larger_arrays_are_written_alone() {
    let rows = from_json(
        &[
            json!([{"a": "a string of more than eight bytes", "b": true}]),
            json!([{"a": null, "b": false}, null]),
            json!(null),
        ]
        .iter()
        .collect::<Vec<_>>(),
        &parse_type("list<struct<a: utf8, b: bool>>").expect("a type"),
    )
    .expect("rows of that type");
    let part = rows.slice(1, 2);
    let batch = WriteBatch { columns: vec![Column::in_memory(1, part.clone(), None)], ..small() };
    let again = round_trip(&batch);
    assert_eq!(again.columns[0].values().expect("in memory"), &part);
    let whole = WriteBatch { columns: vec![Column::in_memory(1, rows.slice(0, 2), None)], ..small() };
    assert!(batch.encode().expect("it encodes").len() < whole.encode().expect("it encodes").len());
}

/// A batch of some rows with columns of any types.
fn any_batch() -> impl Strategy<Value = WriteBatch> {
    let columns = (0..6_usize).prop_flat_map(|rows| {
        let column = any_type().prop_flat_map(move |data_type| {
            let stored = stored_type(&data_type);
            (
                proptest::collection::vec(any_json(&stored), rows),
                Just(stored),
                proptest::option::of(proptest::collection::vec(any::<bool>(), rows)),
            )
        });
        (Just(rows), proptest::collection::vec(column, 0..4))
    });
    columns.prop_map(|(rows, columns)| {
        let column =
            |(place, (values, data_type, present)): (usize, (Vec<serde_json::Value>, DataType, Option<Vec<bool>>))| {
                let values = from_json(&values.iter().collect::<Vec<_>>(), &data_type).expect("values of that type");
                Column::in_memory(place as u32 + 1, values, present.map(Into::into))
            };
        WriteBatch {
            keys: Keys::from_binary(BinaryArray::from_iter_values((0..rows).map(|row| [row as u8]))),
            row_ids: None,
            event_times: (0..rows as i64).collect(),
            ingest_times: None,
            places: (0..rows as u32).collect(),
            columns: columns.into_iter().enumerate().map(column).collect(),
            ..small()
        }
    })
}

proptest! {
    #[test]
    fn batches_of_any_type_come_back(batch in any_batch()) {
        prop_assert_eq!(told(&round_trip(&batch)), told(&batch));
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = WriteBatch::decode(&bytes);
    }
}
