//! Seeded data: tables of float features over int64 users.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use firn_storage::database::Database;
use firn_storage::error::Result;
use firn_storage::model::declare::Change;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

/// The first event time, µs.
pub(crate) const EPOCH: i64 = 1_700_000_000_000_000;

/// Declares the entity `user` and a table `t` of `features` float64 features.
pub(crate) fn declare(database: &Database, features: usize) -> Result<()> {
    let entity = json!({"entity": "user", "key": [{"name": "user", "type": "int64"}], "bucket_by": ["user"], "buckets": 8});
    database.change(&Change::parse("create_entity", &entity)?)?;
    let features: Vec<_> = (0..features).map(|index| json!({"name": format!("f{index}"), "type": "float64"})).collect();
    let table = json!({
        "table": "t", "entity": "user", "event_time": "at", "features": features, "max_future_skew": "none",
    });
    database.change(&Change::parse("create_table", &table)?)?;
    Ok(())
}

/// A generator of batches and spines.
pub(crate) struct Source {
    random: SmallRng,
}

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed) }
    }

    /// A batch of rows of these users at these times.
    pub(crate) fn batch(&mut self, users: Vec<i64>, times: Vec<i64>, features: usize) -> RecordBatch {
        let rows = users.len();
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("user".into(), Arc::new(Int64Array::from(users))),
            ("at".into(), Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ];
        for feature in 0..features {
            let values: Vec<f64> = (0..rows).map(|_| self.random.random()).collect();
            columns.push((format!("f{feature}"), Arc::new(Float64Array::from(values))));
        }
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    /// Random users.
    pub(crate) fn users(&mut self, rows: usize, users: i64) -> Vec<i64> {
        (0..rows).map(|_| self.random.random_range(0..users)).collect()
    }

    /// Random times within `span` after [`EPOCH`].
    pub(crate) fn times(&mut self, rows: usize, span: i64) -> Vec<i64> {
        (0..rows).map(|_| EPOCH + self.random.random_range(0..span)).collect()
    }
}
