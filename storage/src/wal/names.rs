//! The names of the log's files.

use crate::error::Result;
use crate::io::Files;

/// Where the log's files are.
pub(crate) const DIRECTORY: &str = "wal";

/// The name of the log file `number`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{DIRECTORY}/{number:020}.wal")
}

/// The numbers of the log files, in order. Other names are not ours and are left alone.
pub(crate) fn file_numbers(files: &dyn Files) -> Result<Vec<u64>> {
    let number = |name: &String| {
        let digits = name.strip_suffix(".wal").filter(|digits| digits.len() == 20)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mut numbers: Vec<u64> = files.list(DIRECTORY)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
