//! Tests of the casts at the door.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, MapBuilder, StringBuilder};
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    BinaryArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray, DurationMillisecondArray, Float32Array,
    Float64Array, Int32Array, Int64Array, LargeStringArray, NullArray, StringArray, StringViewArray, Time32SecondArray,
    TimestampMillisecondArray, UInt64Array,
};
use serde_json::{Value, json};

use super::*;
use crate::model::types::parse_type;
use crate::model::value::{from_json, to_json};

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// The rows after the cast as JSON, `"misfit"` where one does not fit.
fn cast(given: &ArrayRef, to: &str) -> Vec<Value> {
    cast_with(given, to, Floats::Nearest)
}

fn cast_with(given: &ArrayRef, to: &str, floats: Floats) -> Vec<Value> {
    let to = parse_type(to).expect(to);
    let cast = door_cast(given, &to, floats).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cast.values.data_type(), &to);
    assert_eq!(cast.values.len(), given.len());
    let row = |row: usize| match &cast.misfits {
        Some(misfits) if misfits.value(row) => json!("misfit"),
        _ => to_json(&cast.values, row).expect("it has a JSON form"),
    };
    (0..given.len()).map(row).collect()
}

fn lists(data_type: &str, rows: &Value) -> ArrayRef {
    let rows: Vec<&Value> = rows.as_array().expect("rows").iter().collect();
    from_json(&rows, &parse_type(data_type).expect(data_type)).expect("rows of that type")
}

#[test]
fn values_that_fit_are_taken_and_others_named() {
    let decimals =
        Decimal128Array::from(vec![Some(12_500), Some(12_345), None]).with_precision_and_scale(20, 3).expect("fits");
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    let millis = TimestampMillisecondArray::from(vec![Some(1_500), Some(2_000), None, Some(i64::MAX)]);
    let cases = [
        (array(Int64Array::from(vec![Some(-1), Some(300), None])), "int8", json!([-1, "misfit", null])),
        (array(Int64Array::from(vec![Some(-1), Some(300), None])), "uint16", json!(["misfit", 300, null])),
        (array(UInt64Array::from(vec![1, u64::MAX])), "int64", json!([1, "misfit"])),
        (array(Int32Array::from(vec![1, 2])), "int64", json!([1, 2])),
        (array(Float32Array::from(vec![0.5, f32::NAN])), "float64", json!([0.5, "NaN"])),
        (
            array(Float64Array::from(vec![0.5, 0.1, f64::NAN, 1e300, -0.0])),
            "float32",
            json!([0.5, 0.1, "NaN", "misfit", -0.0]),
        ),
        (array(LargeStringArray::from(vec![Some("a"), None])), "utf8", json!(["a", null])),
        (
            array(StringViewArray::from(vec!["a", "a longer string than fits a view"])),
            "utf8",
            json!(["a", "a longer string than fits a view"]),
        ),
        (array(dictionary.clone()), "utf8", json!(["a", null, "b", "a"])),
        (array(NullArray::new(2)), "fixed_size_list<float32>[2]", json!([null, null])),
        (array(Float64Array::from(vec![None, None])), "timestamp[us, UTC]", json!([null, null])),
        (array(StringArray::from(vec![None::<&str>, None])), "list<int64>", json!([null, null])),
        (
            array(BinaryArray::from_opt_vec(vec![Some(b"ab"), Some(b"abc"), None])),
            "fixed_size_binary[2]",
            json!(["YWI=", "misfit", null]),
        ),
        (array(decimals.clone()), "decimal128(10, 2)", json!(["12.50", "misfit", null])),
        (array(decimals.clone()), "decimal128(4, 2)", json!(["12.50", "misfit", null])),
        (array(decimals), "decimal256(50, 4)", json!(["12.5000", "12.3450", null])),
        (array(Date64Array::from(vec![86_400_000, 1])), "date32", json!(["1970-01-02", "misfit"])),
        (array(Time32SecondArray::from(vec![1])), "time64[us]", json!(["00:00:01"])),
        (array(DurationMillisecondArray::from(vec![1_000, 1])), "duration[s]", json!(["1s", "misfit"])),
        (array(millis.clone()), "timestamp[s, UTC]", json!(["misfit", "1970-01-01T00:00:02Z", null, "misfit"])),
        (
            array(millis.with_timezone("Asia/Tokyo")),
            "timestamp[us, Europe/Berlin]",
            json!(["1970-01-01T00:00:01.500Z", "1970-01-01T00:00:02Z", null, "misfit"]),
        ),
    ];
    for (given, to, expected) in cases {
        assert_eq!(Value::Array(cast(&given, to)), expected, "{to}");
        // What is sliced is cast alike.
        let sliced = given.slice(1, given.len() - 1);
        assert_eq!(cast(&sliced, to), expected.as_array().expect("rows")[1..], "{to}, sliced");
    }
}

#[test]
fn nested_values_fit_item_by_item() {
    let longs = lists("list<int64>", &json!([[1, 2], null, [300, 3], []]));
    assert_eq!(cast(&longs, "list<int8>"), [json!([1, 2]), json!(null), json!("misfit"), json!([])]);
    assert_eq!(cast(&longs, "large_list<int64>"), [json!([1, 2]), json!(null), json!([300, 3]), json!([])]);
    assert_eq!(
        cast(&longs, "fixed_size_list<int16>[2]"),
        [json!([1, 2]), json!(null), json!([300, 3]), json!("misfit")]
    );
    assert_eq!(cast(&longs.slice(2, 2), "list<int8>"), [json!("misfit"), json!([])]);
    assert_eq!(cast(&longs.slice(1, 2), "fixed_size_list<int8>[2]"), [json!(null), json!("misfit")]);
    let fixed = lists("fixed_size_list<float64>[2]", &json!([[0.5, 1], [0.1, 1], null]));
    assert_eq!(cast(&fixed, "fixed_size_list<float32>[2]"), [json!([0.5, 1.0]), json!([0.1, 1.0]), json!(null)]);
    assert_eq!(
        cast_with(&fixed.slice(1, 2), "list<float32>", Floats::Exact),
        [json!("misfit"), json!(null)],
        "a table may say that floats are not rounded"
    );
    let large = lists("list<float64>", &json!([[1e39], [1, 2]]));
    assert_eq!(cast(&large, "list<float32>"), [json!("misfit"), json!([1.0, 2.0])], "never infinity, inside lists too");
    let vectors = lists("fixed_size_list<float32>[2]", &json!([[1, 2], null]));
    assert_eq!(
        cast(&vectors, "fixed_size_list<float32>[3]"),
        [json!("misfit"), json!(null)],
        "a vector of another length is a bad row"
    );
    let structs = lists("struct<b: int64, a: utf8>", &json!([{"a": "x", "b": 1}, null, {"a": "y", "b": 300}]));
    assert_eq!(
        cast(&structs, "struct<a: large_utf8, b: int8>"),
        [json!({"a": "x", "b": 1}), json!(null), json!("misfit")]
    );
    let partial = lists("struct<b: int64>", &json!([{"b": 1}, null]));
    assert_eq!(
        cast(&partial, "struct<a: utf8, b: float64>"),
        [json!({"a": null, "b": 1.0}), json!(null)],
        "a field that is not there is null"
    );
    let maps = lists("map<utf8, int64>", &json!([{"x": 1}, null, {"y": 300}]));
    assert_eq!(cast(&maps, "map<large_utf8, int8>"), [json!({"x": 1}), json!(null), json!("misfit")]);
    assert_eq!(cast(&maps.slice(2, 1), "map<utf8, int8>"), [json!("misfit")]);
    let keyed = lists("map<int64, utf8>", &json!([[[1, "x"]], [[300, "x"]], null]));
    assert_eq!(cast(&keyed, "map<int8, utf8>"), [json!([[1, "x"]]), json!("misfit"), json!(null)]);
    // Field names as other writers give them.
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    builder.keys().append_value("k");
    builder.values().append_value(7);
    builder.append(true).expect("as many keys as values");
    assert_eq!(cast(&array(builder.finish()), "map<utf8, int64>"), [json!({"k": 7})]);
    let named = Arc::new(arrow_schema::Field::new("element", DataType::Int64, false));
    let other = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)])]);
    let other = ListArray::try_new(named, other.offsets().clone(), other.values().clone(), None).expect("a list");
    assert_eq!(cast(&array(other), "list<int64>"), [json!([1])]);
}

#[test]
fn numbers_fit_each_other_where_each_value_survives() {
    let ints = array(Int64Array::from(vec![Some(12), Some((1 << 53) + 1), Some(-1), None]));
    assert_eq!(cast(&ints, "float64"), [json!(12.0), json!("misfit"), json!(-1.0), json!(null)]);
    assert_eq!(
        cast(&ints, "decimal128(10, 2)"),
        [json!("12.00"), json!("misfit"), json!("-1.00"), json!(null)],
        "whole amounts are amounts"
    );
    assert_eq!(cast(&array(Int64Array::from(vec![0, 1, 2])), "bool"), [json!(false), json!(true), json!("misfit")]);
    let flags = array(arrow_array::BooleanArray::from(vec![Some(true), None]));
    assert_eq!(cast(&flags, "int8"), [json!(1), json!(null)]);
    let halves = vec![Some(3.0), Some(0.5), Some(f64::NAN), Some(1e19), Some(f64::INFINITY), None, Some(-0.0)];
    let floats = array(Float64Array::from(halves));
    let misfit = || json!("misfit");
    assert_eq!(
        cast(&floats, "int64"),
        [json!(3), misfit(), misfit(), misfit(), misfit(), json!(null), misfit()],
        "nothing is cut, and NaN is no integer"
    );
    assert_eq!(cast(&floats, "uint64")[3], json!("10000000000000000000"));
    let cents = array(Float64Array::from(vec![1.5, 1.505, 0.1, 1e9, f64::NAN]));
    assert_eq!(
        cast(&cents, "decimal128(10, 2)"),
        [json!("1.50"), misfit(), json!("0.10"), misfit(), misfit()],
        "a float that comes back as it was is that amount"
    );
    let amounts = array(Decimal128Array::from(vec![100, 150]).with_precision_and_scale(10, 2).expect("fits"));
    assert_eq!(cast(&amounts, "int64"), [json!(1), misfit()]);
    assert_eq!(cast(&amounts, "float64"), [json!(1.0), json!(1.5)]);
    let wide = array(Int64Array::from(vec![(1 << 24) + 1]));
    assert_eq!(cast(&wide, "float32"), [misfit()], "an integer is never rounded");
}

#[test]
fn a_list_of_pairs_is_a_map() {
    let pairs =
        lists("large_list<struct<k: utf8, n: int8>>", &json!([[{"k": "a", "n": 1}, {"k": "b", "n": null}], [], null]));
    assert_eq!(cast(&pairs, "map<utf8, int64>"), [json!({"a": 1, "b": null}), json!({}), json!(null)]);
    let keyless = lists("list<struct<k: utf8, n: int8>>", &json!([[{"k": null, "n": 1}]]));
    let error =
        door_cast(&keyless, &parse_type("map<utf8, int64>").expect("a type"), Floats::Nearest).expect_err("no key");
    assert!(error.message().contains("a pair without a key"), "{error}");
}

#[test]
fn bytes_of_every_layout_are_bytes_of_every_other() {
    let plain = array(BinaryArray::from_opt_vec(vec![Some(b"abc"), None, Some(b"xyz")]));
    let longer = array(BinaryArray::from_opt_vec(vec![Some(b"abcd"), Some(b"xyz")]));
    for from in ["binary", "large_binary", "binary_view", "fixed_size_binary[3]"] {
        let given = door_cast(&plain, &parse_type(from).expect(from), Floats::Nearest).expect(from).values;
        for to in ["binary", "large_binary", "binary_view", "fixed_size_binary[3]"] {
            assert_eq!(cast(&given, to), [json!("YWJj"), json!(null), json!("eHl6")], "{from} as {to}");
        }
    }
    assert_eq!(cast(&longer, "fixed_size_binary[3]"), [json!("misfit"), json!("eHl6")]);
}

#[test]
fn dates_timestamps_and_their_texts_are_moments() {
    let misfit = || json!("misfit");
    let dates = array(Date32Array::from(vec![Some(1), None, Some(i32::MAX)]));
    assert_eq!(cast(&dates, "timestamp[us, UTC]"), [json!("1970-01-02T00:00:00Z"), json!(null), misfit()]);
    let millis = array(TimestampMillisecondArray::from(vec![86_400_000, 1, -86_400_000]).with_timezone("Asia/Tokyo"));
    assert_eq!(cast(&millis, "date32"), [json!("1970-01-02"), misfit(), json!("1969-12-31")]);
    assert_eq!(cast(&millis, "date64"), [json!("1970-01-02"), misfit(), json!("1969-12-31")]);
    let days = array(Date64Array::from(vec![86_400_000]));
    assert_eq!(cast(&days, "timestamp[ns]"), [json!("1970-01-02T00:00:00Z")]);
    let spelled = [
        "2025-06-02",
        "2025-06-02T00:00:00",
        "2025-06-02 00:00:00",
        "2025-06-02 00:00:00Z",
        "2025-06-02T02:00:00+0200",
        "2025-06-02T02:00+02:00",
        "2025-06-01T22:00:00.000-02",
        "2025-06-02 00:00:00.000000000000",
    ];
    let texts = array(StringArray::from_iter_values(spelled));
    for to in ["timestamp[us, UTC]", "timestamp[s]", "timestamp[ns, Europe/Berlin]"] {
        assert_eq!(cast(&texts, to), vec![json!("2025-06-02T00:00:00Z"); spelled.len()], "{to}");
    }
    assert_eq!(cast(&texts, "date32"), vec![json!("2025-06-02"); spelled.len()]);
    let wrong = [
        "",
        "2025",
        "2025-02-30",
        "2025-06-02T24:00:00",
        "2025-06-02T12:00:00.1234567Z",
        "2025-06-02T12:00:00.0000000001Z",
        "2025-06-02x",
        "2025-06-02T12:00:00+2",
        "2025-06-02T12:00:00+02:60",
        "2025-06-02T1200",
        "1700000000",
        "2025-06-02T",
    ];
    let texts = array(StringViewArray::from_iter_values(wrong));
    assert_eq!(cast(&texts, "timestamp[us, UTC]"), vec![misfit(); wrong.len()]);
    assert_eq!(
        cast(&array(StringArray::from(vec![Some("12:30"), Some("12:30:00.5"), None])), "time64[us]"),
        [json!("12:30:00"), json!("12:30:00.500"), json!(null)]
    );
}

#[test]
fn another_kind_is_refused_with_both_types() {
    let cases = [
        (
            array(StringArray::from(vec!["1"])),
            "int64",
            "has type utf8, but is declared as int64; cast it before sending",
        ),
        (array(Int64Array::from(vec![1])), "utf8", "has type int64, but is declared as utf8"),
        (array(StringArray::from(vec!["1"])), "binary", "has type utf8, but is declared as binary"),
        (
            array(Int64Array::from(vec![1])),
            "timestamp[us, UTC]",
            "has type int64, but is declared as timestamp[us, UTC]",
        ),
        (array(Int64Array::from(vec![1])), "duration[s]", "has type int64, but is declared as duration[s]"),
        (
            array(arrow_array::BooleanArray::from(vec![true])),
            "decimal128(10, 2)",
            "has type bool, but is declared as decimal128(10, 2)",
        ),
        (lists("list<utf8>", &json!([["a"]])), "list<int64>", "list item: has type utf8, but is declared as int64"),
        (lists("struct<a: utf8>", &json!([{"a": "x"}])), "struct<a: int64>", "struct field `a`: has type utf8"),
        (
            lists("struct<a: utf8, b: utf8, c: utf8>", &json!([{}])),
            "struct<a: utf8>",
            "has the struct fields `b`, `c`, which are not declared; those are `a`",
        ),
    ];
    for (given, to, expected) in cases {
        let error = door_cast(&given, &parse_type(to).expect(to), Floats::Nearest).expect_err(to);
        assert!(error.message().contains(expected), "{error}");
    }
    let given = array(Int64Array::from(vec![1, 300]));
    let whole =
        door_cast(&given, &DataType::Int8, Floats::Nearest).expect("numbers").into_whole(&given, &DataType::Int8);
    assert_eq!(whole.expect_err("300").message(), "row 1: 300 does not fit int8");
}

#[test]
fn a_column_of_the_type_is_not_copied() {
    let given = array(Float64Array::from(vec![1.0, 2.0]));
    let cast = door_cast(&given, &DataType::Float64, Floats::Exact).expect("the same");
    assert!(Arc::ptr_eq(&cast.values, &given) && cast.misfits.is_none());
}
