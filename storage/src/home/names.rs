//! The names of objects: only internal numbers, and in all but one kind the epoch of who wrote it.

use super::lineage::Lineage;
use crate::manifest::NamedFile;
use crate::objects::ObjectName;

/// What the bucket is, and whose.
pub(super) const FORMAT: &str = "format";
/// The folder of claims.
pub(super) const EPOCHS: &str = "epochs";
/// The folder of the log.
pub(super) const LOG: &str = "wal";
/// The folder of the database's files.
pub(super) const DATA: &str = "data";
/// The folder of ice.
pub(super) const ICE: &str = "ice";
/// The folder of the lists of tables.
pub(super) const LISTS: &str = "lists";
/// The folder of checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// The folder of roots.
pub(super) const ROOTS: &str = "manifest";

fn named(name: String) -> ObjectName {
    ObjectName::new(&name).expect("internal numbers make names of objects")
}

/// The object that says what the bucket is.
pub(super) fn format() -> ObjectName {
    named(FORMAT.to_owned())
}

/// The claim of `epoch`.
pub(super) fn epoch(epoch: u64) -> ObjectName {
    named(format!("{EPOCHS}/{epoch:010}"))
}

/// The epoch whose claim is `name`.
pub(super) fn epoch_of(name: &ObjectName) -> Option<u64> {
    name.as_str().strip_prefix(EPOCHS)?.strip_prefix('/')?.parse().ok()
}

/// The object `number` of the log of `epoch`.
pub(super) fn log(epoch: u64, number: u64) -> ObjectName {
    named(format!("{LOG}/{epoch:010}/{number:012}"))
}

/// The epoch and number of the log object `name`.
pub(super) fn log_of(name: &ObjectName) -> Option<(u64, u64)> {
    let (epoch, number) = name.as_str().strip_prefix(LOG)?.strip_prefix('/')?.split_once('/')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

/// The root `number` of `epoch`.
pub(super) fn root(epoch: u64, number: u64) -> ObjectName {
    named(format!("{ROOTS}/{epoch:010}-{number:012}"))
}

/// The epoch and number of the root `name`.
pub(super) fn root_of(name: &ObjectName) -> Option<(u64, u64)> {
    let (epoch, number) = name.as_str().strip_prefix(ROOTS)?.strip_prefix('/')?.split_once('-')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

/// The checkpoint `number` of `epoch`.
pub(super) fn checkpoint(epoch: u64, number: u64) -> ObjectName {
    named(format!("{CHECKPOINTS}/{epoch:010}-{number:012}"))
}

/// The list of `table` that the root `number` of `epoch` was the first to name.
pub(super) fn list(epoch: u64, number: u64, table: u32) -> ObjectName {
    named(format!("{LISTS}/{epoch:010}-{number:012}-{table}"))
}

/// The object of the local `file`, which a writer of `lineage` made.
pub(super) fn data(lineage: &Lineage, file: NamedFile) -> ObjectName {
    let local = file.name();
    let (_, ending) = local.rsplit_once('.').expect("files of the database have endings");
    named(format!("{DATA}/{:010}-{:012}.{ending}", lineage.epoch_of(file.number()), file.number()))
}

/// Whether the file `name` of [`DATA`] holds rows or keys: schema versions do not, and of what was erased there are hashes.
pub(super) fn holds_rows(name: &str) -> bool {
    !name.ends_with(".versions") && !name.ends_with(".erasures")
}

/// The object `name` in the folder of the ice of `table`.
pub(super) fn in_ice(table: u32, name: &str) -> ObjectName {
    named(format!("{ICE}/{table}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert_eq!(epoch_of(&epoch(7)), Some(7));
        assert_eq!(log_of(&log(7, 12)), Some((7, 12)));
        assert_eq!(root_of(&root(7, 12)), Some((7, 12)));
        assert_eq!(root_of(&list(7, 12, 3)), None);
    }
}
