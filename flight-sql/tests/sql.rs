//! The files in `sql/`, each against a fresh database, with its rows in memory, and again with all of them in segments.

mod database;

use database::{Fresh, Layout};

#[tokio::test]
async fn the_files_hold() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql")).expect("the folder");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        for layout in [Layout::Memory, Layout::Segments] {
            let mut tester = sqllogictest::Runner::new(move || async move { Ok(Fresh::new(layout)) });
            if let Err(error) = tester.run_file_async(&file).await {
                panic!("{} with {layout:?}: {}", file.display(), error.display(false));
            }
        }
    }
}
