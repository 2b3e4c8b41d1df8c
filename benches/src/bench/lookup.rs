//! Latest vectors over the wire: 50 float64 features of 1 M entities by int64 key, over one exchange.

use std::time::Instant;

use arrow_array::RecordBatch;
use firn_client::Client;

use crate::data::Source;
use crate::echo::Echo;
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System};
use crate::load;
use crate::redis::{Persistence, Redis, Request};
use crate::report::{Bound, FIRN};
use crate::statistics::latencies;

const FEATURES: usize = 50;
const ECHO: &str = "echo (limit)";
const REDIS: &str = "Redis";

/// How many rows a request has, how many requests are in flight, and how many there are in a round.
const SHAPES: [(usize, usize, usize); 5] =
    [(1, 1, 4000), (100, 1, 2000), (100, 8, 6000), (1000, 1, 600), (1000, 4, 1500)];
/// The keys of an MGET and the connections that send them.
const REDIS_SHAPES: [(usize, usize); 5] = [(10, 4), (100, 1), (100, 4), (1000, 1), (1000, 4)];
/// Entities that are also kept as hashes.
const HASHES: usize = 100_000;

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
    let mut systems = vec![exchange(FIRN, &client), exchange(ECHO, &echo_client)];
    if harness.settings.peers {
        let vectors = Vectors::start(harness, users)?;
        systems.push(System::new(REDIS, move || vectors.measure()));
    }
    harness.alternate(systems)?;
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
    requests: Vec<RecordBatch>,
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

fn redis_name(keys: usize, connections: usize) -> String {
    format!("MGET of {keys}, {connections} connections, rate")
}

/// The same vectors in Redis, packed into one value each; some also as hashes with a field per feature.
struct Vectors {
    redis: Redis,
    _data: tempfile::TempDir,
    users: usize,
    per_connection: usize,
}

impl Vectors {
    fn start(harness: &Harness, users: usize) -> Result<Self> {
        let data = harness.directory()?;
        let redis = Redis::start(harness, data.path(), Persistence::None)?;
        let packed = vec![0x3f_u8; FEATURES * 8];
        let key = |user: usize| (user as i64).to_le_bytes();
        redis.load((0..users).map(|user| Request::new([b"SET".as_slice(), &key(user), &packed].into_iter())))?;
        let fields = fields();
        redis.load((0..users.min(HASHES)).map(|user| {
            let hash = format!("h{user}");
            let pairs = fields.iter().flat_map(|field| [field.as_slice(), &packed[..8]]);
            let words: Vec<&[u8]> = [b"HSET".as_slice(), hash.as_bytes()].into_iter().chain(pairs).collect();
            Request::new(words.into_iter())
        }))?;
        Ok(Self { redis, _data: data, users, per_connection: harness.sized(100_000, 1000) })
    }

    fn measure(&self) -> Result<Vec<Reading>> {
        let mut readings = Vec::new();
        for (keys, connections) in REDIS_SHAPES {
            let lists: Vec<Vec<Request>> =
                (0..connections).map(|seed| self.gets(seed as u64, keys, self.per_connection)).collect();
            let seconds = self.redis.run(&lists)?.as_secs_f64();
            let vectors = lists.iter().map(Vec::len).sum::<usize>() * keys;
            readings.push(Reading::new(redis_name(keys, connections), "vectors/s", vectors as f64 / seconds));
        }
        let mut connection = self.redis.connect()?;
        let mut waits = Vec::new();
        for request in self.gets(9, 1, self.per_connection / 25) {
            let sent = Instant::now();
            connection.call(&request)?;
            waits.push(sent.elapsed());
        }
        readings.extend(latencies(&name(1, 1), &waits));
        let hashes = self.hash_gets(self.per_connection / 4);
        let vectors: usize = hashes.len() * 100;
        let seconds = self.redis.run(&[hashes])?.as_secs_f64();
        readings.push(Reading::new("HMGET of 50 fields, pipeline of 100, rate", "vectors/s", vectors as f64 / seconds));
        Ok(readings)
    }

    /// Requests for `count` vectors of random users, `keys` at a time.
    fn gets(&self, seed: u64, keys: usize, count: usize) -> Vec<Request> {
        let mut source = Source::new(seed);
        let request = |_: usize| {
            let users: Vec<[u8; 8]> = source.users(keys, self.users).into_iter().map(i64::to_le_bytes).collect();
            let words: Vec<&[u8]> =
                [b"MGET".as_slice()].into_iter().chain(users.iter().map(<[u8; 8]>::as_slice)).collect();
            Request::new(words.into_iter())
        };
        (0..count.div_ceil(keys)).map(request).collect()
    }

    /// Pipelines of 100 requests for a hash each, `count` in all.
    fn hash_gets(&self, count: usize) -> Vec<Request> {
        let (mut source, fields) = (Source::new(10), fields());
        let pipeline = |_: usize| {
            let mut pipeline = Request::default();
            for user in source.users(100, self.users.min(HASHES)) {
                let hash = format!("h{user}");
                let words: Vec<&[u8]> = [b"HMGET".as_slice(), hash.as_bytes()]
                    .into_iter()
                    .chain(fields.iter().map(Vec::as_slice))
                    .collect();
                pipeline.append(&Request::new(words.into_iter()));
            }
            pipeline
        };
        (0..count.div_ceil(100)).map(pipeline).collect()
    }
}

fn fields() -> Vec<Vec<u8>> {
    (0..FEATURES).map(|number| format!("f{number}").into_bytes()).collect()
}

fn targets(harness: &mut Harness) {
    let best = |harness: &Harness, of: Option<usize>| {
        let shapes = REDIS_SHAPES.iter().filter(|(keys, _)| of.is_none_or(|of| of == *keys));
        let rates = shapes.filter_map(|(keys, connections)| harness.value(REDIS, &redis_name(*keys, *connections)));
        rates.reduce(f64::max)
    };
    for (batch, in_flight, of_echo, of_redis, redis_batch) in
        [(1000, 4, 0.65, 3.0, None), (100, 8, 0.55, 2.3, Some(100))]
    {
        let metric = format!("{}, rate", name(batch, in_flight));
        let share = harness.ratio((FIRN, &metric), (ECHO, &metric));
        harness.target(
            &format!("batch {batch}, {in_flight} in flight: share of the echo's rate"),
            share,
            Bound::AtLeast(of_echo),
        );
        let ours = harness.value(FIRN, &metric);
        let times = ours.zip(best(harness, redis_batch)).map(|(ours, theirs)| ours / theirs);
        let what = match redis_batch {
            None => "times Redis MGET at its best batch".to_owned(),
            Some(keys) => format!("times Redis MGET of {keys}"),
        };
        harness.target(&format!("batch {batch}, {in_flight} in flight: {what}"), times, Bound::AtLeast(of_redis));
    }
    let metric = format!("{}, p50", name(1, 1));
    let against = harness.ratio((FIRN, &metric), (ECHO, &metric));
    harness.target("one entity per call: p50 against the echo's", against, Bound::AtMost(1.5));
}
