//! Tests of values as JSON.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::testing::{any_json, any_type};
use crate::model::types::parse_type;

#[test]
fn values_have_one_form() {
    let cases = [
        ("bool", json!(true), json!(true)),
        ("int64", json!(5), json!(5)),
        ("int64", json!("5"), json!(5)),
        ("int64", json!("9007199254740993"), json!("9007199254740993")),
        ("uint64", json!("18446744073709551615"), json!("18446744073709551615")),
        ("float64", json!(1), json!(1.0)),
        ("float64", json!("NaN"), json!("NaN")),
        ("float64", json!("1.5e3"), json!(1500.0)),
        ("float32", json!(0.1), json!(0.1)),
        ("float32", json!("-Infinity"), json!("-Infinity")),
        ("decimal128(10, 2)", json!("12.5"), json!("12.50")),
        ("decimal128(10, 2)", json!("-0012.500"), json!("-12.50")),
        ("decimal128(10, 2)", json!(7), json!("7.00")),
        ("decimal128(38, 38)", json!("0.5"), json!("0.50000000000000000000000000000000000000")),
        ("utf8", json!("a"), json!("a")),
        ("binary", json!("AAE="), json!("AAE=")),
        ("fixed_size_binary[2]", json!("AAE="), json!("AAE=")),
        ("date32", json!("2026-01-31"), json!("2026-01-31")),
        ("date64", json!("1969-12-31"), json!("1969-12-31")),
        ("time32[s]", json!("23:59:59"), json!("23:59:59")),
        ("time64[us]", json!("00:00:00.000001"), json!("00:00:00.000001")),
        ("timestamp[us, UTC]", json!("2026-01-31T12:00:00+02:00"), json!("2026-01-31T10:00:00Z")),
        ("timestamp[us]", json!("1969-12-31T23:59:59.999999"), json!("1969-12-31T23:59:59.999999Z")),
        ("timestamp[s]", json!({"us": -5_000_000}), json!("1969-12-31T23:59:55Z")),
        ("timestamp[ns]", json!("1970-01-01T00:00:00.000000001Z"), json!("1970-01-01T00:00:00.000000001Z")),
        ("duration[s]", json!("2h"), json!("2h")),
        ("duration[us]", json!({"us": -90_000_000}), json!("-90s")),
        ("duration[ns]", json!("5ns"), json!("5ns")),
        ("list<int64>", json!([1, null, "3"]), json!([1, null, 3])),
        ("fixed_size_list<float32>[2]", json!([0.5, 1.5]), json!([0.5, 1.5])),
        ("struct<a: int64, b: utf8>", json!({"b": "x"}), json!({"a": null, "b": "x"})),
        ("map<utf8, int64>", json!({"x": 1, "y": null}), json!({"x": 1, "y": null})),
        ("map<utf8, int64>", json!([["x", 1], ["x", 2]]), json!([["x", 1], ["x", 2]])),
        ("map<int64, int64>", json!({"1": 1}), json!([[1, 1]])),
        ("dictionary<values=utf8, indices=int32>", json!("a"), json!("a")),
        ("utf8_view", json!("a"), json!("a")),
        ("int64", json!(null), json!(null)),
    ];
    for (data_type, given, printed) in cases {
        let data_type = parse_type(data_type).expect(data_type);
        let array = one_from_json(&given, &data_type).unwrap_or_else(|error| panic!("{given}: {error}"));
        assert_eq!(array.data_type(), &data_type);
        assert_eq!(to_json(&array, 0).expect("a value has a JSON form"), printed, "{data_type}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_form() {
    let cases = [
        ("bool", json!(1), "1 is no bool; write true or false"),
        ("int8", json!(128), "128 is no int8; write a whole number in its range"),
        ("int64", json!(1.5), "is no int64"),
        ("int64", json!("x"), "is no int64"),
        ("uint8", json!(-1), "is no uint8"),
        ("float64", json!("inf"), "write a number in its range"),
        ("float64", json!([1]), "write a number in its range"),
        ("float32", json!(1e300), "write a number in its range"),
        ("decimal128(4, 2)", json!("123.45"), "within its precision and scale"),
        ("decimal128(4, 2)", json!("1.234"), "within its precision and scale"),
        ("decimal128(4, 2)", json!(1.5), "write a string such as \"12.50\""),
        ("decimal128(4, 2)", json!("1e1"), "write a string such as \"12.50\""),
        ("utf8", json!(5), "5 is no utf8; write a string"),
        ("binary", json!("%"), "write a base64 string"),
        ("fixed_size_binary[2]", json!("AA=="), "of exactly its bytes"),
        ("date32", json!("31.1.2026"), "write a string such as \"2026-01-31\""),
        ("time32[s]", json!("12:00:00.5"), "whole in its unit"),
        ("timestamp[s]", json!("1970-01-01T00:00:00.5Z"), "whole in its unit"),
        ("timestamp[us, UTC]", json!("31.1.2026"), "RFC 3339"),
        ("timestamp[us, UTC]", json!({"us": 1, "x": 2}), "RFC 3339"),
        ("duration[s]", json!("100ms"), "whole in its unit"),
        ("list<int64>", json!({}), "write an array"),
        ("list<int64>", json!(["x"]), "is no int64"),
        ("fixed_size_list<float32>[2]", json!([1.0]), "of exactly its length"),
        ("struct<a: int64>", json!({"b": 1}), "a struct has no field `b`; its fields are a"),
        ("map<utf8, int64>", json!([["x"]]), "write an object or an array of pairs"),
        ("map<utf8, int64>", json!([[null, 1]]), "the key of a map is never null"),
    ];
    for (data_type, given, expected) in cases {
        let error = one_from_json(&given, &parse_type(data_type).expect(data_type)).expect_err(data_type);
        assert!(error.message().contains(expected), "{data_type}: {error}");
    }
}

#[test]
fn durations_are_whole_numbers_with_a_unit() {
    let cases = [
        ("100ms", 100_000),
        ("90s", 90_000_000),
        ("15m", 900_000_000),
        ("2h", 7_200_000_000),
        ("30d", 2_592_000_000_000),
    ];
    for (text, micros) in cases {
        assert_eq!(parse_duration(text).expect(text), micros);
        assert_eq!(parse_duration(&print_duration(micros)).expect(text), micros);
    }
    assert_eq!(print_duration(90_000_000), "90s");
    assert_eq!(print_duration(120_000_000), "2m");
    assert_eq!(print_duration(7), "7us");
    assert_eq!(print_duration(0), "0s");
    for wrong in ["", "5", "s", "1.5h", "-1s", "1w", "5ns", "1 h", "99999999999999999999d"] {
        let error = parse_duration(wrong).expect_err(wrong);
        assert!(error.message().contains("is no duration"), "{error}");
    }
    assert!(parse_duration("106751992d").expect_err("too long").message().contains("too long"));
}

#[test]
fn times_are_iso_8601_or_microseconds() {
    assert_eq!(parse_time(&json!("1970-01-01T00:00:01Z")).expect("a time"), 1_000_000);
    assert_eq!(parse_time(&json!({"us": -7})).expect("a time"), -7);
    assert_eq!(parse_time(&json!({"us": "9007199254740993"})).expect("a time"), 9_007_199_254_740_993);
    assert_eq!(parse_time(&json!("1970-01-02")).expect("a date is its midnight"), 86_400_000_000);
    assert_eq!(parse_time(&json!("1970-01-01 02:00:01+0200")).expect("a time"), 1_000_000);
    assert_eq!(print_time(-1), json!("1969-12-31T23:59:59.999999Z"));
    assert_eq!(parse_time(&print_time(i64::MAX)).expect("a time"), i64::MAX);
    for wrong in [json!("2013-1-5"), json!(5), json!({"us": 1.5}), json!({}), json!(null)] {
        assert!(parse_time(&wrong).expect_err("no time").message().contains("is no time; write RFC 3339"));
    }
    let error = parse_time(&json!("1970-01-01T00:00:00.0000001Z")).expect_err("not whole");
    assert!(error.message().contains("not whole microseconds"));
}

proptest! {
    #[test]
    fn values_survive_json((data_type, value) in any_type().prop_flat_map(|data_type| {
        let value = any_json(&data_type);
        (Just(data_type), value)
    })) {
        let fail = |error: Error| TestCaseError::fail(error.to_string());
        let array = one_from_json(&value, &data_type).map_err(fail)?;
        prop_assert_eq!(array.data_type(), &data_type);
        let printed = to_json(&array, 0).map_err(fail)?;
        // Through text, as it is stored.
        let text: Value = serde_json::from_str(&printed.to_string()).expect("JSON");
        let again = one_from_json(&text, &data_type).map_err(fail)?;
        prop_assert_eq!(format!("{again:?}"), format!("{array:?}"));
    }

    #[test]
    fn durations_survive_printing(micros in 0..i64::MAX) {
        prop_assert_eq!(parse_duration(&print_duration(micros)).ok(), Some(micros));
    }
}
