//! One entity per call at a steady rate, alone and while others write; and a user beside 500 offers.

use arrow_array::RecordBatch;
use firn_client::Client;

use super::lookup::load_users;
use crate::data::{EPOCH, Source, assemble, keys};
use crate::echo::Echo;
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System};
use crate::load::{self, Load};
use crate::report::{Bound, FIRN};
use crate::statistics::latencies;

const ECHO: &str = "echo (limit)";
const CALLS_PER_SECOND: f64 = 5000.0;
const ROWS_PER_SECOND: f64 = 100_000.0;
/// Rows of a batch of the writer beside the lookups.
const WRITE_ROWS: usize = 250;
const ALONE: &str = "5,000 calls/s";
const BESIDE: &str = "5,000 calls/s beside 100,000 rows/s";
const OFFERS: &str = "a user × 500 offers, 3 tables, 150 features";

/// Measures, and says the targets of serving.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    calls(harness)?;
    offers(harness)
}

fn calls(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(1_000_000, 2000);
    let directory = harness.directory()?;
    let firn = Firn::start_loading(harness, directory.path())?;
    let client = harness.runtime.block_on(load_users(&firn, users))?;
    firn.settle()?;
    let echo = Echo::start(harness, 50)?;
    let (writer, echo_client) = harness.runtime.block_on(async { (firn.client().await, echo.client().await) });
    let (writer, echo_client) = (writer?, echo_client?);
    let seconds = 4.0 / harness.settings.shrink.min(20) as f64;
    let requests = Source::new(4).requests(5000, 1, users);
    let runtime = harness.runtime.handle().clone();
    let alone = |name: &'static str, client: Client| {
        let (runtime, requests) = (runtime.clone(), &requests);
        System::new(name, move || {
            let lookup = firn::lookup(&["t"]);
            let load = load::open(&client, &lookup, requests, CALLS_PER_SECOND, seconds);
            Ok(latencies(ALONE, &runtime.block_on(load)?.waits).to_vec())
        })
    };
    harness.alternate(vec![alone(FIRN, client.clone()), alone(ECHO, echo_client)])?;

    let batches = updates(users, (ROWS_PER_SECOND * seconds) as usize / WRITE_ROWS);
    let mut moment = EPOCH;
    let beside = System::new(FIRN, || {
        moment += 1;
        // The same rows at a later time: each is the newest of its entity.
        let written: Vec<RecordBatch> = batches.iter().map(|batch| batch.at(moment)).collect();
        let write = load::paced_writes(&writer, "t", written, ROWS_PER_SECOND / WRITE_ROWS as f64, |_| ());
        let lookup = firn::lookup(&["t"]);
        let read = load::open(&client, &lookup, &requests, CALLS_PER_SECOND, seconds);
        let (rate, read): (Result<f64>, Result<Load>) = runtime.block_on(async { tokio::join!(write, read) });
        let [p50, p99] = latencies(BESIDE, &read?.waits);
        Ok(vec![p50, p99, Reading::new(format!("{BESIDE}, written"), "rows/s", rate?)])
    });
    harness.alternate(vec![beside])?;
    for (metric, bound) in [(ALONE, 1.0), (BESIDE, 2.0)] {
        let measured = harness.value(FIRN, &format!("{metric}, p99"));
        harness.target(&format!("{metric}, open loop: p99, ms"), measured, Bound::AtMost(bound));
    }
    firn.stop()
}

/// Rows to write, at a time that is not yet known.
struct Update {
    users: Vec<i64>,
    features: Vec<(String, arrow_array::ArrayRef)>,
}

impl Update {
    fn at(&self, moment: i64) -> RecordBatch {
        let times = vec![moment; self.users.len()];
        assemble(&[("user", self.users.clone())], ("at", times), self.features.clone())
    }
}

fn updates(users: usize, count: usize) -> Vec<Update> {
    let mut source = Source::new(5);
    let features = source.features(WRITE_ROWS, "f", 50);
    (0..count).map(|_| Update { users: source.users(WRITE_ROWS, users), features: features.clone() }).collect()
}

fn offers(harness: &mut Harness) -> Result<()> {
    let (users, offers) = (harness.sized(2000, 4), 100_000);
    let directory = harness.directory()?;
    let firn = Firn::start_loading(harness, directory.path())?;
    let client = harness.runtime.block_on(load_offers(&firn, users, offers))?;
    firn.settle()?;
    let echo = Echo::start(harness, 150)?;
    let echo_client = harness.runtime.block_on(echo.client())?;
    let count = harness.sized(400, 4);
    let asked = Source::new(7).users(count, users);
    let requests: Vec<RecordBatch> =
        asked.into_iter().map(|user| keys(&[("user", vec![user; 500]), ("offer", seen(user, offers))])).collect();
    let runtime = harness.runtime.handle().clone();
    let system = |name: &'static str, client: Client| {
        let (runtime, requests) = (runtime.clone(), &requests);
        System::new(name, move || {
            let lookup = firn::lookup(&["people", "goods", "views"]);
            let load = runtime.block_on(load::closed(&client, &lookup, requests, 1))?;
            let calls = requests.len() as f64 / load.elapsed.as_secs_f64();
            let [p50, p99] = latencies(OFFERS, &load.waits);
            Ok(vec![p50, p99, Reading::new(format!("{OFFERS}, rate"), "calls/s", calls)])
        })
    };
    harness.alternate(vec![system(FIRN, client), system(ECHO, echo_client)])?;
    let p50 = harness.value(FIRN, &format!("{OFFERS}, p50"));
    harness.target(&format!("{OFFERS}: p50, ms"), p50, Bound::AtMost(2.0));
    firn.stop()
}

/// The 500 offers that `user` has seen.
fn seen(user: i64, offers: usize) -> Vec<i64> {
    (0..500).map(|number| (user * 7919 + number * 131) % offers as i64).collect()
}

/// People, goods, and what each person saw of 500 goods: 50 features each.
async fn load_offers(firn: &Firn, users: usize, offers: usize) -> Result<Client> {
    let client = firn.client().await?;
    firn::declare_entity(&client, "user", &["user"]).await?;
    firn::declare_entity(&client, "offer", &["offer"]).await?;
    firn::declare_entity(&client, "view", &["user", "offer"]).await?;
    firn::declare_table(&client, "people", "user", "u", 50).await?;
    firn::declare_table(&client, "goods", "offer", "g", 50).await?;
    firn::declare_table(&client, "views", "view", "v", 50).await?;
    let mut source = Source::new(6);
    let people: Vec<i64> = (0..users as i64).collect();
    let features = source.features(users, "u", 50);
    let people = assemble(&[("user", people)], ("at", vec![EPOCH; users]), features);
    firn::write(&client, "people", crate::data::cut(&people, 4000)).await?;
    let features = source.features(offers, "g", 50);
    let goods = assemble(&[("offer", (0..offers as i64).collect())], ("at", vec![EPOCH; offers]), features);
    firn::write(&client, "goods", crate::data::cut(&goods, 8000)).await?;
    let features = source.features(8000, "v", 50);
    let views = (0..users as i64).step_by(16).map(|first| {
        let people: Vec<i64> = (first..(first + 16).min(users as i64)).collect();
        let pairs = people.iter().flat_map(|user| seen(*user, offers).into_iter().map(move |offer| (*user, offer)));
        let (users, offers): (Vec<i64>, Vec<i64>) = pairs.unzip();
        let rows = users.len();
        let features = features.iter().map(|(name, column)| (name.clone(), column.slice(0, rows))).collect();
        assemble(&[("user", users), ("offer", offers)], ("at", vec![EPOCH; rows]), features)
    });
    firn::write(&client, "views", views).await?;
    Ok(client)
}
