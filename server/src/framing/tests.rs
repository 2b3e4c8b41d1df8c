//! What is encoded decodes to the same rows within the limit; what is hostile is an error, never a crash.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float32Array, Int64Array, LargeListArray, NullArray, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray, UInt8Array,
};
use arrow_flight::FlightData;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use rand::{Rng, SeedableRng};
use tonic::{Code, Status};

use super::*;
use crate::config::{Config, Limits};

fn limits() -> Limits {
    Config::new("unused").limits
}

fn rows(count: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..count).map(|row| (row % 7 != 0).then_some(row))));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|row| "x".repeat(row as usize % 50))));
    let views: ArrayRef =
        Arc::new(StringViewArray::from_iter_values((0..count).map(|row| "v".repeat(row as usize % 40))));
    let words: DictionaryArray<Int32Type> =
        (0..count).map(|row| ["never", "value", "null"][row as usize % 3]).collect();
    let lists =
        LargeListArray::from_iter_primitive::<Int32Type, _, _>((0..count).map(|row| Some(vec![Some(row as i32); 3])));
    RecordBatch::try_from_iter([
        ("numbers", numbers),
        ("texts", texts),
        ("views", views),
        ("words", Arc::new(words) as ArrayRef),
        ("lists", Arc::new(lists) as ArrayRef),
    ])
    .unwrap()
}

fn encode(batches: &[RecordBatch], message_bytes_max: usize) -> Result<Vec<FlightData>, Status> {
    let mut encoder = Encoder::new(batches[0].schema(), message_bytes_max);
    let mut messages = vec![encoder.schema_message()];
    for batch in batches {
        let mut row = 0;
        loop {
            let encoded = encoder.next(batch, row)?;
            messages.extend(encoded.dictionaries);
            messages.push(encoded.message);
            row += encoded.rows;
            if row == batch.num_rows() {
                break;
            }
        }
    }
    Ok(messages)
}

fn decode(messages: Vec<FlightData>, limits: Limits) -> Result<Vec<RecordBatch>, Status> {
    let mut decoder = Decoder::new(Arc::new(limits));
    let mut batches = Vec::new();
    for message in messages {
        if let Decoded::Batch(batch) = decoder.decode(message)? {
            batches.push(batch);
        }
    }
    Ok(batches)
}

#[test]
fn rows_survive_and_every_message_is_below_the_limit() {
    for most in [4096, 16 << 10, 4 << 20] {
        let batches = [rows(5000), rows(0), rows(3)];
        let messages = encode(&batches, most).unwrap();
        for message in &messages {
            assert!(message.data_header.len() + message.data_body.len() < most);
        }
        let decoded = decode(messages, limits()).unwrap();
        let whole =
            |batches: &[RecordBatch]| arrow_select::concat::concat_batches(&batches[0].schema(), batches).unwrap();
        assert_eq!(whole(&decoded), whole(&batches));
        assert!(decoded.iter().any(|batch| batch.num_rows() == 0), "zero rows make a message");
    }
}

#[test]
fn a_small_batch_is_one_message_and_an_unchanged_dictionary_goes_once() {
    let messages = encode(&[rows(100), rows(100)], 4 << 20).unwrap();
    assert_eq!(messages.len(), 4, "schema, dictionary, two batches");
}

#[test]
fn plain_batches_are_framed_as_the_stock_generator_does() {
    for count in [0, 1, 7, 8, 63, 64, 65, 1000] {
        let columns: [(&str, ArrayRef); 4] = [
            ("a", Arc::new(Int64Array::from_iter_values(0..count))),
            ("b", Arc::new(Float32Array::from_iter_values((0..count).map(|row| row as f32)))),
            ("c", Arc::new(UInt8Array::from_iter_values((0..count).map(|row| row as u8)))),
            ("d", Arc::new(TimestampMicrosecondArray::from_iter_values(0..count).with_timezone("UTC"))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut encoder = Encoder::new(batch.schema(), 4 << 20);
        let messages = [encoder.schema_message(), encoder.next(&batch, 0).unwrap().message];
        let stock = stock(&batch, &IpcWriteOptions::default());
        assert_eq!(messages[1].data_body, stock[1].data_body);
        assert_eq!(decode(messages.to_vec(), limits()).unwrap(), [batch]);
    }
}

#[test]
fn large_messages_are_filled_well() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4_000_000));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let messages = encode(&[batch.slice(1_000_000, 1_000_000)], 4 << 20).unwrap();
    assert_eq!(messages.len(), 3, "schema and two messages for 8 MB");
}

#[test]
fn a_row_too_large_is_an_error_and_the_stream_goes_on() {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(["a".repeat(9000)]));
    let large = RecordBatch::try_from_iter([("n", texts)]).unwrap();
    let mut encoder = Encoder::new(large.schema(), 4096);
    encoder.schema_message();
    let error = encoder.next(&large, 0).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().contains("max_message_bytes"), "{error}");
    let small =
        RecordBatch::try_from_iter([("n", Arc::new(StringArray::from_iter_values(["a"])) as ArrayRef)]).unwrap();
    assert_eq!(encoder.next(&small, 0).unwrap().rows, 1);
}

fn compressed(batch: &RecordBatch, compression: CompressionType) -> Vec<FlightData> {
    stock(batch, &IpcWriteOptions::default().try_with_compression(Some(compression)).unwrap())
}

/// What the stock generator makes of a batch.
fn stock(batch: &RecordBatch, options: &IpcWriteOptions) -> Vec<FlightData> {
    let mut tracker = DictionaryTracker::new(false);
    let generator = IpcDataGenerator::default();
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, options);
    let mut context = IpcWriteContext::default();
    let (dictionaries, data) = generator.encode(batch, &mut tracker, options, &mut context).unwrap();
    [schema].into_iter().chain(dictionaries).chain([data]).map(FlightData::from).collect()
}

#[test]
fn compressed_messages_are_read_and_bombs_are_refused_before_decoding() {
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 1_000_000]));
    let batch = RecordBatch::try_from_iter([("n", zeros)]).unwrap();
    for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let messages = compressed(&batch, compression);
        assert!(messages[1].data_body.len() < 100_000);
        assert_eq!(decode(messages.clone(), limits()).unwrap(), std::slice::from_ref(&batch));
        let error = decode(messages, Limits { decoded_bytes_max: 1 << 20, ..limits() }).unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        assert!(error.message().contains("decoded-bytes-max"));
    }
}

#[test]
fn one_long_value_behind_many_keys_or_views_is_refused() {
    let long = "x".repeat(1 << 20);
    let keys: DictionaryArray<Int32Type> = std::iter::repeat_n(long.as_str(), 10_000).collect();
    let dictionary = RecordBatch::try_from_iter([("n", Arc::new(keys) as ArrayRef)]).unwrap();
    let one = StringViewArray::from_iter_values([long.as_str()]);
    let views =
        StringViewArray::try_new(vec![one.views()[0]; 10_000].into(), one.data_buffers().to_vec(), None).unwrap();
    let views = RecordBatch::try_from_iter([("n", Arc::new(views) as ArrayRef)]).unwrap();
    for batch in [dictionary, views] {
        let messages = compressed(&batch, CompressionType::LZ4_FRAME);
        let error = decode(messages, limits()).unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    }
}

#[test]
fn limits_of_rows_columns_and_depth_are_named() {
    let nulls = RecordBatch::try_from_iter([("n", Arc::new(NullArray::new(1000)) as ArrayRef)]).unwrap();
    let messages = |batch: &RecordBatch| compressed(batch, CompressionType::ZSTD);
    let error = decode(messages(&nulls), Limits { message_rows_max: 999, ..limits() }).unwrap_err();
    assert!(error.message().contains("message-rows-max"), "{error}");
    let error = decode(messages(&rows(1)), Limits { columns_max: 5, ..limits() }).unwrap_err();
    assert!(error.message().contains("columns-max"), "{error}");
    let error = decode(messages(&rows(1)), Limits { depth_max: 1, ..limits() }).unwrap_err();
    assert!(error.message().contains("depth-max"), "{error}");
}

/// What the messages hold, one by one up to the first error.
fn decode_singly(messages: &[FlightData]) -> (Vec<RecordBatch>, Option<String>) {
    let mut decoder = Decoder::new(Arc::new(limits()));
    let mut batches = Vec::new();
    for message in messages {
        match decoder.decode(message.clone()) {
            Ok(Decoded::Batch(batch)) => batches.push(batch),
            Ok(_) => {}
            Err(status) => return (batches, Some(status.to_string())),
        }
    }
    (batches, None)
}

/// The same by way of [`Decoder::decode_together`], cut into what each message held.
fn decode_together(messages: &[FlightData]) -> (Vec<RecordBatch>, Option<String>) {
    let mut decoder = Decoder::new(Arc::new(limits()));
    let Err(status) = decoder.decode(messages[0].clone()) else {
        let mut messages = messages[1..].to_vec().into();
        let mut batches = Vec::new();
        loop {
            let (together, end) = decoder.decode_together(&mut messages);
            for together in together {
                assert_eq!(together.lengths.iter().sum::<usize>(), together.rows.num_rows());
                batches.extend(together.parts());
            }
            if end.is_err() || messages.is_empty() {
                return (batches, end.err().map(|status| status.to_string()));
            }
        }
    };
    (Vec::new(), Some(status.to_string()))
}

fn plain_rows(from: i64, count: i64) -> RecordBatch {
    let floats = (from..from + count).map(|row| row as f32 / 3.0);
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("key", Arc::new(Int64Array::from_iter_values(from..from + count)), true),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(from..from + count).with_timezone("UTC")), true),
        ("value", Arc::new(Float32Array::from_iter_values(floats)), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn small_messages_decode_together_to_the_rows_of_each() {
    let with_null = |row: i64| {
        let mut columns = plain_rows(row, 2).columns().to_vec();
        columns[2] = Arc::new(Float32Array::from(vec![None, Some(row as f32)]));
        RecordBatch::try_new(plain_rows(0, 1).schema(), columns).unwrap()
    };
    let streams = [
        vec![plain_rows(0, 1), plain_rows(7, 3), plain_rows(9, 0), plain_rows(2, 60)],
        vec![plain_rows(0, 1), with_null(4), plain_rows(2, 5)],
        vec![plain_rows(0, 400), plain_rows(0, 400)],
        vec![rows(3), rows(0), rows(1), rows(40)],
    ];
    for batches in streams {
        let messages = encode(&batches, 1 << 20).unwrap();
        assert_eq!(decode_together(&messages), decode_singly(&messages));
        assert_eq!(decode_singly(&messages).0.len(), batches.len());
    }
}

#[test]
fn few_rows_become_one_batch_and_many_do_not() {
    let count = |batches: &[RecordBatch]| {
        let messages = encode(batches, 1 << 20).unwrap();
        let mut decoder = Decoder::new(Arc::new(limits()));
        decoder.decode(messages[0].clone()).unwrap();
        decoder.decode_together(&mut messages[1..].to_vec().into()).0.len()
    };
    assert_eq!(count(&[plain_rows(0, 1), plain_rows(1, 1), plain_rows(2, 510)]), 1);
    assert_eq!(count(&[plain_rows(0, 1), plain_rows(1, 1), plain_rows(2, 511)]), 3);
    assert_eq!(count(&[rows(1), rows(2)]), 1);
}

/// One long value behind few keys is small in a message and large as rows: many such messages are not one batch.
#[test]
fn what_grows_when_it_is_decoded_is_not_put_together() {
    let long = "x".repeat(300 << 10);
    let words: DictionaryArray<Int32Type> = std::iter::repeat_n(long.as_str(), 2).collect();
    let batch = RecordBatch::try_from_iter([("words", Arc::new(words) as ArrayRef)]).unwrap();
    let messages = encode(&vec![batch; 6], 1 << 20).unwrap();
    let mut decoder = Decoder::new(Arc::new(limits()));
    decoder.decode(messages[0].clone()).unwrap();
    let mut messages: std::collections::VecDeque<_> = messages[1..].to_vec().into();
    let (together, end) = decoder.decode_together(&mut messages);
    end.unwrap();
    assert!(together.iter().all(|together| together.lengths.len() == 1), "each goes by itself");
    assert!(!messages.is_empty(), "and not all of them are held at once");
}

#[test]
fn damaged_messages_are_errors_never_panics() {
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    let whole = [
        compressed(&rows(40), CompressionType::LZ4_FRAME),
        encode(&[rows(40)], 1 << 20).unwrap(),
        encode(&[plain_rows(0, 3), plain_rows(5, 1), plain_rows(3, 9)], 1 << 20).unwrap(),
    ];
    std::panic::set_hook(Box::new(|_| {}));
    for round in 0..6000 {
        let mut messages = whole[round % 3].clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..messages.len());
            let message = &mut messages[at];
            let part = if random.random_bool(0.7) { &mut message.data_header } else { &mut message.data_body };
            if part.is_empty() {
                continue;
            }
            let mut bytes = part.to_vec();
            let place = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[place] ^= 1 << random.random_range(0..8),
                1 => bytes[place] = [0, 0x7f, 0x80, 0xff][random.random_range(0..4)],
                _ => bytes.truncate(place),
            }
            *part = bytes.into();
        }
        // Damage may go unnoticed (a changed value); all that counts is that it comes back, and the same both ways.
        assert_eq!(decode_together(&messages), decode_singly(&messages), "round {round}");
    }
    let _ = std::panic::take_hook();
}
