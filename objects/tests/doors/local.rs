//! A directory as a bucket: races, what crashes leave, modes, errors.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use firn_objects::local::Local;
use firn_storage::error::Kind;
use firn_storage::objects::conformance::race;
use firn_storage::objects::{Creation, Listed, Objects};

use crate::name;

/// A file as a crash leaves it amid a write, `age` old.
fn leave(path: &Path, age: Duration) {
    fs::write(path, "half an obj").unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn of_sixteen_creators_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let objects: Arc<dyn Objects> = Arc::new(Local::open(folder.path()).unwrap());
    race(&objects, "epochs", 16, 40).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path().join("epochs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn two_handles_of_one_directory_race_for_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Local::open(folder.path()).unwrap(), Local::open(folder.path()).unwrap());
    for round in 0..40 {
        // The folder is new each time, so that they also meet where it is created.
        let object = name(&format!("folder-{round}/deep/object"));
        let created = std::thread::scope(|scope| {
            let racing = [&one, &other].map(|objects| scope.spawn(|| objects.put_new(&object, "x".into()).unwrap()));
            racing
                .into_iter()
                .filter(|_| true)
                .map(|racer| racer.join().unwrap())
                .filter(|is| *is == Creation::Created)
                .count()
        });
        assert_eq!(created, 1);
    }
}

#[test]
fn what_a_crash_leaves_is_not_listed_and_is_swept_when_old() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Local::open(folder.path()).unwrap();
    objects.put(&name("data/1.segment"), "x".into()).unwrap();
    let old = [folder.path().join(".0123456789abcdef.new"), folder.path().join("data/.fedcba9876543210.new")];
    let young = folder.path().join("data/.aaaaaaaaaaaaaaaa.new");
    let foreign = [folder.path().join(".snapshot"), folder.path().join("data/notes (old).txt")];
    old.iter().chain(&foreign).for_each(|path| leave(path, Duration::from_secs(7200)));
    leave(&young, Duration::from_secs(60));
    // A crash between link and unlink leaves the object under both names.
    let linked = folder.path().join("data/.bbbbbbbbbbbbbbbb.new");
    fs::hard_link(folder.path().join("data/1.segment"), &linked).unwrap();
    let expected = [Listed { name: name("data/1.segment"), length: 1 }];
    assert_eq!(objects.list("").unwrap(), expected);
    let again = Local::open(folder.path()).unwrap();
    assert_eq!(again.list("").unwrap(), expected);
    assert!(old.iter().all(|path| !path.exists()), "old leftovers go");
    assert!(young.exists() && linked.exists(), "young ones may be a write under way");
    assert!(foreign.iter().all(|path| path.exists()), "what is not ours stays");
    assert_eq!(again.get(&name("data/1.segment")).unwrap(), Some("x".into()));
}

/// The directory that the test below writes to, in a process of its own.
const CHILD_FOLDER: &str = "FIRN_OBJECTS_CHILD";

#[test]
fn writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let objects = Local::open(folder).unwrap();
    for number in 0_u32.. {
        let object = name(&format!("{}/{number}", number % 3));
        let content = vec![number as u8; 100_000];
        if number % 2 == 0 {
            objects.put_new(&object, content.into()).unwrap();
        } else {
            objects.put(&object, content.into()).unwrap();
        }
    }
}

#[test]
fn a_writer_that_is_killed_leaves_whole_objects() {
    for round in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "local::writes_until_it_is_killed"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let objects = Local::open(folder.path()).unwrap();
        // It is killed amid its work, however slow the machine is.
        while objects.list("").unwrap().len() < 5 + 7 * round {
            assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for Listed { name, length } in objects.list("").unwrap() {
            let number: u32 = name.as_str().rsplit('/').next().unwrap().parse().unwrap();
            let content = objects.get(&name).unwrap().unwrap();
            let whole = content.len() == 100_000 && content.iter().all(|byte| *byte == number as u8);
            assert!(whole && length == 100_000, "{name} is not whole");
            assert_eq!(objects.put_new(&name, "another".into()).unwrap(), Creation::Found);
        }
    }
}

#[test]
fn a_write_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Local::open(folder.path()).unwrap();
    objects.put(&name("a/b"), "x".into()).unwrap();
    for error in [
        objects.put(&name("a"), "y".into()).unwrap_err(),
        objects.put_new(&name("a"), "y".into()).unwrap_err(),
        objects.put_new(&name("a/b/c"), "y".into()).unwrap_err(),
        objects.delete(&name("a")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Precondition, "{error}");
        assert!(error.message().contains("object a") && error.message().contains("the name of a folder"), "{error}");
    }
    assert_eq!(objects.get(&name("a")).unwrap(), None, "a folder is no object");
    assert_eq!(objects.length(&name("a/b/c")).unwrap(), None);
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["a"]);
}

#[test]
fn files_are_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Local::open(folder.path().join("bucket")).unwrap();
    objects.put_new(&name("a/b"), "x".into()).unwrap();
    objects.put(&name("a/c"), "x".into()).unwrap();
    let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["bucket", "bucket/a", "bucket/a/b", "bucket/a/c"].map(mode), [0o700, 0o700, 0o600, 0o600]);
}

#[test]
fn a_folder_that_somebody_removed_is_created_again() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Local::open(folder.path()).unwrap();
    objects.put(&name("a/b"), "x".into()).unwrap();
    fs::remove_dir_all(folder.path().join("a")).unwrap();
    assert_eq!(objects.list("").unwrap(), []);
    objects.delete(&name("a/b")).unwrap();
    objects.put(&name("a/b"), "x".into()).unwrap_err();
    objects.put(&name("a/b"), "y".into()).unwrap();
    assert_eq!(objects.get(&name("a/b")).unwrap(), Some("y".into()));
}

#[test]
fn a_bucket_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let error = Local::open(folder.path().join("file")).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains("is no directory"), "{error}");
}
