//! The questions of the story: one plane now and then, and the training set with one bound and with both.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema};
use chrono::DateTime;
use firn_client::Client;
use firn_client::wire::{Bound, FeatureReference, Join, Lookup, ReadOptions, Time};

use super::result::Result;

/// The plane whose vector is shown: the first in the data.
const PLANE: &str = "N14228";
/// The features of the training set.
const TRAINING: [&str; 9] = [
    "weather.temp",
    "weather.wind_speed",
    "weather.precip",
    "weather.visib",
    "weather.pressure",
    "flights.dep_delay",
    "flights.arr_delay",
    "planes.seats",
    "planes.year",
];
/// The feature whose winner tells which flight a row saw: every flight that landed has it.
const WITNESS: &str = "arr_delay__event_time";

/// A training set: how large it was, how long it took, and what fixes it.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) rows: u64,
    pub(super) features: usize,
    pub(super) seconds: f64,
    /// The digests of its answers, in order.
    pub(super) digest: Vec<String>,
    strict: bool,
    options: ReadOptions,
    witness: Vec<Option<i64>>,
}

/// What was told, so that it can be asked again.
#[derive(Debug)]
pub(super) struct Told {
    /// The plane, now.
    pub(super) now: String,
    /// The plane, on 1 July.
    pub(super) then: String,
    /// The training sets.
    pub(super) joins: [Joined; 2],
}

impl Told {
    /// The first of the digests of the last training set, which is enough to recognise it.
    pub(super) fn digest(&self) -> String {
        let digests = self.joins.last().and_then(|joined| joined.digest.first());
        digests.map(|digest| digest.chars().take(12).collect()).unwrap_or_default()
    }
}

/// Asks the questions of one server.
#[derive(Debug)]
pub(super) struct Reads<'a> {
    client: &'a Client,
}

impl<'a> Reads<'a> {
    /// Of the server that `client` is connected to.
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// What is known of the plane now.
    pub(super) async fn latest(&self) -> Result<String> {
        self.plane(Bound::Latest).await
    }

    /// What there was to know of the plane on 1 July 2013, by event time and by what had been learned.
    pub(super) async fn on_the_first_of_july(&self) -> Result<String> {
        self.plane(Bound::Time { time: Time::Text("2013-07-01T00:00:00Z".to_owned()), exclusive: false }).await
    }

    async fn plane(&self, bound: Bound) -> Result<String> {
        let names =
            ["flights.origin", "flights.dest", "flights.arr_delay", "flights.distance", "planes.model", "planes.seats"];
        let lookup = Lookup {
            features: references(&names)?,
            as_of: bound.clone(),
            known_at: bound,
            options: ReadOptions { event_times: true, ..ReadOptions::default() },
            entities: None,
        };
        let schema = Arc::new(Schema::new(vec![Field::new("tailnum", DataType::Utf8, false)]));
        let entities = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec![PLANE]))])
            .map_err(|error| error.to_string())?;
        let answered = self.client.lookup(&lookup, &entities).await.map_err(failed)?;
        sentence(&answered.batch().map_err(failed)?)
    }

    /// The training set: as of the decision by event time, and if `strict` by what had been learned too.
    pub(super) async fn join(&self, spine: &[RecordBatch], strict: bool) -> Result<Joined> {
        let options = ReadOptions { event_times: true, digest: true, ..ReadOptions::default() };
        self.ask(spine, strict, options).await
    }

    /// Asks for both training sets again, at the positions, clocks and schema versions of the first answers, which they must
    /// equal whatever happened `since`.
    pub(super) async fn joins_are_the_same(&self, spine: &[RecordBatch], told: &Told, since: &str) -> Result<()> {
        for before in &told.joins {
            let again = self.ask(spine, before.strict, before.options.clone()).await?;
            same(&again.digest, &before.digest, since)?;
        }
        Ok(())
    }

    async fn ask(&self, spine: &[RecordBatch], strict: bool, mut options: ReadOptions) -> Result<Joined> {
        let decided_at = Bound::Column { column: "decided_at".to_owned(), exclusive: false };
        let join = Join {
            features: references(&TRAINING)?,
            as_of: decided_at.clone(),
            known_at: if strict { decided_at } else { Bound::Latest },
            options: options.clone(),
        };
        let started = Instant::now();
        let answers = self.client.join_all(join, spine).await.map_err(failed)?;
        let seconds = started.elapsed().as_secs_f64();
        let last = answers.last().ok_or("the join answered nothing")?;
        options.position = last.answer.read_position.clone();
        options.clock = last.answer.clock;
        options.schema_version = last.answer.schema_version;
        let digest = answers.iter().map(|answered| answered.answer.digest.clone()).collect::<Option<_>>();
        let digest = digest.ok_or("the join answered without a digest")?;
        let batches: Vec<_> = answers.iter().flat_map(|answered| &answered.batches).collect();
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let witness = batches.into_iter().map(witness).collect::<Result<Vec<_>>>()?.concat();
        Ok(Joined { rows, features: TRAINING.len(), seconds, digest, strict, options, witness })
    }
}

fn failed(error: firn_client::Error) -> String {
    error.to_string()
}

fn references(names: &[&str]) -> Result<Vec<FeatureReference>> {
    let parsed = names.iter().map(|name| FeatureReference::parse(name).map_err(|error| error.to_string()));
    parsed.collect()
}

/// How many rows saw another flight, or one where there was none to see.
pub(super) fn differing_winners(one: &Joined, other: &Joined) -> Result<u64> {
    if one.witness.len() != other.witness.len() {
        return Err("the two training sets have different lengths".to_owned());
    }
    Ok(one.witness.iter().zip(&other.witness).filter(|(one, other)| one != other).count() as u64)
}

/// Refuses an answer that is another than it was `before`.
pub(super) fn same<T: PartialEq>(again: &T, before: &T, since: &str) -> Result<()> {
    match again == before {
        true => Ok(()),
        false => Err(format!("the answers after {since} differ from those before it; please report this")),
    }
}

fn witness(batch: &RecordBatch) -> Result<Vec<Option<i64>>> {
    let column = batch.column_by_name(WITNESS).ok_or_else(|| format!("the join lacks {WITNESS}"))?;
    let times = column.as_primitive_opt::<TimestampMicrosecondType>();
    let times = times.ok_or_else(|| format!("{WITNESS} is no timestamp but {}", column.data_type()))?;
    Ok(times.iter().collect())
}

/// The vector of the plane in words.
fn sentence(batch: &RecordBatch) -> Result<String> {
    let options = FormatOptions::default().with_null("unknown");
    let cell = |name: &str| -> Result<String> {
        let column = batch.column_by_name(name).ok_or_else(|| format!("the answer lacks {name}"))?;
        let formatter = ArrayFormatter::try_new(column, &options).map_err(|error| error.to_string())?;
        Ok(formatter.value(0).to_string())
    };
    let departure = witness(batch)?.first().copied().flatten().and_then(DateTime::from_timestamp_micros);
    let departure = departure.map_or("unknown".to_owned(), |time| time.format("%-d %B %Y, %H:%M").to_string());
    let delay = cell("arr_delay")?.parse::<f32>().map_or("unknown".to_owned(), |minutes| match minutes < 0.0 {
        true => format!("{} min early", -minutes),
        false => format!("{minutes} min late"),
    });
    let plane = format!("{PLANE}, {} with {} seats", cell("model")?, cell("seats")?);
    Ok(format!("{plane}; last flight {}-{} of {departure}: {delay}", cell("origin")?, cell("dest")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_another_ends_the_story() {
        assert_eq!(same(&["a", "b"], &["a", "b"], "the crash"), Ok(()));
        let error = same(&["a", "b"], &["a", "c"], "the crash").unwrap_err();
        assert!(error.contains("after the crash differ"), "{error}");
    }
}
