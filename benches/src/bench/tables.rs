//! What a commit costs by the number of tables: 1 and 1,000, of 16 buckets each, in the engine.
//!
//! Small batches go to one table, many at once, so that what is measured is the work of the log's thread and not the sync.

use std::time::Instant;

use firn_storage::model::declare::Change;
use serde_json::json;

use crate::data::Source;
use crate::engine::Engine;
use crate::harness::{Harness, Reading, Result, System};
use crate::report::{Bound, FIRN};

const ROWS: usize = 8;
const FEATURES: usize = 2;

/// Measures, and says the target.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let many = harness.sized(1000, 10);
    let batches = harness.sized(20_000, 50);
    let mut opened = Vec::new();
    for tables in [1, many] {
        let directory = harness.directory()?;
        let engine = Engine::open(&harness.settings, directory.path())?;
        let entity = json!({"entity": "user", "key": [{"name": "user", "type": "int64"}], "buckets": 16});
        engine.database.change(&engine.database.catalog(), &Change::parse("create_entity", &entity)?)?;
        for table in 0..tables {
            engine.declare(&format!("t{table}"), FEATURES)?;
            engine.write(&format!("t{table}"), [Source::new(60).rows(vec![1], vec![1], FEATURES)])?;
        }
        opened.push((tables, engine, directory));
    }
    let metric = |tables: usize| {
        format!("commit of {ROWS} rows, {} of 16 buckets", if tables == 1 { "one table" } else { "1,000 tables" })
    };
    let systems = opened.iter().map(|(tables, engine, _)| {
        let mut source = Source::new(61);
        System::new(FIRN, move || {
            let rows = |_| source.rows((0..ROWS as i64).collect(), vec![2; ROWS], FEATURES);
            let batches: Vec<_> = (0..batches).map(rows).collect();
            let (count, started) = (batches.len(), Instant::now());
            engine.write("t0", batches)?;
            Ok(vec![Reading::new(metric(*tables), "µs", started.elapsed().as_secs_f64() * 1e6 / count as f64)])
        })
    });
    harness.alternate(systems.collect())?;
    let ratio = harness.ratio((FIRN, &metric(many)), (FIRN, &metric(1)));
    harness.target("cost of a commit: 1,000 tables against one", ratio, Bound::AtMost(1.2));
    opened.into_iter().try_for_each(|(_, engine, _files)| engine.close())
}
