//! Pieces come once, when they are asked for; a file has its name when all of it is there.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::io::simulated::{Fault, Simulated};

const LENGTH: u64 = 3 * PIECE_BYTES + 100;

fn byte(at: u64) -> u8 {
    (at % 251) as u8
}

/// A door to `d/f`, which comes from a source that counts what it is asked for, and fails at what `fails` says.
fn door(disk: &Simulated, fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> (Arc<Coming>, Arc<AtomicUsize>) {
    disk.create_directory("d").unwrap();
    let coming = Arc::new(Coming::new(Arc::new(disk.clone())));
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let source: Source = Box::new(move |range| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        match fails(number) {
            true => Err(Error::new(Kind::Unavailable, "not now")),
            false => Ok(range.map(byte).collect()),
        }
    });
    coming.expect("d/f", LENGTH, source).unwrap();
    (coming, asked)
}

#[test]
fn a_piece_comes_once_for_all_who_wait_for_it() {
    let disk = Simulated::new();
    let (coming, asked) = door(&disk, |_| false);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the end comes first");
    assert_eq!(coming.bytes_left(), LENGTH - 100);
    let view = coming.map("d/f", LENGTH, Access::Ordered).unwrap();
    let file = coming.coming("d/f").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let range = PIECE_BYTES - 10..PIECE_BYTES + 10;
                file.wait(range.clone()).unwrap();
                assert!(range.into_iter().all(|at| view[at as usize] == byte(at)));
            });
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 2, "two pieces come with one call");
    let mut bytes = [0; 4];
    coming.read_at("d/f", 1, &mut bytes).unwrap();
    assert_eq!((bytes, asked.load(Ordering::SeqCst)), ([1, 2, 3, 4], 2));
    assert!(coming.read_at("d/f", LENGTH - 1, &mut bytes).is_err(), "it is shorter");
}

#[test]
fn a_file_has_its_name_when_it_is_whole_and_durable() {
    let disk = Simulated::new();
    let (coming, _) = door(&disk, |_| false);
    let names = |files: &dyn Files| files.list("d").unwrap();
    assert_eq!((names(coming.as_ref()), names(&disk)), (vec!["f".to_owned()], vec!["f.tmp".to_owned()]));
    assert_eq!(coming.length("d/f").unwrap(), LENGTH);
    let view = coming.map("d/f", LENGTH, Access::Ordered).unwrap();
    coming.finish("d/f", 4).unwrap();
    assert!(coming.left().is_empty() && coming.coming("d/f").is_none());
    let after = disk.crash(1).read("d/f").unwrap();
    assert!(after == view && (0..LENGTH).all(|at| after[at as usize] == byte(at)), "every byte is there after a crash");
    coming.finish("d/f", 4).unwrap();
    coming.remove("d/f").unwrap();
    assert!(names(coming.as_ref()).is_empty());
}

#[test]
fn what_failed_is_asked_for_again() {
    let disk = Simulated::new();
    let (coming, asked) = door(&disk, |number| number == 1 || number == 3);
    let file = coming.coming("d/f").unwrap();
    assert_eq!(file.wait(0..1).unwrap_err().kind(), Kind::Unavailable);
    file.wait(0..1).unwrap();
    assert_eq!(coming.finish("d/f", 1).unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(coming.left(), [("d/f".to_owned(), 1)]);
    coming.finish("d/f", 1).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 5, "the end, one piece that failed once, and the rest that did");
}

#[test]
fn a_second_try_to_sync_proves_nothing() {
    let disk = Simulated::new();
    let (coming, _) = door(&disk, |_| false);
    coming.coming("d/f").unwrap().wait(0..LENGTH).unwrap();
    disk.fail_call(1, Fault::SyncLost);
    assert_eq!(coming.finish("d/f", 1).unwrap_err().kind(), Kind::Poisoned);
    assert_eq!(coming.finish("d/f", 1).unwrap_err().kind(), Kind::Poisoned);
    assert_eq!(disk.names(), ["d/f.tmp"], "it has no name that says that it is whole");
}

#[test]
fn a_file_that_nobody_wants_any_more_is_not_finished() {
    let disk = Simulated::new();
    let (coming, _) = door(&disk, |_| false);
    let view = coming.map("d/f", LENGTH, Access::Ordered).unwrap();
    let file = coming.coming("d/f").unwrap();
    coming.remove("d/f").unwrap();
    assert!(coming.list("d").unwrap().is_empty() && disk.names().is_empty());
    coming.finish("d/f", 1).unwrap();
    file.wait(0..1).unwrap();
    assert_eq!(view[0], byte(0), "who has it open still reads it");
}

#[test]
fn the_real_directory_keeps_what_came_with_and_without_maps() {
    for map in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let disk = crate::io::disk::Disk::open(directory.path(), map, 10).unwrap();
        disk.create_directory("d").unwrap();
        let coming = Coming::new(Arc::new(disk));
        coming.expect("d/f", LENGTH, Box::new(|range| Ok(range.map(byte).collect()))).unwrap();
        let view = coming.map("d/f", LENGTH, Access::Ordered).unwrap();
        coming.coming("d/f").unwrap().wait(5..6).unwrap();
        assert_eq!((view.len() as u64, view[5]), (LENGTH, byte(5)));
        coming.finish("d/f", 2).unwrap();
        assert!((0..LENGTH).all(|at| view[at as usize] == byte(at)));
        assert_eq!(coming.map("d/f", LENGTH, Access::Ordered).unwrap(), view);
    }
}
