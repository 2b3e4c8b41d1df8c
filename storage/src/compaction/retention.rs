//! Retention: what may be forgotten, and the horizon that says so first.
//!
//! The horizon is in the manifest, only rises, and rises before any byte goes. Behind it a row is dropped only if no
//! bounds inside the horizon can pick any of its cells ([`Forgetting`]).

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Result;
use crate::flush::edit_common;
use crate::view::{Horizon, TableState};

/// Raises the horizon of `table` to what its retention allows now. Returns it.
pub(crate) fn raise_horizon(engine: &Engine, table: &TableState) -> Result<Horizon> {
    let before = table.view.load().horizon;
    let Some(declared) = engine.declaration(table.id) else { return Ok(before) };
    let now = engine.clock.now();
    let back = |keep: Option<i64>| keep.map_or(i64::MIN, |keep| now.saturating_sub(keep));
    let mut horizon = Horizon {
        events: before.events.max(back(declared.keep_events)),
        knowledge: before.knowledge.max(back(declared.keep_knowledge)),
        sequence: before.sequence,
    };
    let known = known_sequence(table, horizon.knowledge);
    horizon.sequence = horizon.sequence.max(known);
    if horizon == before {
        return Ok(before);
    }
    {
        let mut manifest = engine.manifest.lock();
        let state = manifest.state.clone();
        edit_common(engine, &mut manifest.state);
        manifest.state.tables.entry(table.id).or_default().horizon = horizon;
        if let Err(error) = manifest.write() {
            manifest.state = state;
            return Err(error);
        }
    }
    table.edit_view(|view| view.horizon = horizon);
    Ok(horizon)
}

/// The last commit of `table` that was known at `knowledge`.
fn known_sequence(table: &TableState, knowledge: i64) -> u64 {
    let view = table.view.load_full();
    let runs = view.buckets.iter().flat_map(|bucket| bucket.runs().map(Arc::clone).collect::<Vec<_>>());
    let last = runs.filter_map(|run| {
        let end = run.rows.steps.end(knowledge, u64::MAX) as usize;
        end.checked_sub(1).map(|step| run.rows.steps.sequences[step])
    });
    last.max().unwrap_or(0)
}
