//! How much a statement may take. Every limit is finite, and is named in the error of what exceeds it.

use std::path::PathBuf;
use std::time::Duration;

/// The limits of SQL.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The length of a statement.
    pub statement_bytes_max: usize,
    /// Its words and signs.
    pub tokens_max: usize,
    /// Operators in a row of an expression.
    pub terms_max: usize,
    /// Joins of a statement.
    pub joins_max: usize,
    /// Columns that one SELECT names.
    pub columns_max: usize,
    /// Tables that a statement reads, those of common table expressions each time that these are named.
    pub reads_max: u64,
    /// How deep a statement may be nested.
    pub depth_max: usize,
    /// The memory of one query, of what all requests may hold.
    pub query_bytes_max: u64,
    /// How long a query may take.
    pub query_time_max: Duration,
    /// The rows of one answer.
    pub result_rows_max: u64,
    /// Where a query puts what does not fit its memory.
    pub spill_directory: PathBuf,
    /// How much it may put there.
    pub spill_bytes_max: u64,
    /// How many queries run at once; others wait.
    pub queries_max: usize,
    /// Threads of small queries, and as many of all others.
    pub threads: usize,
    /// Plans that are kept.
    pub plans_max: usize,
    /// Sessions of which is remembered what their client was told last, until it shows that it knows.
    pub sessions_unheard_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            statement_bytes_max: 1 << 20,
            tokens_max: 250_000,
            terms_max: 500,
            joins_max: 64,
            columns_max: 4096,
            reads_max: 1000,
            depth_max: 50,
            query_bytes_max: 256 << 20,
            query_time_max: Duration::from_secs(600),
            result_rows_max: 1 << 32,
            spill_directory: std::env::temp_dir(),
            spill_bytes_max: 8 << 30,
            queries_max: 64,
            threads,
            plans_max: 256,
            sessions_unheard_max: 4096,
        }
    }
}
