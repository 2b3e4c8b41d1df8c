//! Latest vectors over the wire: 50 float64 features of 1 M entities by int64 key, over one exchange.

use firn_client::Client;

use crate::data::Source;
use crate::echo::Echo;
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System};
use crate::load;
use crate::report::{Bound, FIRN};
use crate::statistics::latencies;

const FEATURES: usize = 50;
const ECHO: &str = "echo (limit)";

/// How many rows a request has, how many requests are in flight, and how many there are in a round.
const SHAPES: [(usize, usize, usize); 5] = [(1, 1, 4000), (100, 1, 2000), (100, 8, 6000), (1000, 1, 600), (1000, 4, 1500)];

/// Measures, and says the targets of online reads.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(1_000_000, 2000);
    let directory = harness.directory()?;
    let firn = Firn::start_loading(harness, directory.path())?;
    let client = harness.runtime.block_on(load_users(&firn, users))?;
    firn.settle()?;
    let echo = Echo::start(harness, FEATURES)?;
    let echo_client = harness.runtime.block_on(echo.client())?;

    let runtime = harness.runtime.handle().clone();
    let shapes: Vec<Shape> = SHAPES.iter().map(|shape| Shape::new(harness, *shape, users)).collect();
    let exchange = |name: &'static str, client: &Client| {
        let (client, runtime, shapes) = (client.clone(), runtime.clone(), &shapes);
        System::new(name, move || {
            let readings = shapes.iter().map(|shape| runtime.block_on(shape.measure(&client)));
            Ok(readings.collect::<Result<Vec<_>>>()?.concat())
        })
    };
    harness.alternate(vec![exchange(FIRN, &client), exchange(ECHO, &echo_client)])?;
    targets(harness);
    firn.stop()
}

/// Declares the table `t` and writes one row of each user.
pub(super) async fn load_users(firn: &Firn, users: usize) -> Result<Client> {
    let client = firn.client().await?;
    firn::declare_entity(&client, "user", &["user"]).await?;
    firn::declare_table(&client, "t", "user", "f", FEATURES).await?;
    firn::write(&client, "t", Source::new(1).one_row_each(users, FEATURES)).await?;
    Ok(client)
}

/// Requests of one shape.
struct Shape {
    name: String,
    in_flight: usize,
    requests: Vec<arrow_array::RecordBatch>,
}

impl Shape {
    fn new(harness: &Harness, (batch, in_flight, count): (usize, usize, usize), users: usize) -> Self {
        let requests = Source::new(2).requests(harness.sized(count, 2 * in_flight), batch, users);
        Self { name: name(batch, in_flight), in_flight, requests }
    }

    async fn measure(&self, client: &Client) -> Result<Vec<Reading>> {
        let load = load::closed(client, &firn::lookup(&["t"]), &self.requests, self.in_flight).await?;
        let [p50, p99] = latencies(&self.name, &load.waits);
        Ok(vec![Reading::new(format!("{}, rate", self.name), "vectors/s", load.rows_per_second()), p50, p99])
    }
}

fn name(batch: usize, in_flight: usize) -> String {
    format!("batch {batch}, {in_flight} in flight")
}

fn targets(harness: &mut Harness) {
    let compared = |harness: &Harness, metric: &str| harness.ratio((FIRN, metric), (ECHO, metric));
    let metric = format!("{}, rate", name(1000, 4));
    harness.target("batch 1,000, 4 in flight: share of the echo's rate", compared(harness, &metric), Bound::AtLeast(0.65));
    let metric = format!("{}, rate", name(100, 8));
    harness.target("batch 100, 8 in flight: share of the echo's rate", compared(harness, &metric), Bound::AtLeast(0.55));
    let metric = format!("{}, p50", name(1, 1));
    harness.target("one entity per call: p50 against the echo's", compared(harness, &metric), Bound::AtMost(1.5));
}
