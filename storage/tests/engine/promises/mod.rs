//! P2 and what else section 2 of the design promises about a log: fixed answers, sealing, producers, clocks,
//! positions, retention and erase. Beside it, what its limits do (P8).

mod drops;
mod erase;
mod fixed;
mod limits;
mod log;
mod moment;
mod race;
mod retention;
mod schema;
mod threads;

use std::sync::Arc;

use firn_storage::database::Database;
use firn_storage::error::{Error, Kind};
use firn_storage::model::catalog::Catalog;
use firn_storage::read::PointRequest;
use firn_storage::read::digest::Digest;

use crate::world::ask::Request;
use crate::world::plain::{UNIT, batch, of_texts, sent, text as row};
use crate::world::{Setting, World};

/// The schema that `request` asks for.
fn asked(database: &Database, request: &PointRequest) -> Arc<Catalog> {
    database.catalog_asked(request.schema_version).expect("the version is there")
}

/// A world with a table of an integer and a text feature, on a clock that stands at 1 s.
fn world() -> World {
    of_texts(Setting { segment_rows_max: 16, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() })
}

/// The digest of the engine's answer.
pub fn digest(world: &World, request: &Request) -> Result<String, Error> {
    let (answer, _) = world.ask(request)?;
    let mut digest = Digest::new(&answer.schema());
    digest.update(&answer)?;
    Ok(digest.finish())
}

/// An Arrow column of text.
fn texts(values: &[&str]) -> arrow_array::ArrayRef {
    std::sync::Arc::new(arrow_array::StringArray::from(values.to_vec()))
}

/// Checks that `result` is an error of `kind` whose message has all of `words`.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: Kind, words: &[&str]) {
    let error = result.expect_err("this must be refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is not said by {error:?}");
    }
}
