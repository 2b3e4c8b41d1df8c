//! Modules import one way: whoever follows the imports of a module never comes back to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{Crate, Import};
use crate::tree::none;

/// Where the sources of each crate lie.
const CRATES: [&str; 7] =
    ["benches/src/", "client/src/", "exact/src/", "fuzz/src/", "objects/src/", "server/src/", "storage/src/"];

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

/// The imports that are part of a circle, in words, one for each two modules.
fn circles(folder: &str) -> Vec<String> {
    let read = Crate::read(folder);
    let imports = read.imports();
    let reached = reachable(&imports);
    let leads = |from: &[String], to: &[String]| reached.get(from).is_some_and(|seen| seen.contains(to));
    let mut pairs = BTreeSet::new();
    let closing = imports.iter().filter(|import| leads(&import.to, &import.from));
    let closing = closing.filter(|import| pairs.insert((&import.from, &import.to)));
    let shown = |import: &Import| {
        let Import { from, to, line, name } = import;
        format!("{}:{line}: takes {name} from {}, which leads back", read.modules[from].file, to.join("::"))
    };
    closing.map(shown).collect()
}

#[test]
fn modules_import_one_way() {
    let found: Vec<String> = CRATES.iter().flat_map(|folder| circles(folder)).collect();
    none("modules import each other in a circle", &found);
}
