//! The vectors of aggregates, put to the engine in every layout: in memory, flushed, compacted, reopened, after a crash.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use firn_storage::error::{Error, Kind};
use firn_storage::read::{FeatureReference, PointRequest};
use serde_json::json;

use super::{Asked, Vector, vectors};
use crate::notation::{Read, in_every_layout, written};
use crate::oracle::aggregate::Window;
use crate::oracle::function::{Function, OutOfRange};
use crate::world::ask::{Request, given};
use crate::world::keys::KeyShape;
use crate::world::{Shape, World};

/// Whether the engine knows it: what it does not know it refuses.
fn is_known(asked: &Asked) -> bool {
    let Asked::Aggregate(aggregate) = asked else { return true };
    let function = matches!(
        aggregate.function,
        Function::Count
            | Function::Sum(_)
            | Function::Avg
            | Function::Min
            | Function::Max
            | Function::First(_)
            | Function::Last(_)
    );
    function && aggregate.by.is_none() && !matches!(aggregate.windows[0], Window::Session { .. })
}

/// The shape of the table, without a feature that is called as the key column of the world is.
fn shape_of(vector: &Vector) -> Shape {
    let mut shape = vector.shape.clone();
    shape
        .features
        .iter_mut()
        .filter(|feature| feature.name == "k")
        .for_each(|feature| feature.name = "kind_of".to_owned());
    shape
}

/// The world of a vector after its rows. Aggregates are declared after them: that makes no difference.
fn world_of(vector: &Vector, flush_each: bool) -> World {
    let world = written(shape_of(vector), vector.row_ids, &vector.batches, flush_each);
    let mut world = world.unwrap_or_else(|error| panic!("{}: {error}", vector.line));
    let declared = vector.asked.iter().filter(|asked| is_known(asked)).filter_map(|asked| match asked {
        Asked::Aggregate(aggregate) => Some(aggregate.declaration(&shape_of(vector))),
        Asked::Feature(_) => None,
    });
    let declared: Vec<_> = declared.collect();
    if !declared.is_empty() {
        world.change("alter_table", &json!({"table": "t", "add_aggregates": declared})).unwrap_or_else(|error| {
            panic!("{}: {error}", vector.line);
        });
    }
    if vector.erased.is_some() {
        world.erase(0, true).expect("an erase");
    }
    world
}

/// What `asked` is called.
fn name(asked: &Asked, vector: &Vector) -> String {
    match asked {
        Asked::Feature(id) => shape_of(vector).features[*id as usize].name.clone(),
        Asked::Aggregate(aggregate) => aggregate.answer_names()[0].clone(),
    }
}

/// Asks for one answer.
fn ask(world: &World, vector: &Vector, asked: &Asked, read: &Read) -> Result<RecordBatch, Error> {
    let reference = FeatureReference {
        table: "t".to_owned(),
        feature: name(asked, vector),
        rename: None,
        prefix: None,
        entity: Vec::new(),
    };
    let asked = read.ask(world);
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = KeyShape::Text.columns(&asked.entities).into_iter().unzip();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of equal length");
    let known = world.request(&asked).expect("it names features").point;
    let point = PointRequest { features: vec![reference], standing: None, ..known };
    world.ask(&Request { point, rows }).map(|(answer, _)| answer)
}

fn ask_all(world: &World, vector: &Vector, layout: &str, wrong: &mut Vec<String>) {
    for (read, expected) in &vector.reads {
        for (asked, expected) in vector.asked.iter().zip(expected).filter(|(asked, _)| is_known(asked)) {
            let answer = match ask(world, vector, asked, read) {
                Ok(answer) => {
                    let (status, value, event_time) = given(answer.columns(), 0);
                    let statuses = ["value", "null", "expired", "deleted", "never", "forgotten"];
                    let status = statuses.into_iter().find(|known| *known == status).expect("a status");
                    Ok((status, value, event_time))
                }
                Err(error) if error.kind() == Kind::OutOfRange => Err(OutOfRange),
                Err(error) => panic!("{layout}: {}: {error}", vector.line),
            };
            if !expected.is(&answer) {
                let name = name(asked, vector);
                wrong.push(format!("{layout}: {}\n  {name} {read:?}:\n  {answer:?}, not {expected:?}", vector.line));
            }
        }
    }
}

#[test]
fn the_engine_answers_the_vectors_of_aggregates_in_every_layout() {
    let mut wrong: Vec<String> = Vec::new();
    let mut compared = 0;
    // What retention forgets is told by its own tests.
    for vector in vectors().iter().filter(|vector| vector.kept_from.is_none()) {
        compared += vector.asked.iter().filter(|asked| is_known(asked)).count() * vector.reads.len();
        for flush_each in [false, true] {
            let ask = |world: &mut World, layout: &str| ask_all(world, vector, layout, &mut wrong);
            in_every_layout(world_of(vector, flush_each), ask);
        }
    }
    assert!(compared > 200, "{compared} answers");
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}
