//! Tests of the bytes of a batch: what goes in comes out, and whatever comes in does no harm.

use arrow_array::{BinaryArray, Float64Array, StringArray};
use proptest::prelude::*;

use super::*;
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
        // Only the end marker of the stream may be missing.
        let cut = WriteBatch::decode(&bytes[..length]);
        assert!(cut.is_err() || bytes.len() - length <= 8, "cut at {length}");
    }
    for place in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
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
    let schema = |head: Option<&str>, fields: Vec<(&str, ArrayRef)>| {
        let metadata = head.map(|head| (HEAD.to_owned(), head.to_owned()));
        let (names, arrays): (Vec<Field>, Vec<ArrayRef>) =
            fields.into_iter().map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array)).unzip();
        let schema = Arc::new(Schema::new_with_metadata(names, metadata.into_iter().collect()));
        RecordBatch::try_new(schema, arrays).expect("a batch")
    };
    let head = r#"{"table":1,"shape":1,"kind":0}"#;
    let key = || -> (&'static str, ArrayRef) { (KEY, Arc::new(BinaryArray::from(vec![b"k".as_slice()]))) };
    let time = || -> (&'static str, ArrayRef) { (EVENT_TIME, Arc::new(Int64Array::from(vec![1]))) };
    let cell = |name: &'static str| -> (&'static str, ArrayRef) { (name, Arc::new(Int64Array::from(vec![1]))) };
    let null = || -> ArrayRef { Arc::new(Int64Array::from(vec![None])) };
    let cases = [
        (schema(None, vec![key(), time()]), "has no head"),
        (schema(Some("{}"), vec![key(), time()]), "has a wrong head"),
        (schema(Some(r#"{"table":1,"shape":1,"kind":9}"#), vec![key(), time()]), "has rows of an unknown kind"),
        (schema(Some(r#"{"table":1,"shape":1,"kind":3}"#), vec![key(), time()]), "do not belong to its kind"),
        (
            schema(Some(r#"{"table":1,"shape":1,"kind":1}"#), vec![key(), time(), cell("1")]),
            "do not belong to its kind",
        ),
        (schema(Some(head), vec![time()]), "has no keys"),
        (schema(Some(head), vec![key()]), "has no event times"),
        (schema(Some(head), vec![key(), (EVENT_TIME, null())]), "has a wrong column `event_time`"),
        (schema(Some(head), vec![(KEY, null()), time()]), "has a wrong column `key`"),
        (schema(Some(head), vec![key(), time(), (ROW_ID, null())]), "has a wrong column `row_id`"),
        (schema(Some(head), vec![key(), time(), cell("x")]), "has a column that is no feature"),
        (schema(Some(head), vec![key(), time(), cell("2"), cell("1")]), "has columns out of order"),
        (schema(Some(head), vec![key(), time(), cell("2"), cell("2?")]), "has a wrong column `2`"),
    ];
    for (batch, expected) in cases {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).expect("a stream");
        writer.write(&batch).expect("written");
        let error = WriteBatch::decode(&writer.into_inner().expect("written")).expect_err(expected);
        assert!(error.kind() == Kind::Corrupt && error.message().contains(expected), "{error}");
    }
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
