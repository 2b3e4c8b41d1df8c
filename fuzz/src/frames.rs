//! Arrow IPC frames: any bytes as the messages of a stream of rows.
//!
//! An input is headers and bodies in turn (`parts.rs`). What decodes fits the limits, is the same after it was framed
//! and decoded again, and goes through the door of a table, where what is proven is the same after the log's codec.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use arrow_flight::FlightData;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema};
use firn_server::framing::{Decoded, Decoder, Encoder, Together};
use firn_storage::model::batch::{Verb, WriteBatch};
use firn_storage::model::catalog::Catalog;
use firn_storage::model::prove::prove;
use tonic::{Code, Status};

use crate::commands::limits;
use crate::sample::{NOW, flight_rows, request, weather_rows};
use crate::{Verdict, commands, parts};

/// Messages of one input.
const MESSAGES_MAX: usize = 8;
/// Bytes of a message when it is framed again.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let parts = parts::split(bytes, 2 * MESSAGES_MAX);
    let message = |pair: &[&[u8]]| FlightData {
        data_header: pair[0].to_vec().into(),
        data_body: pair.get(1).map_or(&[][..], |body| body).to_vec().into(),
        ..FlightData::default()
    };
    together(&parts.chunks(2).map(message).collect::<Vec<_>>());
    match decode(parts.chunks(2).map(message)) {
        Ok(batches) => {
            commands::with_catalog(|catalog| batches.iter().for_each(|batch| check(batch, catalog)));
            if batches.is_empty() { Verdict::Refused } else { Verdict::Accepted }
        }
        Err(status) => {
            refused(&status);
            Verdict::Refused
        }
    }
}

fn decode(messages: impl Iterator<Item = FlightData>) -> Result<Vec<RecordBatch>, Status> {
    let mut decoder = Decoder::new(Arc::new(limits()));
    let mut batches = Vec::new();
    for message in messages {
        if let Decoded::Batch(batch) = decoder.decode(message)? {
            assert!(batch.num_rows() as u64 <= limits().message_rows_max, "more rows than a message may have");
            batches.push(batch);
        }
    }
    Ok(batches)
}

/// Messages that are decoded together hold what they hold one by one.
fn together(messages: &[FlightData]) {
    let Some((schema, messages)) = messages.split_first() else { return };
    let mut decoder = Decoder::new(Arc::new(limits()));
    let mut singly = Decoder::new(Arc::new(limits()));
    if decoder.decode(schema.clone()).is_err() || singly.decode(schema.clone()).is_err() {
        return;
    }
    let mut left = messages.to_vec().into();
    let (mut together, mut end) = decoder.decode_together(&mut left);
    while end.is_ok() && !left.is_empty() {
        let (more, next) = decoder.decode_together(&mut left);
        together.extend(more);
        end = next;
    }
    let mut parts = together.iter().flat_map(Together::parts);
    for message in messages {
        match singly.decode(message.clone()) {
            Ok(Decoded::Batch(batch)) => assert!(parts.next() == Some(batch), "other rows when decoded together"),
            Ok(_) => {}
            Err(status) => {
                assert_eq!(end.as_ref().err().map(Status::message), Some(status.message()));
                assert!(parts.next().is_none(), "rows after the message that cannot be read");
                return;
            }
        }
    }
    assert!(end.is_ok() && parts.next().is_none(), "more when decoded together");
}

fn refused(status: &Status) {
    assert!(matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted), "{status:?}");
    assert!(!status.message().is_empty(), "{status:?}");
}

fn check(batch: &RecordBatch, catalog: &Catalog) {
    framed_again(batch);
    for table in ["weather", "flights"] {
        for verb in [Verb::Write, Verb::Delete, Verb::Retract { features: Vec::new() }] {
            let mut request = request(table, verb);
            request.report_bad_rows = true;
            let proven = match prove(catalog, &request, batch, NOW) {
                Ok(proven) => proven,
                Err(error) => {
                    assert!(!error.message().is_empty());
                    continue;
                }
            };
            let logged = proven.batch.encode().expect("what is proven can be logged");
            let read = WriteBatch::decode(&logged).expect("what was logged can be read");
            assert!(read.encode().expect("what was read can be logged") == logged, "the log holds another batch");
        }
    }
}

/// Frames a batch as an answer and decodes it.
fn framed_again(batch: &RecordBatch) {
    let mut encoder = Encoder::new(batch.schema(), MESSAGE_BYTES_MAX);
    let mut messages = vec![encoder.schema_message()];
    let mut row = 0;
    loop {
        let encoded = match encoder.next(batch, row) {
            Ok(encoded) => encoded,
            // A row may be too large for a message.
            Err(status) => return refused(&status),
        };
        messages.extend(encoded.dictionaries);
        messages.push(encoded.message);
        row += encoded.rows;
        if row >= batch.num_rows() {
            break;
        }
    }
    match decode(messages.into_iter()) {
        Ok(again) => {
            let rows: usize = again.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows, batch.num_rows());
            let mut from = 0;
            for part in again {
                let same = part == batch.slice(from, part.num_rows());
                assert!(same || has_empty_zone(batch), "framed again, the rows are others: {part:?} of {batch:?}");
                from += part.num_rows();
            }
        }
        // Views that share bytes and sliced dictionaries may take more when they stand alone.
        Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
    }
}

/// An empty time zone means none, and is framed as none.
fn has_empty_zone(batch: &RecordBatch) -> bool {
    format!("{:?}", batch.schema()).contains("Some(\"\")")
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let weather = weather_rows(0, 9);
    let plain = [weather.clone(), flight_rows(3, 5), cast(&weather)];
    let none = IpcWriteOptions::default();
    let compressed = |compression| {
        let options = IpcWriteOptions::default().try_with_compression(Some(compression));
        options.expect("both compressions are built in")
    };
    let mut seeds: Vec<Vec<u8>> = plain.iter().map(|batch| frames(batch, &none)).collect();
    seeds.push(frames(&weather_rows(0, 40), &compressed(CompressionType::LZ4_FRAME)));
    seeds.push(frames(&flight_rows(0, 40), &compressed(CompressionType::ZSTD)));
    seeds
}

/// The same rows with other types of text.
fn cast(batch: &RecordBatch) -> RecordBatch {
    let texts: &StringArray = batch.column(0).as_any().downcast_ref().expect("text");
    let sky: &StringArray = batch.column(3).as_any().downcast_ref().expect("text");
    let dictionary: DictionaryArray<Int32Type> = sky.iter().collect();
    let views: StringViewArray = texts.iter().collect();
    let large: LargeStringArray = sky.iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("origin", Arc::new(views)),
        ("observed", Arc::clone(batch.column(1))),
        ("sky", Arc::new(dictionary)),
        ("temp", Arc::new(large)),
    ];
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<Field>>());
    assert!(matches!(schema.field(2).data_type(), DataType::Dictionary(..)));
    RecordBatch::try_new(Arc::new(schema), columns.map(|(_, column)| column).to_vec()).expect("columns of one length")
}

/// A stream of one batch.
fn frames(batch: &RecordBatch, options: &IpcWriteOptions) -> Vec<u8> {
    let mut tracker = DictionaryTracker::new(false);
    let generator = IpcDataGenerator::default();
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, options);
    let mut context = IpcWriteContext::default();
    let (dictionaries, data) =
        generator.encode(batch, &mut tracker, options, &mut context).expect("the sample can be framed");
    let messages = [schema].into_iter().chain(dictionaries).chain([data]).map(FlightData::from);
    let parts: Vec<Vec<u8>> =
        messages.flat_map(|message| [message.data_header.to_vec(), message.data_body.to_vec()]).collect();
    parts::join(&parts)
}
