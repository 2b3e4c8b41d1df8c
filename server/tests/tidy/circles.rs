//! Modules import one way: whoever follows the imports of a module never comes back to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{Crate, Import};
use crate::tree::none;

/// Where the sources of each crate lie.
const CRATES: [&str; 5] = ["benches/src/", "client/src/", "fuzz/src/", "server/src/", "storage/src/"];

/// Modules that are still part of a circle. The list only shrinks.
const STANDING: [&str; 15] = [
    "storage/src/compaction/merge/cells.rs",
    "storage/src/compaction/merge/mod.rs",
    "storage/src/compaction/merge/output.rs",
    "storage/src/compaction/merge/strip.rs",
    "storage/src/model/alter.rs",
    "storage/src/model/catalog.rs",
    "storage/src/model/declare/mod.rs",
    "storage/src/model/key/decode.rs",
    "storage/src/model/key/mod.rs",
    "storage/src/model/prove/bad_rows.rs",
    "storage/src/model/prove/columns.rs",
    "storage/src/model/prove/mod.rs",
    "storage/src/model/prove/times.rs",
    "storage/src/read/moment.rs",
    "storage/src/read/plan.rs",
];

/// The modules that can be reached from each module.
fn reachable(imports: &BTreeSet<Import>) -> BTreeMap<&[String], BTreeSet<&[String]>> {
    let mut next: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for import in imports {
        next.entry(&import.from).or_default().insert(&import.to);
    }
    let mut reached = BTreeMap::new();
    for &start in next.keys() {
        let mut seen = BTreeSet::new();
        let mut left = vec![start];
        while let Some(module) = left.pop() {
            left.extend(next.get(module).into_iter().flatten().filter(|next| seen.insert(**next)));
        }
        reached.insert(start, seen);
    }
    reached
}

/// The imports that are part of a circle, one for each two modules: the file, and the whole in words.
fn circles(folder: &str) -> Vec<(String, String)> {
    let read = Crate::read(folder);
    let imports = read.imports();
    let reached = reachable(&imports);
    let leads = |from: &[String], to: &[String]| reached.get(from).is_some_and(|seen| seen.contains(to));
    let mut pairs = BTreeSet::new();
    let closing = imports.iter().filter(|import| leads(&import.to, &import.from));
    let closing = closing.filter(|import| pairs.insert((&import.from, &import.to)));
    let shown = |import: &Import| {
        let Import { from, to, line, name } = import;
        let file = read.modules[from].file.clone();
        let words = format!("{file}:{line}: takes {name} from {}, which leads back", to.join("::"));
        (file, words)
    };
    closing.map(shown).collect()
}

#[test]
fn modules_import_one_way() {
    let found: Vec<(String, String)> = CRATES.iter().flat_map(|folder| circles(folder)).collect();
    let new = found.iter().filter(|(file, _)| !STANDING.contains(&file.as_str())).map(|(_, words)| words.clone());
    none("modules import each other in a circle", &new.collect::<Vec<_>>());
    let free = STANDING.iter().filter(|standing| !found.iter().any(|(file, _)| file == *standing));
    none(
        "a module is part of no circle any more; take it off the list",
        &free.map(|&file| file.to_owned()).collect::<Vec<_>>(),
    );
}
