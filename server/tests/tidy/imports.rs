//! Which module of a crate takes what from which other, as far as the text shows: `use` and paths written out.
//!
//! A name that a module hands on (`pub use child::Name`) belongs to the module that defines it. A method that is called
//! on a value is not seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::text::{code_of, is_word, without_tests};
use crate::tree::{File, files, test_files};

/// A path, name by name.
type Names = Vec<String>;

/// A module: its path from the root of its crate, and what its text says.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) file: String,
    code: String,
    /// Names that stand for paths here: those imported, and the children.
    known: HashMap<String, Names>,
    /// Names that are handed on.
    handed_on: HashMap<String, Names>,
}

/// The modules of one crate, by path; the root has the empty path.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) modules: BTreeMap<Names, Module>,
}

/// One thing that a module takes from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) from: Names,
    pub(crate) to: Names,
    pub(crate) line: usize,
    pub(crate) name: String,
}

impl Crate {
    /// The crate whose sources lie in `folder`, without its tests.
    pub(crate) fn read(folder: &str) -> Self {
        let sources = files(&[".rs"]);
        let tests = test_files(&sources);
        let own = sources.iter().filter(|file| file.name.starts_with(folder) && !tests.contains(&file.name));
        Self::of(folder, own)
    }

    fn of<'a>(folder: &str, sources: impl Iterator<Item = &'a File>) -> Self {
        let mut modules = BTreeMap::new();
        for file in sources {
            let code = code_of(&without_tests(&file.text));
            let module = Module { file: file.name.clone(), code, known: HashMap::new(), handed_on: HashMap::new() };
            modules.insert(path_of(&file.name[folder.len()..]), module);
        }
        let paths: BTreeSet<Names> = modules.keys().cloned().collect();
        for (path, module) in &mut modules {
            for child in paths.iter().filter(|child| child.len() == path.len() + 1 && child.starts_with(path)) {
                module.known.insert(child[path.len()].clone(), child.clone());
            }
            let children = module.known.clone();
            for used in uses(&module.code) {
                let target = absolute(path, &children, &used.names);
                let Some(target) = target else { continue };
                let names = if used.hands_on { &mut module.handed_on } else { &mut module.known };
                names.insert(used.alias, target);
            }
        }
        Self { modules }
    }

    /// Everything that modules take from others of the crate.
    pub(crate) fn imports(&self) -> BTreeSet<Import> {
        let mut found = BTreeSet::new();
        for (path, module) in &self.modules {
            let used = uses(&module.code).into_iter().filter(|used| !used.hands_on).map(|used| (used.line, used.names));
            for (line, names) in used.chain(written_out(&module.code)) {
                let Some(target) = absolute(path, &module.known, &names) else { continue };
                let Some((to, name)) = self.home_of(target) else { continue };
                if to != *path {
                    found.insert(Import { from: path.clone(), to, line, name });
                }
            }
        }
        found
    }

    /// The module that defines what `target` names, and the name; none if it is itself a module.
    fn home_of(&self, mut target: Names) -> Option<(Names, String)> {
        // Names are handed on a few times at most.
        for _ in 0..8 {
            let length = (0..=target.len()).rev().find(|length| self.modules.contains_key(&target[..*length]))?;
            let name = target.get(length)?.clone();
            let Some(next) = self.modules[&target[..length]].handed_on.get(&name) else {
                return Some((target[..length].to_vec(), name));
            };
            target = [next.as_slice(), &target[length + 1..]].concat();
        }
        None
    }
}

/// The path of the module in the file `name` of a crate's sources.
fn path_of(name: &str) -> Names {
    let stem = name.trim_end_matches(".rs");
    let stem = ["mod", "lib", "main"].iter().find_map(|own| stem.strip_suffix(own)).unwrap_or(stem);
    stem.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// `names`, written in the module `path` where `known` names stand for paths, from the root of the crate; none if it
/// leads out of the crate.
fn absolute(path: &[String], known: &HashMap<String, Names>, names: &[String]) -> Option<Names> {
    let up = names.iter().take_while(|name| *name == "super").count();
    let (start, rest): (&[String], &[String]) = match names.first()?.as_str() {
        "crate" => (&[], &names[1..]),
        "self" => (path, &names[1..]),
        "super" => (&path[..path.len().checked_sub(up)?], &names[up..]),
        first => (known.get(first)?, &names[1..]),
    };
    Some([start, rest].concat())
}

/// One name that a `use` brings in.
struct Use {
    line: usize,
    names: Names,
    alias: String,
    hands_on: bool,
}

/// What the `use` declarations of `code` bring in, each name by itself.
fn uses(code: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let begins = code[..at].rsplit('\n').next().unwrap_or("").trim();
        if !(begins.is_empty() || begins.starts_with("pub")) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let text = code[at + 4..].split(';').next().unwrap_or("");
        for (names, alias) in expanded(&[], text) {
            found.push(Use { line, names, alias, hands_on: begins.starts_with("pub") });
        }
    }
    found
}

/// The paths of a use tree behind `start`, each with the name that it gets.
fn expanded(start: &[String], tree: &str) -> Vec<(Names, String)> {
    let tree = tree.trim();
    if let Some((path, list)) = tree.split_once('{') {
        let path = [start, names(path).as_slice()].concat();
        let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
        return top_level(list).into_iter().flat_map(|part| expanded(&path, part)).collect();
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let mut path = [start, names(path).as_slice()].concat();
    if path.last().is_some_and(|name| name == "self") {
        path.pop();
    }
    let alias = alias.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    vec![(path, alias)]
}

/// The names of a path.
fn names(path: &str) -> Names {
    path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The parts of a list in braces.
fn top_level(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The paths of at least two names in `code`, outside of `use`.
fn written_out(code: &str) -> Vec<(usize, Names)> {
    let mut found = Vec::new();
    let mut end = 0;
    for (at, _) in code.match_indices("::") {
        if at < end {
            continue;
        }
        let start =
            code[..at].rfind(|letter: char| !(letter.is_alphanumeric() || letter == '_')).map_or(0, |at| at + 1);
        let rest = code[start..].bytes().take_while(|byte| is_word(*byte) || *byte == b':').count();
        end = start + rest;
        let in_use =
            code[..start].rsplit([';', '}', '{']).next().is_some_and(|before| before.trim_end().ends_with("use"));
        let names = names(&code[start..end]);
        if !in_use && names.len() > 1 {
            found.push((code[..start].matches('\n').count() + 1, names));
        }
    }
    found
}

#[test]
fn imports_are_seen_as_they_are_written() {
    let file = |name: &str, text: &str| File { name: format!("c/src/{name}"), text: text.to_owned() };
    let sources = [
        file("lib.rs", "pub mod a;\nmod b;\n"),
        file(
            "a/mod.rs",
            "mod inner;\npub use inner::Thing;\nuse crate::b::{self, Other as Else};\nfn f() { b::g(); }\n",
        ),
        file("a/inner.rs", "use super::helper;\npub struct Thing;\n"),
        file("b.rs", "use crate::a::Thing;\nfn g() { std::mem::take(x); Thing::new(); }\n"),
    ];
    let read = Crate::of("c/src/", sources.iter());
    let path = |text: &str| names(text);
    let imports: Vec<_> = read.imports().into_iter().map(|found| (found.from, found.to, found.name)).collect();
    let expected = [("a", "b", "Other"), ("a", "b", "g"), ("a::inner", "a", "helper"), ("b", "a::inner", "Thing")];
    for (from, to, name) in expected {
        assert!(imports.contains(&(path(from), path(to), name.to_owned())), "{from} -> {to}: {name} in {imports:?}");
    }
    let pairs: BTreeSet<_> = imports.iter().map(|(from, to, _)| (from.clone(), to.clone())).collect();
    assert_eq!(pairs.len(), 3, "{pairs:?}");
}
