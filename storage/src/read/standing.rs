//! Which entities stand, whatever features are asked for: the event time of the newest row of each that no tombstone hides.

use super::bounds::{Bounds, RowBounds};
use super::resolve::{Wanted, resolve};
use super::resolved::Item;
use super::walk::{BoundedRun, Standing, bound_runs, walk};
use crate::error::Result;
use crate::time::Micros;
use crate::view::BucketView;

/// The event time of the newest standing row of each of `items`, by their places, which are below their number; only rows
/// `within` some event times, both included, count if that is said.
pub(crate) fn standing(
    view: &BucketView,
    items: &[Item],
    bounds: &Bounds,
    within: Option<(Micros, Micros)>,
) -> Result<Vec<Option<Micros>>> {
    let mut stand = vec![None; items.len()];
    stand_at(view, items, bounds, within, &mut stand)?;
    Ok(stand)
}

/// [`standing`], put at the places of `items` in `stand`.
pub(crate) fn stand_at(
    view: &BucketView,
    items: &[Item],
    bounds: &Bounds,
    within: Option<(Micros, Micros)>,
    stand: &mut [Option<Micros>],
) -> Result<()> {
    let wanted = Wanted { features: &[], event_times: true };
    let newest = resolve(view, items.to_vec(), bounds, wanted)?;
    let (from, to) = within.unwrap_or((Micros::MIN, Micros::MAX));
    let mut decided = vec![false; stand.len()];
    for source in &newest.sources {
        for (pick, &time) in source.picks.iter().zip(&source.event_times) {
            // Where the newest row lies after what selects, an older one may still be selected.
            decided[pick.place as usize] = time <= to;
            stand[pick.place as usize] = Some(time).filter(|time| (from..=to).contains(time));
        }
    }
    let left: Vec<Item> = items.iter().filter(|item| !decided[item.place as usize]).copied().collect();
    walk_each(view, &left, bounds, within, stand)
}

/// [`stand_at`] by the whole rule.
pub(crate) fn walk_each(
    view: &BucketView,
    items: &[Item],
    bounds: &Bounds,
    within: Option<(Micros, Micros)>,
    stand: &mut [Option<Micros>],
) -> Result<()> {
    let (from, to) = within.unwrap_or((Micros::MIN, Micros::MAX));
    let by_row = matches!(bounds.known_at, RowBounds::PerRow { .. });
    let mut runs: Vec<BoundedRun<'_>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let point = bounds.of(item.place);
        if index == 0 || by_row {
            runs = bound_runs(view.runs(), point.known_at, point.position);
        }
        stand[item.place as usize] = walk(&runs, item.ordinal, &point, &[], Standing::Within(from, to))?.standing;
    }
    Ok(())
}
