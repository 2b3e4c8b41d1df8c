//! Seeded data: tables of float64 features over int64 users, the same in every run.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The first event time, µs.
pub(crate) const EPOCH: i64 = 1_700_000_000_000_000;
/// The time over which histories spread, µs.
pub(crate) const SPAN: i64 = 1_000_000_000;
/// Rows of a batch, unless a bench says otherwise.
pub(crate) const BATCH_ROWS: usize = 8192;

/// A generator of batches and spines.
#[derive(Debug)]
pub(crate) struct Source {
    random: SmallRng,
}

impl Source {
    /// A generator that is always the same for one `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed) }
    }

    /// A random number from 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.random.random()
    }

    /// `count` random users below `users`.
    pub(crate) fn users(&mut self, count: usize, users: usize) -> Vec<i64> {
        (0..count).map(|_| self.random.random_range(0..users as i64)).collect()
    }

    /// `count` random times within [`SPAN`] after [`EPOCH`].
    pub(crate) fn times(&mut self, count: usize) -> Vec<i64> {
        (0..count).map(|_| EPOCH + self.random.random_range(0..SPAN)).collect()
    }

    /// Columns of random features.
    pub(crate) fn features(&mut self, rows: usize, prefix: &str, features: usize) -> Vec<(String, ArrayRef)> {
        let column = |_: usize| (0..rows).map(|_| self.random.random()).collect::<Vec<f64>>();
        let columns: Vec<Vec<f64>> = (0..features).map(column).collect();
        let named = columns.into_iter().enumerate();
        named.map(|(number, values)| (format!("{prefix}{number}"), Arc::new(Float64Array::from(values)) as _)).collect()
    }

    /// A table's rows of these users at these times.
    pub(crate) fn rows(&mut self, users: Vec<i64>, times: Vec<i64>, features: usize) -> RecordBatch {
        let values = self.features(users.len(), "f", features);
        assemble(&[("user", users)], ("at", times), values)
    }

    /// Random rows of random users below `users` at random times, in batches of [`BATCH_ROWS`].
    pub(crate) fn history(&mut self, rows: usize, users: usize, features: usize) -> Vec<RecordBatch> {
        let starts = (0..rows).step_by(BATCH_ROWS);
        let batch = |start: usize| {
            let count = BATCH_ROWS.min(rows - start);
            let (users, times) = (self.users(count, users), self.times(count));
            self.rows(users, times, features)
        };
        starts.map(batch).collect()
    }

    /// Random rows of random users below `users` in the order of their times, with ten features of kinds that tables have: noise,
    /// prices, counts, scores, sums, some of them of few values. In batches of [`BATCH_ROWS`].
    pub(crate) fn varied(mut self, rows: usize, users: usize) -> impl Iterator<Item = RecordBatch> {
        let mut walk = 100.0;
        (0..rows).step_by(BATCH_ROWS).map(move |start| {
            let count = BATCH_ROWS.min(rows - start);
            let times = (start..start + count).map(|row| EPOCH + (row as i64 * SPAN) / rows as i64).collect();
            let mut column =
                |make: &mut dyn FnMut(f64) -> f64| -> Vec<f64> { (0..count).map(|_| make(self.share())).collect() };
            let columns = [
                column(&mut |share| share),
                column(&mut |share| share * share * 10.0 - 3.0),
                column(&mut |share| (share * 2000.0).round() / 100.0),
                column(&mut |share| (share * 500.0).round() / 1000.0),
                column(&mut |share| {
                    walk += (share * 9.0).round() - 4.5;
                    walk
                }),
                column(&mut |share| (share * share * 40.0).floor()),
                column(&mut |share| (share * 10.0).round()),
                column(&mut |share| if share < 0.9 { 0.0 } else { 1.0 }),
                column(&mut |share| (share * 300.0).floor() * 0.25),
                column(&mut |share| (share * 86_400.0).floor()),
            ];
            let named = columns.into_iter().enumerate();
            let features =
                named.map(|(number, values)| (format!("f{number}"), Arc::new(Float64Array::from(values)) as ArrayRef));
            let users = self.users(count, users);
            assemble(&[("user", users)], ("at", times), features.collect())
        })
    }

    /// One row of each user below `users` at [`EPOCH`], in batches of [`BATCH_ROWS`].
    pub(crate) fn one_row_each(&mut self, users: usize, features: usize) -> impl Iterator<Item = RecordBatch> {
        (0..users).step_by(BATCH_ROWS).map(move |start| {
            let users: Vec<i64> = (start..users.min(start + BATCH_ROWS)).map(|user| user as i64).collect();
            let times = vec![EPOCH; users.len()];
            self.rows(users, times, features)
        })
    }

    /// A spine: random users and times.
    pub(crate) fn spine(&mut self, rows: usize, users: usize) -> RecordBatch {
        let (users, times) = (self.users(rows, users), self.times(rows));
        assemble(&[("user", users)], ("decided_at", times), Vec::new())
    }

    /// `count` requests for `batch` random users each.
    pub(crate) fn requests(&mut self, count: usize, batch: usize, users: usize) -> Vec<RecordBatch> {
        (0..count).map(|_| keys(&[("user", self.users(batch, users))])).collect()
    }
}

/// Key columns alone.
pub(crate) fn keys(columns: &[(&str, Vec<i64>)]) -> RecordBatch {
    let columns = columns.iter().map(|(name, values)| (*name, Arc::new(Int64Array::from(values.clone())) as ArrayRef));
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// Key columns, a time, and features.
pub(crate) fn assemble(
    keys: &[(&str, Vec<i64>)],
    (time, times): (&str, Vec<i64>),
    features: Vec<(String, ArrayRef)>,
) -> RecordBatch {
    let keys =
        keys.iter().map(|(name, values)| ((*name).to_owned(), Arc::new(Int64Array::from(values.clone())) as ArrayRef));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
    let columns = keys.chain([(time.to_owned(), times)]).chain(features);
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// A batch cut into batches of `rows`.
pub(crate) fn cut(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows);
    starts.map(|start| batch.slice(start, rows.min(batch.num_rows() - start))).collect()
}

/// A history in which every user has a row per version, each version later than the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Versions {
    /// How many users.
    pub users: usize,
    /// The time between two versions, µs.
    pub span: i64,
}

impl Versions {
    /// The rows of these versions, in order, in batches of [`BATCH_ROWS`]. The features repeat from batch to batch.
    pub(crate) fn rows(self, versions: Range<usize>, features: usize) -> impl Iterator<Item = RecordBatch> {
        let mut source = Source::new(versions.start as u64);
        let values = source.features(BATCH_ROWS, "f", features);
        let starts =
            versions.flat_map(move |version| (0..self.users).step_by(BATCH_ROWS).map(move |start| (version, start)));
        starts.map(move |(version, start)| {
            let users: Vec<i64> = (start..self.users.min(start + BATCH_ROWS)).map(|user| user as i64).collect();
            let rows = users.len();
            let values = values.iter().map(|(name, column)| (name.clone(), column.slice(0, rows))).collect();
            assemble(&[("user", users)], ("at", vec![EPOCH + version as i64 * self.span; rows]), values)
        })
    }
}
