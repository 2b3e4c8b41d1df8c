//! The Python client as a service and a notebook use it, against the Rust client on the same server; and Feast on Redis.
//!
//! All in one run and in turn: one call at a time, requests of 1,000 rows into each kind of answer, a join beside columns
//! that it does not need, a frame against its Arrow table. Without peers only the Rust client is measured.

use std::cell::RefCell;

use serde_json::Value;

use crate::bench::lookup::load_users;
use crate::data::Source;
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System};
use crate::load;
use crate::peers::Script;
use crate::redis::{Persistence, Redis};
use crate::report::Bound;
use crate::statistics::latencies;

const RUST: &str = "Rust client";
const PYTHON: &str = "Python client";
const FLIGHT: &str = "pyarrow.flight";
const FEAST: &str = "Feast on Redis";
const ONE: &str = "one entity";
const ONE_P50: &str = "one entity, p50";
const CALL_P50: &str = "one entity, a call of its own, p50";
const HUNDRED_P50: &str = "100 entities, p50";
const KINDS: [&str; 5] = ["pyarrow", "polars", "pandas", "numpy", "dict"];

/// Measures, and says the targets of the Python client.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(100_000, 2000);
    let directory = harness.directory()?;
    let firn = Firn::start_loading(harness, directory.path())?;
    let client = harness.runtime.block_on(async {
        let client = load_users(&firn, users).await?;
        firn::declare_table(&client, "w", "user", "f", 10).await?;
        Result::Ok(client)
    })?;
    firn.settle()?;
    let runtime = harness.runtime.handle().clone();
    let ones = Source::new(51).requests(harness.sized(2000, 20), 1, users);
    let thousands = Source::new(52).requests(harness.sized(300, 3), 1000, users);
    let rust = System::new(RUST, || {
        let one = runtime.block_on(load::closed(&client, &firn::lookup(&["t"]), &ones, 1))?;
        let thousand = runtime.block_on(load::closed(&client, &firn::lookup(&["t"]), &thousands, 1))?;
        let [p50, _] = latencies(ONE, &one.waits);
        Ok(vec![p50, Reading::new(rate("pyarrow"), "vectors/s", thousand.rows_per_second())])
    });
    let mut systems = vec![rust];
    let (redis_data, feast_data) = (harness.directory()?, harness.directory()?);
    let mut _redis = None;
    if harness.settings.peers {
        let script = Script::start(harness, "client", "client.py", &[firn.url(), &users.to_string()])?;
        let script = std::rc::Rc::new(RefCell::new(script));
        let before = std::rc::Rc::clone(&script);
        systems.push(System::new(PYTHON, move || python(&mut script.borrow_mut())));
        systems.push(System::new(FLIGHT, move || {
            let one = before.borrow_mut().work("one")?;
            Ok(vec![millis(ONE_P50, &one, "flight")?])
        }));
        let redis = Redis::start(harness, redis_data.path(), Persistence::None)?;
        let place = feast_data.path().to_string_lossy().into_owned();
        let known = harness.sized(5000, 50).to_string();
        let mut feast =
            Script::start(harness, "feast", "feast_online.py", &[&redis.port().to_string(), &known, &place])?;
        _redis = Some(redis);
        systems.push(System::new(FEAST, move || {
            let (one, hundred) = (feast.work("1")?, feast.work("100")?);
            Ok(vec![millis(ONE_P50, &one, "seconds")?, millis(HUNDRED_P50, &hundred, "seconds")?])
        }));
    }
    harness.alternate(systems)?;
    targets(harness);
    firn.stop()
}

fn rate(kind: &str) -> String {
    format!("1,000 × 50 into {kind}, rate")
}

fn number(answer: &Value, name: &str) -> Result<f64> {
    answer[name].as_f64().ok_or_else(|| format!("no number `{name}` in {answer}").into())
}

fn millis(metric: &str, answer: &Value, name: &str) -> Result<Reading> {
    Ok(Reading::new(metric, "ms", number(answer, name)? * 1e3))
}

/// One round of all that the Python client does.
fn python(script: &mut Script) -> Result<Vec<Reading>> {
    let one = script.work("one")?;
    let mut readings = vec![
        millis(ONE_P50, &one, "session")?,
        millis(CALL_P50, &one, "lookup")?,
        millis(HUNDRED_P50, &one, "hundred")?,
    ];
    let thousand = script.work("thousand")?;
    for kind in KINDS {
        readings.push(Reading::new(rate(kind), "vectors/s", number(&thousand, kind)?));
    }
    let built = number(&thousand, "building the frame")?;
    readings.push(Reading::new("1,000 × 50, building a pandas frame", "s", built));
    let (join, write) = (script.work("join")?, script.work("write")?);
    readings.push(Reading::new("join of 1 M rows", "s", number(&join, "narrow")?));
    readings.push(Reading::new("join of 1 M rows with 100 columns more", "s", number(&join, "wide")?));
    readings.push(Reading::new("write of 1 M × 10, Arrow", "s", number(&write, "arrow")?));
    readings.push(Reading::new("write of 1 M × 10, a frame", "s", number(&write, "frame")?));
    readings.push(Reading::new("import", "s", number(&script.work("import")?, "seconds")?));
    Ok(readings)
}

fn targets(harness: &mut Harness) {
    let python = |metric| (PYTHON, metric);
    let one = harness.ratio(python(ONE_P50), (RUST, ONE_P50));
    harness.target("one entity, p50: Python against Rust", one, Bound::AtMost(1.5));
    let before = harness.ratio((FLIGHT, ONE_P50), python(ONE_P50));
    harness.target("one entity, p50: pyarrow.flight against Python", before, Bound::AtLeast(2.0));
    for kind in ["pyarrow", "polars"] {
        let against = harness.ratio((PYTHON, &rate(kind)), (RUST, &rate("pyarrow")));
        harness.target(&format!("1,000 × 50 into {kind}: Python against Rust"), against, Bound::AtLeast(0.8));
    }
    let join = harness.ratio(python("join of 1 M rows with 100 columns more"), python("join of 1 M rows"));
    harness.target("join beside 100 columns that it does not need", join, Bound::AtMost(1.1));
    let write = harness.ratio(python("write of 1 M × 10, a frame"), python("write of 1 M × 10, Arrow"));
    harness.target("write of a frame against its Arrow table", write, Bound::AtMost(1.2));
    let import = harness.value(PYTHON, "import");
    harness.target("import of the package, s", import, Bound::AtMost(0.2));
    for metric in [ONE_P50, HUNDRED_P50] {
        let feast = harness.ratio((FEAST, metric), python(metric));
        harness.target(&format!("{metric}: Feast on Redis against Python"), feast, Bound::AtLeast(10.0));
    }
}
