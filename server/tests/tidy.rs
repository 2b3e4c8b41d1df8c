//! The tree's own rules, as tests: headers, sizes, banned words, layers, links.
//!
//! Each test reads the whole tree and lists every offender at once. It knows Rust well enough to tell code from
//! comments and strings, and no better: it is no parser. What a lint of the compiler checks is not checked again here.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests, at most.
const LINES_MAX: usize = 700;

/// Files that may hold unsafe code.
const UNSAFE_ALLOWED: [&str; 2] = ["storage/src/io/map.rs", "storage/src/prefetch.rs"];

/// The layers of the storage crate: a module imports from its own layer and from those above it in this list.
///
/// An entry names a module with all that is in it, unless a longer entry names a part of it. Modules that import each
/// other are in one layer: `column`, `rows`, `run` and `segment` are one notion in four files; `erase` is why `view`,
/// `manifest`, `versions`, `engine` and `read` are in one layer.
const LAYERS: [&[&str]; 7] = [
    &["checksum", "error", "prefetch", "statistics", "time"],
    &["block_list", "blocks", "config", "ingest_clock", "io", "poison", "position", "published"],
    &["column", "pack", "rows", "run", "segment", "wal"],
    &["compaction::merge", "dictionary", "memtable", "model"],
    &["edit", "engine", "erase", "manifest", "merging", "read", "retired", "versions", "view"],
    &["commit", "compaction", "flush", "purge", "scrub"],
    &["background", "database", "recovery", "repair", "status", "verify"],
];

/// What the storage crate must not depend on: it is synchronous and knows no network and no SQL.
const STORAGE_WITHOUT: [&str; 7] = ["arrow-flight", "async-trait", "datafusion", "futures", "hyper", "tokio", "tonic"];

/// Where a path in the text of a document may start from.
const CODE_ROOTS: [&str; 6] = ["", "storage/src/", "server/src/", "client/src/", "client/python/", "storage/tests/"];

/// A file of the tree.
struct File {
    /// From the root of the tree, with `/`.
    name: String,
    text: String,
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the server's crate lies in the root of the tree").to_path_buf()
}

/// All files whose names end with one of `endings`, sorted.
fn files(endings: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree can be read") {
            let path = entry.expect("a folder of the tree can be read").path();
            let name = path.strip_prefix(root()).expect("it is inside").to_string_lossy().replace('\\', "/");
            let last = name.rsplit('/').next().unwrap_or(&name);
            if path.is_dir() {
                let foreign = last.starts_with('.') || last.ends_with(".egg-info");
                if !foreign && !["target", "venv", "node_modules", "__pycache__"].contains(&last) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| last.ends_with(ending)) {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push(File { name, text });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Fails with all `offenders`, if there are any.
fn none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// `text` with every comment, string and character blanked out, line by line as long as it was.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_blank(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(code).expect("whole strings and comments were blanked")
}

/// Where the comment, string or character that begins at `at` ends; `at` if none does.
fn end_of_blank(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after = |needle: &[u8], from: usize| {
        let found = rest[from..].windows(needle.len()).position(|window| window == needle);
        at + found.map_or(rest.len(), |found| from + found + needle.len())
    };
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return after(b"*/", 2);
    }
    let within_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let raw = if rest.starts_with(b"br") { 2 } else { usize::from(rest.starts_with(b"r")) };
    if raw > 0 && !within_word {
        let hashes = rest[raw..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(raw + hashes) == Some(&b'"') {
            let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
            return after(&end, raw + hashes + 1);
        }
    }
    match rest {
        [b'"', ..] => at + end_of_quoted(rest, b'"'),
        [b'\'', b'\\', ..] => at + end_of_quoted(rest, b'\''),
        [b'\'', ..] => {
            // A character, if a quote follows the next one; else a lifetime.
            let next = std::str::from_utf8(&rest[1..rest.len().min(5)]);
            let next = next.map_or_else(|error| error.valid_up_to(), str::len);
            let first = std::str::from_utf8(&rest[1..=next]).ok().and_then(|text| text.chars().next());
            let width = first.map_or(0, char::len_utf8);
            if width > 0 && rest.get(1 + width) == Some(&b'\'') { at + width + 2 } else { at }
        }
        _ => at,
    }
}

/// The length of the quoted text that `bytes` begins with.
fn end_of_quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `word` stands in `text` on its own, with no letter on either side.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|before| text.as_bytes()[before]);
        let after = text.as_bytes().get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The lines of `text` from the first that begins an inline module of tests: `#[cfg(test)] mod tests {`.
fn inline_tests(text: &str) -> Option<Range<usize>> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(begins).map(|start| start..lines.len())
}

/// `text` without its inline module of tests.
fn without_tests(text: &str) -> String {
    let end = inline_tests(text).map_or(usize::MAX, |tests| tests.start);
    text.lines().take(end).flat_map(|line| [line, "\n"]).collect()
}

/// The files of modules that are compiled for tests only: `#[cfg(test)] mod name;`, and all that is in a folder `tests`
/// or among the examples.
fn test_files(sources: &[File]) -> BTreeSet<String> {
    let mut prefixes = Vec::new();
    for file in sources {
        let folder = module_folder(&file.name);
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            if let Some(name) = pair[1].strip_suffix(';').and_then(|line| line.rsplit_once("mod ")) {
                prefixes.push(format!("{folder}/{}.rs", name.1));
                prefixes.push(format!("{folder}/{}/", name.1));
            }
        }
    }
    let is_test = |name: &str| {
        let by_place = name.split('/').any(|part| ["tests", "examples", "fuzz"].contains(&part));
        by_place || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    };
    sources.iter().filter(|file| is_test(&file.name)).map(|file| file.name.clone()).collect()
}

/// The folder in which the modules that `name` declares lie.
fn module_folder(name: &str) -> String {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let own = ["mod", "lib", "main"].iter().find_map(|own| stem.strip_suffix(&format!("/{own}")));
    own.unwrap_or(stem).to_owned()
}

/// The module that `name`, a file of the storage crate, is: `compaction::merge::cells`.
fn module_of(name: &str) -> Option<String> {
    let inside = name.strip_prefix("storage/src/")?.strip_suffix(".rs")?;
    let module = inside.strip_suffix("/mod").unwrap_or(inside);
    (module != "lib").then(|| module.replace('/', "::"))
}

/// The layer of `module`, and the entry of [`LAYERS`] that says so.
fn layer_of(module: &str) -> Option<(usize, &'static str)> {
    let holds = |entry: &str| module == entry || module.strip_prefix(entry).is_some_and(|rest| rest.starts_with("::"));
    let entries =
        LAYERS.iter().enumerate().flat_map(|(layer, entries)| entries.iter().map(move |entry| (layer, *entry)));
    entries.filter(|(_, entry)| holds(entry)).max_by_key(|(_, entry)| entry.len())
}

/// Every path after `crate::` in `code`, those in braces one by one, with the line it stands in.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    const START: &str = "crate::";
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(START) {
        if at > 0 && is_word(code.as_bytes()[at - 1]) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + START.len()..];
        let path = |text: &str| -> String {
            text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || "_:".contains(*letter)).collect()
        };
        match rest.strip_prefix('{') {
            None => paths.push((line, path(rest))),
            Some(list) => paths.extend(top_level(list).into_iter().map(|part| (line, path(part)))),
        }
    }
    paths
}

/// The parts of a list in braces, given the text after the opening one.
fn top_level(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[test]
fn every_source_says_first_what_it_is() {
    let silent = files(&[".rs"]).into_iter().filter(|file| !file.text.starts_with("//! "));
    none("a source does not open with \"//!\"", &silent.map(|file| file.name).collect::<Vec<_>>());
}

#[test]
fn no_source_is_too_long() {
    let sources = files(&[".rs"]);
    let tests = test_files(&sources);
    let lengths = sources.iter().filter(|file| !tests.contains(&file.name)).map(|file| {
        let end = inline_tests(&file.text).map_or_else(|| file.text.lines().count(), |tests| tests.start);
        (&file.name, end)
    });
    let long = lengths.filter(|(_, lines)| *lines > LINES_MAX);
    let long: Vec<_> = long.map(|(name, lines)| format!("{name}: {lines} lines")).collect();
    none(&format!("a source has more than {LINES_MAX} lines without its tests"), &long);
}

#[test]
fn nothing_is_left_for_later() {
    let sources = files(&[".rs"]);
    let tests = test_files(&sources);
    let mut found = Vec::new();
    for file in &sources {
        // Put together, so that this file does not find itself.
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            if has_word(&file.text, word) {
                found.push(format!("{}: {word}", file.name));
            }
        }
        if tests.contains(&file.name) {
            continue;
        }
        let code = code_of(&without_tests(&file.text));
        for word in ["todo!", "unimplemented!", "dbg!", ".unwrap()", "allow(dead_code"] {
            let lines = code.lines().enumerate().filter(|(_, line)| line.contains(word));
            found.extend(lines.map(|(line, _)| format!("{}:{}: {word}", file.name, line + 1)));
        }
    }
    none("outside of tests, something is unfinished or may panic without saying why", &found);
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    let sources = files(&[".rs"]);
    let holders = sources.iter().filter(|file| has_word(&code_of(&file.text), "unsafe"));
    let holders: BTreeSet<&str> = holders.map(|file| file.name.as_str()).collect();
    let unexpected = holders.iter().filter(|name| !UNSAFE_ALLOWED.contains(name)).map(|name| (*name).to_owned());
    none("unsafe code outside of the files that may have it", &unexpected.collect::<Vec<_>>());
    let idle = UNSAFE_ALLOWED.iter().filter(|name| !holders.contains(*name)).map(|name| (*name).to_owned());
    none("a file that may have unsafe code has none; take it off the list", &idle.collect::<Vec<_>>());
}

#[test]
fn storage_imports_follow_its_layers() {
    let sources = files(&[".rs"]);
    let tests = test_files(&sources);
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for file in sources.iter().filter(|file| !tests.contains(&file.name)) {
        let Some(module) = module_of(&file.name) else { continue };
        let Some((layer, entry)) = layer_of(&module) else {
            wrong.push(format!("{}: the module has no layer yet; add it to LAYERS", file.name));
            continue;
        };
        used.insert(entry);
        for (line, path) in crate_paths(&code_of(&without_tests(&file.text))) {
            match layer_of(&path) {
                Some((below, _)) if below <= layer => {}
                Some((above, other)) => {
                    let what = format!("{entry} (layer {layer}) imports {other} (layer {above})");
                    wrong.push(format!("{}:{line}: {what}", file.name));
                }
                None => wrong.push(format!("{}:{line}: crate::{path} has no layer", file.name)),
            }
        }
    }
    let listed = LAYERS.iter().flat_map(|entries| entries.iter());
    wrong.extend(listed.filter(|entry| !used.contains(*entry)).map(|entry| format!("LAYERS: {entry} is no module")));
    none("an import goes against the layers (docs/architecture.md)", &wrong);
}

#[test]
fn storage_is_synchronous_and_alone() {
    let manifest = fs::read_to_string(root().join("storage/Cargo.toml")).expect("the storage crate has a manifest");
    let crates: Vec<&str> = manifest.lines().map(|line| line.split([' ', '.', '=']).next().unwrap_or(line)).collect();
    let mut found: Vec<String> = STORAGE_WITHOUT
        .iter()
        .filter(|name| crates.contains(*name))
        .map(|name| format!("storage/Cargo.toml: {name}"))
        .collect();
    for file in files(&[".rs"]).iter().filter(|file| file.name.starts_with("storage/src/")) {
        let code = code_of(&file.text);
        if has_word(&code, "async") || code.contains(".await") {
            found.push(format!("{}: async code", file.name));
        }
    }
    none("the storage crate is to know no network and no async runtime", &found);
}

#[test]
fn every_source_is_part_of_its_crate() {
    let sources = files(&[".rs"]);
    let mut declared = BTreeSet::new();
    for file in &sources {
        let folder = module_folder(&file.name);
        let modules = file.text.lines().filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod "));
        declared.extend(modules.map(|(_, name)| format!("{folder}/{name}")));
    }
    let is_root = |module: &str| module.ends_with("/lib") || module.ends_with("/main") || module.contains("/bin/");
    let modules = sources
        .iter()
        .filter(|file| file.name.contains("/src/"))
        .map(|file| (&file.name, file.name.trim_end_matches(".rs").trim_end_matches("/mod")));
    let orphans = modules.filter(|(_, module)| !is_root(module) && !declared.contains(*module));
    let orphans: Vec<String> = orphans.map(|(name, _)| name.clone()).collect();
    none("a source is declared by no \"mod\"", &orphans);
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for page in files(&[".md"]) {
        let folder = page.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&page.text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = match target {
                "" => root().join(&page.name),
                _ => root().join(folder).join(target),
            };
            if !path.exists() {
                broken.push(format!("{}: {link} does not exist", page.name));
            } else if !heading.is_empty() && !headings(&path).contains(heading) {
                broken.push(format!("{}: {link} names no heading", page.name));
            }
        }
    }
    none("a link is broken", &broken);
}

/// The targets of the links in a page, outside of its code blocks.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let outside = text.split("\n```").step_by(2);
    let ends = outside.flat_map(|part| part.split("](").skip(1));
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchors of the headings of the page at `path`.
fn headings(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| -> String {
        let letters = heading.trim().to_lowercase();
        let kept = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let mut missing = Vec::new();
    for page in files(&[".md"]) {
        for name in page.text.split('`').skip(1).step_by(2) {
            let is_path = name.contains('/') && [".rs", ".md", ".py"].iter().any(|ending| name.ends_with(ending));
            let is_plain = name.bytes().all(|byte| is_word(byte) || b"/.-".contains(&byte));
            if is_path && is_plain && !CODE_ROOTS.iter().any(|start| root().join(format!("{start}{name}")).exists()) {
                missing.push(format!("{}: {name}", page.name));
            }
        }
    }
    none("a document names a file that does not exist", &missing);
}

#[test]
fn sources_name_documents_that_exist() {
    let mut missing = Vec::new();
    for file in files(&[".rs", ".py", ".toml", "Makefile"]) {
        for (at, _) in file.text.match_indices("docs/") {
            let letters = file.text[at..].bytes().take_while(|byte| is_word(*byte) || b"/.-".contains(byte)).count();
            let name = file.text[at..at + letters].trim_end_matches('.');
            if name.ends_with(".md") && !root().join(name).exists() {
                missing.push(format!("{}: {name}", file.name));
            }
        }
    }
    none("a source names a document that does not exist", &missing);
}

#[test]
fn the_format_page_names_what_the_code_writes() {
    let page = fs::read_to_string(root().join("docs/format.md")).expect("there is a page on the format");
    let mut missing = Vec::new();
    for file in files(&[".rs"]).iter().filter(|file| file.name.starts_with("storage/src/")) {
        for line in without_tests(&file.text).lines() {
            // Four letters or a magic number, in a constant.
            let is_magic = line.contains("const ") && (line.contains("MAGIC") || line.contains("letters:"));
            let magic = line.split_once("b\"").and_then(|(_, rest)| rest.split_once('"')).map(|(magic, _)| magic);
            if let Some(magic) = magic.filter(|magic| is_magic && !page.contains(&format!("`{magic}`"))) {
                missing.push(format!("{}: {magic}", file.name));
            }
        }
    }
    let segments = fs::read_to_string(root().join("storage/src/segment/format.rs")).expect("segments have a format");
    let kinds = segments.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
    let kinds: Vec<_> = kinds.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit())).collect();
    assert!(kinds.len() > 10, "the kinds of sections are where they were");
    let unnamed = kinds.iter().filter(|(name, number)| !page.contains(&format!("| {number} | `{name}` |")));
    missing.extend(unnamed.map(|(name, number)| format!("storage/src/segment/format.rs: section {number}, {name}")));
    none("docs/format.md does not name what is on disk", &missing);
}

#[test]
fn nothing_names_a_place_on_one_machine() {
    let mut found = Vec::new();
    for file in files(&[".rs", ".py", ".md", ".toml", ".sh", ".yml", "Makefile"]) {
        // Put together, so that this file does not find itself.
        for place in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")] {
            let starts = |at: usize| at == 0 || b" \t\n\"'`(=".contains(&file.text.as_bytes()[at - 1]);
            if let Some((at, _)) = file.text.match_indices(place).find(|(at, _)| starts(*at)) {
                found.push(format!("{}:{}: {place}", file.name, file.text[..at].matches('\n').count() + 1));
            }
        }
    }
    none("a file names a place that only one machine has", &found);
}

#[test]
fn the_test_itself_tells_code_from_text() {
    let text =
        "let a = \"unsafe \\\" x\"; // unsafe\nlet b = r#\"unsafe \"#; let c = 'u'; let d: &'static str = f('\\'');\n";
    let code = code_of(text);
    assert!(!has_word(&code, "unsafe"), "{code}");
    assert!(code.contains("&'static str = f("), "{code}");
    assert_eq!(code.lines().count(), 2);
    assert!(has_word("an unsafe word", "unsafe") && !has_word("unsafe_code", "unsafe"));
    let paths = crate_paths("use crate::{a::{b, c}, d};\nuse crate::e::F;\nlet x = other_crate::g;");
    let expected = [(1, "a::"), (1, "d"), (2, "e::F")].map(|(line, path)| (line, path.to_owned()));
    assert_eq!(paths, expected);
}
