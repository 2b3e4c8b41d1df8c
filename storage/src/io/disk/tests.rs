//! What every door to files promises, asked of the real directory, mapped and not, and of the simulated disk.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::super::simulated::Simulated;
use super::super::{TEMPORARY, publish, sweep};
use super::*;

/// Runs `check` on every kind of door.
fn on_all(check: fn(&Arc<dyn Files>)) {
    for map in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Files> = Arc::new(Disk::open(folder.path().join("data"), map, 4).unwrap());
        check(&disk);
    }
    let simulated: Arc<dyn Files> = Arc::new(Simulated::new());
    check(&simulated);
}

#[test]
fn published_files_read_back_every_way() {
    on_all(|files| {
        files.create_directory("segments").unwrap();
        publish(files, "segments/1", |file| {
            file.append(b"firn ")?;
            file.append(b"is old snow")
        })
        .unwrap();
        assert_eq!(files.list("segments").unwrap(), ["1"]);
        assert_eq!(files.read("segments/1").unwrap(), b"firn is old snow");
        assert_eq!(files.length("segments/1").unwrap(), 16);
        let mut middle = [0; 3];
        files.read_at("segments/1", 8, &mut middle).unwrap();
        assert_eq!(&middle, b"old");
        assert_eq!(files.read_at("segments/1", 14, &mut middle).unwrap_err().kind(), Kind::Io);
        let view = files.map("segments/1", 16, Access::Ordered).unwrap();
        assert_eq!(&view[..], b"firn is old snow");
        assert_eq!(view.as_ptr().align_offset(64), 0);
        files.remove("segments/1").unwrap();
        assert_eq!(&view[..4], b"firn", "a removed file stays with those who hold it");
        assert_eq!(files.read("segments/1").unwrap_err().kind(), Kind::Io);
    });
}

#[test]
fn views_are_counted_and_checked() {
    on_all(|files| {
        publish(files, "full", |file| file.append(&[7; 100])).unwrap();
        publish(files, "empty", |_| Ok(())).unwrap();
        assert_eq!(files.map("full", 99, Access::Ordered).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(files.map("full", 101, Access::Ordered).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(files.map("none", 1, Access::Ordered).unwrap_err().kind(), Kind::Io);
        assert_eq!(files.maps_open(), 0);
        let (full, empty) =
            (files.map("full", 100, Access::Ordered).unwrap(), files.map("empty", 0, Access::Ordered).unwrap());
        assert_eq!((full.len(), empty.len()), (100, 0));
        assert_eq!(empty.as_ptr().align_offset(64), 0);
        let part = full.slice(10..20);
        assert_eq!(files.maps_open(), 2);
        drop((full, empty));
        assert_eq!(files.maps_open(), 1, "a part keeps its view");
        drop(part);
        assert_eq!(files.maps_open(), 0);
    });
}

#[test]
fn names_behave() {
    on_all(|files| {
        assert!(files.list("nowhere").unwrap().is_empty());
        assert!(files.create("nowhere/file").is_err());
        files.create_directory("deep/er").unwrap();
        files.create_directory("deep/er").unwrap();
        for name in ["deep/er/b", "deep/er/a", "deep/c"] {
            files.create(name).unwrap().sync().unwrap();
        }
        assert!(files.create("deep/c").is_err(), "a file is created only where there is none");
        assert_eq!(files.list("deep/er").unwrap(), ["a", "b"]);
        assert_eq!(files.list("deep").unwrap(), ["c"], "a list has no directories");
        files.rename("deep/c", "deep/er/a").unwrap();
        files.sync_directory("deep").unwrap();
        assert_eq!(files.list("deep").unwrap(), Vec::<String>::new());
        assert_eq!(files.rename("deep/c", "deep/d").unwrap_err().kind(), Kind::Io);
        assert_eq!(files.remove("deep/c").unwrap_err().kind(), Kind::Io);
        files.create(&format!("deep/er/9{TEMPORARY}")).unwrap();
        sweep(files.as_ref(), "deep/er").unwrap();
        assert_eq!(files.list("deep/er").unwrap(), ["a", "b"]);
    });
}

#[test]
fn a_failed_fill_leaves_nothing() {
    on_all(|files| {
        let refused = publish(files, "file", |_| Err(Error::invalid("no"))).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(files.list("").unwrap().iter().all(|name| !name.starts_with("file")));
    });
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b/data");
    let first = Disk::open(&root, true, 10).unwrap();
    let error = Disk::open(&root, true, 10).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains(&root.display().to_string()), "{error}");
    assert!(error.message().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    Disk::open(&root, true, 10).unwrap();
    assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_directory_in_which_others_may_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |mode| {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        Disk::open(folder.path(), true, 4).map(drop)
    };
    for mode in [0o720, 0o702, 0o777] {
        let error = open(mode).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(error.message().contains("chmod 700"), "{error}");
    }
    for mode in [0o755, 0o750, 0o700] {
        open(mode).unwrap();
    }
}

#[test]
fn maps_are_bounded() {
    for map in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let files: Arc<dyn Files> = Arc::new(Disk::open(folder.path(), map, 2).unwrap());
        publish(&files, "file", |file| file.append(&[1; 10])).unwrap();
        let views = [files.map("file", 10, Access::Ordered).unwrap(), files.map("file", 10, Access::Ordered).unwrap()];
        let error = files.map("file", 10, Access::Ordered).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
        assert!(error.message().contains("maps-max"), "{error}");
        drop(views);
        files.map("file", 10, Access::Ordered).unwrap();
    }
}

#[test]
fn errors_tell_what_to_do() {
    let kind = |code| failed("segments/7", "write", &std::io::Error::from_raw_os_error(code)).kind();
    assert_eq!(kind(libc::ENOSPC), Kind::Exhausted);
    assert_eq!(kind(libc::EMFILE), Kind::Exhausted);
    assert_eq!(kind(libc::ENOMEM), Kind::Exhausted);
    assert_eq!(kind(libc::EIO), Kind::Io);
    let message = failed("segments/7", "write", &std::io::Error::from_raw_os_error(libc::EIO)).to_string();
    assert!(message.contains("could not write segments/7"), "{message}");
}

#[test]
#[should_panic(expected = "relative to the data directory")]
fn names_stay_inside() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), true, 2).unwrap();
    let _ = disk.read("../secret");
}
