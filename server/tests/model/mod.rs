//! What is declared and what may be stored, through the wire: keys, row ids, values, names.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{
    ArrayRef, Decimal128Array, Int64Array, NullArray, RecordBatch, StringArray, Time32SecondArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::DataType;
use firn_client::wire::Acknowledgement;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{Harness, messages, times};

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, array)| (*name, Arc::clone(array), true)))
        .unwrap()
}

fn ids(values: &[u64]) -> ArrayRef {
    Arc::new(UInt64Array::from(values.to_vec()))
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn column<'a>(batches: &'a [RecordBatch], name: &str) -> &'a ArrayRef {
    batches[0].column_by_name(name).unwrap()
}

async fn put(harness: &Harness, command: Value, batch: RecordBatch) -> Result<Acknowledgement, Status> {
    let (mut acknowledged, error) = harness.put(messages(&command, &[batch]).await).await;
    match error {
        Some(status) => Err(status),
        None => Ok(acknowledged.pop().expect("one batch has one acknowledgement")),
    }
}

/// Users by a `uint64`, with calls that have one as their row id.
async fn calls(harness: &Harness) {
    let key = json!([{"name":"user","type":"uint64"}]);
    harness.act("create_entity", json!({"entity":"user","key":key})).await.unwrap();
    let table = json!({"table":"calls","entity":"user","event_time":"at","max_future_skew":"none",
        "row_id":[{"name":"call","type":"uint64"}],"features":[{"name":"seconds","type":"int64"}]});
    harness.act("create_table", table).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uint64_key_takes_every_uint64_and_gives_it_back() {
    let harness = Harness::start().await;
    calls(&harness).await;
    const USERS: [u64; 5] = [0, i64::MAX as u64, 1 << 63, (1 << 63) + 1, u64::MAX];
    for (hour, compact) in [(1, false), (2, true)] {
        let hours = times(&[hour; 5]);
        // Of two calls at one moment the greater row id wins, also across the middle of the numbers.
        for (call, seconds) in [(u64::MAX - 5, 100), (5, 200)] {
            let rows = batch(&[
                ("user", ids(&USERS)),
                ("at", Arc::clone(&hours)),
                ("call", ids(&USERS.map(|user| call ^ (user & 1)))),
                ("seconds", numbers(&[0, 1, 2, 3, 4].map(|place| seconds + hour + place))),
            ]);
            put(&harness, json!({"write":{"table":"calls"}}), rows).await.unwrap();
        }
        let action = if compact { "compact" } else { "flush" };
        harness.act(action, json!({})).await.unwrap();
        let ask = |keys: ArrayRef| {
            let command = json!({"lookup":{"features":["calls.seconds"]}});
            let harness = &harness;
            async move { harness.exchange(messages(&command, &[batch(&[("user", keys)])]).await).await }
        };
        let (answers, _) = ask(ids(&USERS)).await.unwrap();
        assert_eq!(column(&answers, "seconds").as_ref(), numbers(&[0, 1, 2, 3, 4].map(|n| 100 + hour + n)).as_ref());
        // A spine of another integer type finds the same entities, and cannot name others.
        let (answers, _) = ask(numbers(&[i64::MAX, 0])).await.unwrap();
        assert_eq!(column(&answers, "seconds").as_ref(), numbers(&[101 + hour, 100 + hour]).as_ref());
        let error = ask(numbers(&[-1])).await.unwrap_err();
        assert!(error.message().contains("row 0: -1 does not fit uint64"), "{error}");
        // A ticket names them as numbers or text.
        let named = json!(["18446744073709551615", 9_223_372_036_854_775_808_u64]);
        let ticket = json!({"lookup":{"features":["calls.seconds"],"entities":{"user":named}}});
        let (answers, _) = harness.get(&ticket).await.unwrap();
        assert_eq!(column(&answers, "seconds").as_ref(), numbers(&[104 + hour, 102 + hour]).as_ref());
    }
    let scan = json!({"scan":{"table":"calls","history":true}});
    let (answers, _) = harness.get(&scan).await.unwrap();
    let mut found: Vec<(u64, u64)> = Vec::new();
    for answer in &answers {
        let (users, calls) = (answer.column_by_name("user").unwrap(), answer.column_by_name("call").unwrap());
        let (users, calls) = (users.as_primitive::<UInt64Type>(), calls.as_primitive::<UInt64Type>());
        found.extend(users.values().iter().copied().zip(calls.values().iter().copied()));
    }
    let mut expected: Vec<(u64, u64)> =
        USERS.iter().flat_map(|&user| [u64::MAX - 5, 5].map(|call| (user, call ^ (user & 1)))).collect();
    expected.extend(expected.clone());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);

    let erase = json!({"entity":"user","entities":{"user":["18446744073709551615"]},"block":true});
    assert_eq!(harness.act("erase", erase).await.unwrap()["entities"], json!(1));
    let command = json!({"lookup":{"features":["calls.seconds"],"status":true}});
    let asked = batch(&[("user", ids(&[u64::MAX, 1 << 63]))]);
    let (answers, _) = harness.exchange(messages(&command, &[asked]).await).await.unwrap();
    let statuses = arrow_cast::cast(column(&answers, "seconds__status"), &DataType::Utf8).unwrap();
    assert_eq!(statuses.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["never", "value"]);
    let again = batch(&[("user", ids(&[u64::MAX])), ("at", times(&[3])), ("call", ids(&[1]))]);
    let error = put(&harness, json!({"write":{"table":"calls"}}), again).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retract_without_the_row_id_column_is_refused_and_a_null_one_takes_back_the_delete() {
    let harness = Harness::start().await;
    calls(&harness).await;
    let write = batch(&[("user", ids(&[7])), ("at", times(&[1])), ("call", ids(&[1])), ("seconds", numbers(&[30]))]);
    put(&harness, json!({"write":{"table":"calls"}}), write).await.unwrap();
    let identity = batch(&[("user", ids(&[7])), ("at", times(&[1]))]);
    put(&harness, json!({"delete":{"table":"calls"}}), identity.clone()).await.unwrap();
    let retract = json!({"retract":{"table":"calls"}});
    let error = put(&harness, retract.clone(), identity).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("the batch lacks the column `call`, a row id column"), "{error}");
    let ticket = json!({"lookup":{"features":["calls.seconds"],"entities":{"user":[7]}}});
    assert!(column(&harness.get(&ticket).await.unwrap().0, "seconds").is_null(0), "the delete stands");
    let null: ArrayRef = Arc::new(NullArray::new(1));
    let taken_back = batch(&[("user", ids(&[7])), ("at", times(&[1])), ("call", null)]);
    put(&harness, retract, taken_back).await.unwrap();
    assert_eq!(column(&harness.get(&ticket).await.unwrap().0, "seconds").as_ref(), numbers(&[30]).as_ref());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_is_reported_once_for_each_column_that_is_bad() {
    let harness = Harness::start().await;
    harness.act("create_entity", json!({"entity":"shop","key":[{"name":"shop","type":"utf8"}]})).await.unwrap();
    let features = json!([{"name":"amount","type":"decimal128(4, 2)"},{"name":"opens","type":"time32[s]"}]);
    let table = json!({"table":"shops","entity":"shop","event_time":"at","features":features});
    harness.act("create_table", table).await.unwrap();
    let far = TimestampMicrosecondArray::from(vec![0, 200_000_000_000_000_000]).with_timezone("UTC");
    let amounts = Decimal128Array::from(vec![9_999, 10_000]).with_precision_and_scale(4, 2).unwrap();
    let rows = batch(&[
        ("shop", texts(&[Some("a"), None])),
        ("at", Arc::new(far)),
        ("amount", Arc::new(amounts)),
        ("opens", Arc::new(Time32SecondArray::from(vec![86_399, 86_400]))),
    ]);
    let report = json!({"write":{"table":"shops","bad_rows":"report"}});
    let acknowledged = put(&harness, report, rows).await.unwrap();
    let bad: Vec<_> = acknowledged.bad_rows.iter().map(|bad| (bad.row, bad.column.as_str())).collect();
    assert_eq!(bad, [(1, "shop"), (1, "at"), (1, "amount"), (1, "opens")]);
    assert_eq!((acknowledged.rows, acknowledged.bad_row_count), (1, 4));
    assert_eq!(acknowledged.bad_rows[2].reason, "100.00 does not fit decimal128(4, 2)");
    assert_eq!(acknowledged.bad_rows[3].reason, "86400 does not fit time32[s]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_wrong_in_a_declaration_is_named() {
    let harness = Harness::start().await;
    let key = json!([{"name":"origin","type":"utf8"}]);
    let error = harness.act("create_entity", json!({"entity":"airport","key":key,"bucket_by":["orign"]})).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("bucket_by: `orign` is no key column"), "{error}");
    assert!(error.message().contains("which is `origin`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_system_and_positions_of_another_epoch_are_refused() {
    let harness = Harness::start().await;
    calls(&harness).await;
    let key = json!([{"name":"origin","type":"utf8"}]);
    let entity = harness.act("create_entity", json!({"entity":"firn_airport","key":key})).await.unwrap_err();
    let table = json!({"table":"firn_calls","entity":"user","event_time":"at"});
    let table = harness.act("create_table", table).await.unwrap_err();
    let write = json!({"write":{"table":"calls","producer":"firn_loader"}});
    let rows = batch(&[("user", ids(&[7])), ("at", times(&[1])), ("call", ids(&[1])), ("seconds", numbers(&[30]))]);
    let producer = put(&harness, write, rows).await.unwrap_err();
    for (error, name) in [(entity, "firn_airport"), (table, "firn_calls"), (producer, "firn_loader")] {
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(&format!("`{name}` is no ")), "{error}");
        assert!(error.message().contains("start with `firn_` are kept for the database's own"), "{error}");
    }

    let status = harness.act("status", json!({})).await.unwrap();
    let position = status["read_position"].as_str().unwrap();
    let parts: Vec<&str> = position.split('-').collect();
    let look = |position: String| {
        let named = json!({"user":[7]});
        json!({"lookup":{"features":["calls.seconds"],"position":position,"entities":named}})
    };
    harness.get(&look(position.to_owned())).await.unwrap();
    let error = harness.get(&look(format!("{}-1-{}", parts[0], parts[2]))).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("is of epoch 1 of this database, which is now in epoch 0"), "{error}");
}
