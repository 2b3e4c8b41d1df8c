//! A scan without history: one row per entity that stands within the bounds.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};

use super::answer::{AnswerTable, BaseStatuses, Status};
use super::bounds::PointBounds;
use super::resolve::{FeatureWinners, Resolved, Sources};
use super::scan::{Batches, Scan};
use super::walk::{BoundedRun, Standing, bound_runs, walk};
use crate::error::Result;
use crate::model::key;

/// Entities that are looked at for one batch.
const WINDOW_ORDINALS: u32 = 8192;

/// The batches of `bucket`.
pub(crate) fn read(scan: Arc<Scan>, bucket: u32) -> Batches {
    let ordinals = scan.state.dictionaries[bucket as usize].len();
    let windows = (0..ordinals).step_by(WINDOW_ORDINALS as usize);
    Box::new(windows.filter_map(move |start| {
        let end = (start + WINDOW_ORDINALS).min(ordinals);
        read_window(&scan, bucket, start, end).transpose()
    }))
}

fn read_window(scan: &Scan, bucket: u32, start: u32, end: u32) -> Result<Option<RecordBatch>> {
    let view = &scan.view.buckets[bucket as usize];
    let point = scan.bounds.of(0);
    let runs = bound_runs(view.runs(), point.known_at, point.position);
    let (keys, resolved) = standing_entities(scan, bucket, &runs, &point, start..end)?;
    if keys.is_empty() {
        return Ok(None);
    }
    let mut columns: Vec<ArrayRef> = key::decode(&scan.entity.key, &mut keys.iter().map(Vec::as_slice))?;
    let never = vec![Status::Never as u8; keys.len()];
    let base = BaseStatuses::Each(never);
    let mut table = AnswerTable::new(&scan.features, &scan.table_state, base, false, &scan.snapshot.resources.blocks);
    table.fill(&[resolved], 1)?;
    let answer = table.finish(&[], &scan.bounds, (false, false), 1)?;
    let answers = answer.into_columns(&scan.features, keys.len())?;
    columns.extend(answers.into_iter().filter_map(|[cells, ..]| cells));
    Ok(Some(RecordBatch::try_new(Arc::clone(&scan.schema), columns)?))
}

/// The keys of the entities that stand, in order, and their winners by that order.
fn standing_entities(
    scan: &Scan,
    bucket: u32,
    runs: &[BoundedRun<'_>],
    point: &PointBounds,
    ordinals: std::ops::Range<u32>,
) -> Result<(Vec<Vec<u8>>, Resolved)> {
    let features: Vec<u32> = scan.features.iter().map(|part| part.feature.id).collect();
    let dictionary = &scan.state.dictionaries[bucket as usize];
    let (from, to) = scan.window.unwrap_or((i64::MIN, i64::MAX));
    let mut keys = Vec::new();
    let mut sources = Sources::new(runs);
    let mut resolved = Resolved { features: vec![FeatureWinners::default(); features.len()], ..Resolved::default() };
    for ordinal in ordinals {
        let walked = walk(runs, ordinal, point, &features, Standing::Within(from, to))?;
        if walked.standing.is_none() {
            continue;
        }
        // An erased entity has no key.
        let Some(key) = dictionary.key(ordinal)? else { continue };
        sources.note(runs, keys.len() as u32, &walked, &mut resolved.features, true);
        keys.push(key);
    }
    resolved.sources = sources.sources;
    Ok((keys, resolved))
}
