//! The files of the tree, and which of them are tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the tree.
pub(crate) struct File {
    /// From the root of the tree, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the server's crate lies in the root of the tree").to_path_buf()
}

/// All files whose names end with one of `endings`, sorted.
pub(crate) fn files(endings: &[&str]) -> Vec<File> {
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
pub(crate) fn none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// The files of modules that are compiled for tests only: `#[cfg(test)] mod name;`, and all that is in a folder `tests`
/// or among the examples.
pub(crate) fn test_files(sources: &[File]) -> BTreeSet<String> {
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
pub(crate) fn module_folder(name: &str) -> String {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let own = ["mod", "lib", "main"].iter().find_map(|own| stem.strip_suffix(&format!("/{own}")));
    own.unwrap_or(stem).to_owned()
}
