//! Tests of types by name.

use arrow_schema::{DataType, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::model::testing::{PLAIN_TYPES, any_type};

#[test]
fn every_spelling_of_pyarrow_is_taken_and_one_is_given() {
    let cases = [
        ("int64", "int64"),
        ("double", "float64"),
        ("float", "float32"),
        ("halffloat", "float16"),
        ("string", "utf8"),
        ("large_string", "large_utf8"),
        ("string_view", "utf8_view"),
        ("boolean", "bool"),
        ("date32", "date32[day]"),
        ("date32[day]", "date32[day]"),
        ("date64", "date64[ms]"),
        ("date64[ms]", "date64[ms]"),
        ("time32[ms]", "time32[ms]"),
        ("time64[us]", "time64[us]"),
        ("timestamp[us]", "timestamp[us]"),
        ("timestamp[us, tz=UTC]", "timestamp[us, UTC]"),
        ("timestamp[us,UTC]", "timestamp[us, UTC]"),
        ("timestamp[ns, tz=+02:00]", "timestamp[ns, +02:00]"),
        ("duration[us]", "duration[us]"),
        ("decimal128(10, 2)", "decimal128(10, 2)"),
        ("decimal(10,2)", "decimal128(10, 2)"),
        ("decimal256(76, 0)", "decimal256(76, 0)"),
        ("fixed_size_binary[16]", "fixed_size_binary[16]"),
        ("fixed_size_list<item: float>[256]", "fixed_size_list<float32>[256]"),
        ("list<item: string>", "list<utf8>"),
        ("list<element: int64>", "list<int64>"),
        ("list< list<utf8> >", "list<list<utf8>>"),
        ("struct<a: int64, b: string>", "struct<a: int64, b: utf8>"),
        ("struct<With Space: int64>", "struct<With Space: int64>"),
        ("map<string, int64>", "map<utf8, int64>"),
        ("map<string, list<item: double>, keys_sorted>", "map<utf8, list<float64>, keys_sorted>"),
        ("dictionary<values=string, indices=int32, ordered=0>", "dictionary<values=utf8, indices=int32>"),
    ];
    for (given, printed) in cases {
        let parsed = parse_type(given).unwrap_or_else(|error| panic!("{given}: {error}"));
        assert_eq!(print_type(&parsed), printed, "{given}");
        assert_eq!(parse_type(printed).expect(printed), parsed);
    }
    for text in PLAIN_TYPES {
        assert_eq!(print_type(&parse_type(text).expect(text)), text);
    }
    assert_eq!(
        parse_type("timestamp[us, UTC]").expect("a type"),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
}

#[test]
fn what_is_no_type_is_refused_with_the_reason() {
    let deep = format!("{}int64{}", "list<".repeat(TYPE_DEPTH_MAX), ">".repeat(TYPE_DEPTH_MAX));
    let long = "x".repeat(TYPE_BYTES_MAX + 1);
    let cases = [
        ("", "FirnDB stores no such type"),
        ("int", "type \"int\": FirnDB stores no such type"),
        ("null", "FirnDB stores no such type"),
        ("int64x", "FirnDB stores no such type"),
        ("int64 utf8", "unexpected `u` at byte 6"),
        ("timestamp", "expected `[` at byte 9, found the end"),
        ("timestamp[day]", "`day` is no unit of timestamp; it takes s, ms, us, ns"),
        ("timestamp[us, ]", "expected a time zone"),
        ("time32[us]", "it takes s, ms"),
        ("time64[ms]", "it takes us, ns"),
        ("decimal128(39, 0)", "the precision of decimal128 is 1 to 38, not 39"),
        ("decimal128(10, 11)", "the scale is 0 to the precision 10, not 11"),
        ("decimal128(300)", "`300` is no precision"),
        ("fixed_size_binary[0]", "a width is 1 to 65536, not 0"),
        ("fixed_size_list<float32>[-1]", "a length is 1 to 65536, not -1"),
        ("list<int64", "expected `>` at byte 10, found the end"),
        ("list<int64 not null>", "leave out `not null`"),
        ("struct<>", "expected the name of a field"),
        ("struct<a: int64, a: utf8>", "the field `a` appears twice"),
        ("map<list<utf8>, int64>", "the key of a map is a plain type, not list<utf8>"),
        ("dictionary<values=utf8, indices=int8>", "indices of int8 are too few"),
        ("dictionary<values=utf8, indices=int32, ordered=1>", "a dictionary is unordered"),
        ("dictionary<values=list<utf8>, indices=int32>", "a dictionary of list<utf8> is not stored"),
        (deep.as_str(), "nested more than 8 deep"),
        (long.as_str(), "at most 4096 are allowed"),
    ];
    for (text, expected) in cases {
        let error = parse_type(text).expect_err(text);
        assert!(error.message().contains(expected), "{text}: {error}");
    }
}

#[test]
fn widening_keeps_every_value() {
    let yes = [
        ("int8", "int64"),
        ("uint8", "int16"),
        ("uint32", "uint64"),
        ("int32", "float64"),
        ("uint32", "float64"),
        ("int16", "float32"),
        ("float16", "float32"),
        ("float32", "float64"),
        ("decimal128(10, 2)", "decimal128(12, 2)"),
        ("decimal128(38, 2)", "decimal256(40, 2)"),
        ("utf8", "large_utf8"),
        ("binary", "large_binary"),
        ("date32", "date64"),
        ("list<int32>", "list<int64>"),
        ("list<utf8>", "large_list<utf8>"),
        ("fixed_size_list<float32>[3]", "fixed_size_list<float64>[3]"),
        ("struct<a: int8, b: utf8>", "struct<a: int64, b: utf8>"),
    ];
    let no = [
        ("int64", "int32"),
        ("int64", "float64"),
        ("int32", "float32"),
        ("int8", "uint64"),
        ("uint64", "int64"),
        ("float64", "float32"),
        ("decimal128(10, 2)", "decimal128(12, 3)"),
        ("decimal128(12, 2)", "decimal128(10, 2)"),
        ("utf8", "binary"),
        ("large_utf8", "utf8"),
        ("int64", "utf8"),
        ("timestamp[s]", "timestamp[us]"),
        ("fixed_size_list<float32>[3]", "fixed_size_list<float32>[4]"),
        ("struct<a: int8>", "struct<b: int16>"),
        ("int64", "int64"),
    ];
    let parse = |text| parse_type(text).expect(text);
    for (from, to) in yes {
        assert!(can_widen(&parse(from), &parse(to)), "{from} to {to}");
        assert!(arrow_cast::can_cast_types(&stored_type(&parse(from)), &stored_type(&parse(to))), "{from} to {to}");
    }
    for (from, to) in no {
        assert!(!can_widen(&parse(from), &parse(to)), "{from} to {to}");
    }
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(data_type in any_type()) {
        let text = print_type(&data_type);
        prop_assert_eq!(parse_type(&text).map_err(|error| TestCaseError::fail(error.to_string()))?, data_type);
    }

    #[test]
    fn any_text_is_a_type_or_an_error(text in "[a-z0-9_<>\\[\\](), :=]{0,60}") {
        if let Ok(data_type) = parse_type(&text) {
            prop_assert_eq!(parse_type(&print_type(&data_type)).map_err(|error| TestCaseError::fail(error.to_string()))?, data_type);
        }
    }

    #[test]
    fn stored_types_are_plain_and_come_back_as_declared(data_type in any_type()) {
        let stored = stored_type(&data_type);
        prop_assert_eq!(stored_type(&stored), stored.clone());
        let array = arrow_array::new_null_array(&stored, 3);
        let declared = as_declared(array, &data_type).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(declared.data_type(), &data_type);
    }
}
