//! One file of the bucket, put whole on the local disk.

use std::sync::Arc;

use super::root;
use crate::error::Result;
use crate::io::{Files, HUGE_BYTES, publish_in};
use crate::objects::{ObjectName, Objects};

/// Puts the `object` under `name` into `files`, piece by piece; how many bytes it has.
pub(super) fn restore_file(
    objects: &dyn Objects,
    files: &Arc<dyn Files>,
    object: &ObjectName,
    name: &str,
) -> Result<u64> {
    let gone = || root::gone(object);
    let length = objects.length(object)?.ok_or_else(gone)?;
    publish_in(files, name, HUGE_BYTES, |into| {
        let mut next = 0;
        while next < length {
            let end = length.min(next + PIECE_BYTES_MAX);
            into.append(&objects.get_range(object, next..end)?.ok_or_else(gone)?)?;
            next = end;
        }
        Ok(())
    })?;
    Ok(length)
}

/// So much of a file is in memory at once.
const PIECE_BYTES_MAX: u64 = 8 << 20;
