//! Tests of the key encoding.

use arrow_array::{ArrayRef, BooleanArray, Date32Array, FixedSizeBinaryArray, Int64Array, StringArray, UInt64Array};
use proptest::prelude::*;

use arrow_schema::DataType;

use super::column::shared;
use super::*;
use crate::error::Kind;

fn column(name: &str, data_type: DataType) -> KeyColumn {
    KeyColumn::from((name, data_type))
}

#[test]
fn all_widths_of_one_number_encode_alike_but_uint64() {
    let wide = shared(Int64Array::from(vec![-1, 0, 100]));
    let expected = encode(&[column("k", DataType::Int64)], std::slice::from_ref(&wide)).expect("encodes");
    for narrow in [DataType::Int8, DataType::Int16, DataType::Int32] {
        let array = arrow_cast::cast(&wide, &narrow).expect("casts");
        let keys = encode(&[column("k", narrow)], &[array]).expect("encodes");
        assert!(keys.iter().eq(expected.iter()));
    }
    let positive = shared(Int64Array::from(vec![0, 100]));
    let expected = encode(&[column("k", DataType::Int64)], std::slice::from_ref(&positive)).expect("encodes");
    for unsigned in [DataType::UInt8, DataType::UInt16, DataType::UInt32] {
        let array = arrow_cast::cast(&positive, &unsigned).expect("casts");
        let keys = encode(&[column("k", unsigned)], &[array]).expect("encodes");
        assert!(keys.iter().eq(expected.iter()));
    }
}

#[test]
fn the_bytes_are_as_the_format_says() {
    let columns = [
        column("a", DataType::Utf8),
        column("b", DataType::Int64),
        column("c", DataType::Boolean),
        column("d", DataType::Date32),
    ];
    let arrays = [
        shared(StringArray::from(vec!["x\0y"])),
        shared(Int64Array::from(vec![-2])),
        shared(BooleanArray::from(vec![true])),
        shared(Date32Array::from(vec![1])),
    ];
    let keys = encode(&columns, &arrays).expect("encodes");
    let expected =
        [b"x\0\xFFy\0\0".as_slice(), &[0x7F, 255, 255, 255, 255, 255, 255, 254], &[1], &[0x80, 0, 0, 1]].concat();
    assert_eq!(keys.get(0), expected);
    // Placement depends on this hash: it never changes.
    assert_eq!(hash(keys.get(0)), hash(&expected));
    assert_eq!(hash(b"firn"), GOLDEN_HASH);
}

/// The hash of `firn`, written down when the format was made.
const GOLDEN_HASH: u64 = 12_267_257_498_295_535_385;

/// A `uint64` column as it was declared before numbers of 2^63 and above were taken.
fn declared_before(name: &str) -> KeyColumn {
    let before = serde_json::json!({"name": name, "type": "uint64"});
    serde_json::from_value(before).expect("a catalog of before reads")
}

#[test]
fn a_uint64_of_before_keeps_its_bytes_and_a_new_one_is_in_order() {
    let numbers = shared(UInt64Array::from(vec![0, 1, i64::MAX as u64, 1 << 63, u64::MAX]));
    let encoded = |column: KeyColumn| encode(&[column], std::slice::from_ref(&numbers)).expect("encodes");
    let before = encoded(declared_before("k"));
    assert_eq!(before.get(1), [0x80, 0, 0, 0, 0, 0, 0, 1]);
    let decoded = decode(&[declared_before("k")], before.iter()).expect("decodes");
    assert_eq!(decoded[0].as_ref(), numbers.as_ref());
    let new = encoded(column("k", DataType::UInt64));
    assert_eq!((new.get(1), new.get(3)), (&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0x80, 0, 0, 0, 0, 0, 0, 0][..]));
    assert!(new.iter().is_sorted(), "the order of the bytes is the order of the numbers");
    // What is written down says which of them it is.
    let stored = serde_json::to_value(column("k", DataType::UInt64)).expect("plain data");
    assert_eq!(stored, serde_json::json!({"name": "k", "type": "uint64", "unsigned": true}));
    let stored = serde_json::to_value(declared_before("k")).expect("plain data");
    assert_eq!(stored, serde_json::json!({"name": "k", "type": "uint64"}));
}

#[test]
fn damaged_keys_are_errors() {
    let columns = [column("a", DataType::Utf8), column("b", DataType::Int32)];
    let wrong: [&[u8]; 8] = [
        b"",
        b"abc",
        b"abc\0",
        b"abc\0\x01",
        b"abc\0\0",
        b"abc\0\0\x80\0\0\0\0\0\0",
        b"abc\0\0\x80\0\0\0\0\0\0\0\0",
        b"\xFF\0\0\x80\0\0\0\0\0\0\0",
    ];
    for key in wrong {
        let error = decode(&columns, std::iter::once(key)).expect_err("damaged");
        assert_eq!(error.kind(), Kind::Corrupt, "{key:?}");
    }
    let too_wide = b"abc\0\0\x90\0\0\0\0\0\0\0";
    assert_eq!(decode(&columns, std::iter::once(too_wide.as_slice())).expect_err("too wide").kind(), Kind::Corrupt);
}

#[test]
fn placement_by_leading_columns_keeps_them_together() {
    let key = vec![column("user", DataType::Utf8), column("item", DataType::Int64)];
    let entity = |bucket_by| Entity { id: 1, name: "e".to_owned(), key: key.clone(), bucket_by, buckets: 64 };
    let users = shared(StringArray::from((0..1000).map(|row| format!("u{}", row / 100)).collect::<Vec<_>>()));
    let items = shared(Int64Array::from_iter_values(0..1000));
    let keys = encode(&key, &[users, items]).expect("encodes");
    let buckets = |entity: &Entity| keys.iter().map(|key| bucket_of(entity, key, hash(key))).collect::<Vec<_>>();
    let (together, spread) = (buckets(&entity(1)), buckets(&entity(2)));
    assert!(together.chunks(100).all(|user| user.iter().all(|bucket| *bucket == user[0])));
    assert!(spread.iter().all(|bucket| *bucket < 64));
    let used: std::collections::HashSet<_> = spread.into_iter().collect();
    assert_eq!(used.len(), 64);
}

/// A composite key as plain values, ordered as the encoding must be.
type Plain = (i64, String, Vec<u8>, bool, i32, [u8; 3], u64);

fn columns() -> Vec<KeyColumn> {
    vec![
        column("int", DataType::Int64),
        column("text", DataType::Utf8),
        column("bytes", DataType::Binary),
        column("flag", DataType::Boolean),
        column("day", DataType::Date32),
        column("fixed", DataType::FixedSizeBinary(3)),
        column("hash", DataType::UInt64),
    ]
}

fn arrays(rows: &[Plain]) -> Vec<ArrayRef> {
    let fixed = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|row| row.5)).expect("all have 3 bytes");
    vec![
        shared(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        shared(StringArray::from_iter_values(rows.iter().map(|row| &row.1))),
        shared(BinaryArray::from_iter_values(rows.iter().map(|row| &row.2))),
        shared(BooleanArray::from(rows.iter().map(|row| row.3).collect::<Vec<_>>())),
        shared(Date32Array::from_iter_values(rows.iter().map(|row| row.4))),
        shared(fixed),
        shared(UInt64Array::from_iter_values(rows.iter().map(|row| row.6))),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let int = prop_oneof![any::<i64>(), -2..2_i64];
    let text = prop_oneof!["[\u{0}\u{1}ab\u{ff}]{0,3}", "\\PC{0,4}"];
    let bytes = proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(255), any::<u8>()], 0..4);
    let hash = prop_oneof![any::<u64>(), (1 << 63) - 2..(1 << 63) + 2_u64, u64::MAX - 2..=u64::MAX, 0..3_u64];
    (int, text, bytes, any::<bool>(), any::<i32>(), any::<[u8; 3]>(), hash)
}

proptest! {
    #[test]
    fn order_is_kept_and_columns_come_back(rows in proptest::collection::vec(plain(), 1..20)) {
        let (columns, arrays) = (columns(), arrays(&rows));
        for width in 1..=columns.len() {
            let keys = encode(&columns[..width], &arrays[..width]).expect("encodes");
            let decoded = decode(&columns[..width], keys.iter()).expect("decodes");
            prop_assert_eq!(&decoded[..], &arrays[..width]);
        }
        let keys = encode(&columns, &arrays).expect("encodes");
        for left in 0..rows.len() {
            for right in 0..rows.len() {
                prop_assert_eq!(keys.get(left).cmp(keys.get(right)), rows[left].cmp(&rows[right]));
            }
        }
    }

    #[test]
    fn leading_columns_are_a_prefix_and_no_other_key_has_it(rows in proptest::collection::vec(plain(), 2..10)) {
        let (columns, arrays) = (columns(), arrays(&rows));
        let whole = encode(&columns, &arrays).expect("encodes");
        for width in 1..columns.len() {
            let leading = encode(&columns[..width], &arrays[..width]).expect("encodes");
            for left in 0..rows.len() {
                for right in 0..rows.len() {
                    let same = leading.get(left) == leading.get(right);
                    prop_assert_eq!(whole.get(right).starts_with(leading.get(left)), same);
                }
            }
        }
    }

    #[test]
    fn sliced_arrays_and_takes_are_the_same_keys(rows in proptest::collection::vec(plain(), 4..20)) {
        let (columns, arrays) = (columns(), arrays(&rows));
        let whole = encode(&columns, &arrays).expect("encodes");
        let part: Vec<ArrayRef> = arrays.iter().map(|array| array.slice(2, rows.len() - 3)).collect();
        for width in [1, columns.len()] {
            let whole = encode(&columns[..width], &arrays[..width]).expect("encodes");
            let part = encode(&columns[..width], &part[..width]).expect("encodes");
            let rows: Vec<u32> = (2..rows.len() as u32 - 1).collect();
            prop_assert!(part.iter().eq(whole.take(&rows).iter()));
        }
        let binary = whole.to_binary().expect("fits");
        prop_assert!(Keys::from_binary(binary).iter().eq(whole.iter()));
    }

    #[test]
    fn any_bytes_decode_or_are_an_error(key in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(arrays) = decode(&columns(), std::iter::once(key.as_slice())) {
            let again = encode(&columns(), &arrays).expect("encodes");
            // A flag is any byte but zero; all else has one encoding.
            prop_assert_eq!(again.get(0).len(), key.len());
        }
    }
}
