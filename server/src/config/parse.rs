//! The texts of settings: sizes in bytes, durations, counts, addresses, flags.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use firn_storage::config::Level;
use firn_storage::model::value;

/// Units of size, each with its bytes.
const SIZES: [(&str, u64); 5] = [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

fn split(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..digits], text[digits..].trim_start())
}

/// Reads `64MiB`, `1 GiB` or a plain number of bytes.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text.trim());
    let size = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, size)| *size);
    let bytes = digits.parse::<u64>().ok().zip(size).and_then(|(number, size)| number.checked_mul(size));
    bytes.ok_or_else(|| format!("`{text}` is no size; write a number and KiB, MiB, GiB or TiB, such as 64MiB"))
}

/// Reads `90s`, `15m`, `100ms`: durations are spelled as on the wire.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let micros = value::parse_duration(text.trim()).map_err(|error| error.to_string())?;
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// Reads a whole number from `least` to `most`.
pub(super) fn count(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.trim().parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("`{text}` is no whole number from {least} to {most}")),
    }
}

/// A number of threads; 0 is one per core.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    Ok(match count(text, 0, 1024)? {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        threads => threads as usize,
    })
}

/// Reads a size from `least` to `most` bytes.
pub(super) fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes if (least..=most).contains(&bytes) => Ok(bytes),
        _ => Err(format!("`{text}` is out of range: from {least} to {most} bytes")),
    }
}

/// Reads `local` or `object`.
pub(super) fn level(text: &str) -> Result<Level, String> {
    match text.trim() {
        "local" => Ok(Level::Local),
        "object" => Ok(Level::Object),
        _ => Err(format!("`{text}` is neither local nor object")),
    }
}

/// Reads `true` or `false`.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" | "" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Reads `host:port`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: String| format!("`{text}` is no address: {why}; write host:port, such as 127.0.0.1:3476");
    let mut found = text.trim().to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    found.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}
