//! Settings come from defaults, file, variables and flags, in this order, and each knows its bounds.

use super::*;

#[test]
fn the_defaults_are_in_bounds_and_those_of_the_engine() {
    let config = Config::new("somewhere");
    config.check().unwrap();
    let engine = Options::new("somewhere");
    assert_eq!(format!("{:?}", config.storage).replace(' ', ""), format!("{engine:?}").replace(' ', ""));
    assert_eq!(config.limits.message_bytes_max, 64 << 20);
    assert_eq!(config.limits.answer_message_bytes, 4 << 20);
}

/// A field without a row in the table would stay what `blank` says: a limit of zero.
#[test]
fn no_limit_is_zero() {
    let limits = format!("{:?}", Config::new("somewhere").limits);
    let fields = limits.trim_start_matches("Limits { ").trim_end_matches(" }").split(", ");
    let zero: Vec<&str> = fields.filter(|field| field.ends_with(": 0") || field.ends_with(": 0ns")).collect();
    assert!(zero.is_empty() && limits.contains("connections_max: 1024"), "{zero:?} of {limits}");
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SETTINGS.len());
}

#[test]
fn a_file_is_read_and_flags_win_over_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("firn.toml");
    std::fs::write(&file, "flush_bytes_max = \"8MiB\"\nwal_age_max = \"90s\"\nno_mmap = true\nreaders = 3\n").unwrap();
    let config = Config::resolve(Some(&file), &[("readers", "5".to_owned())]).unwrap();
    assert_eq!(config.storage.flush_bytes_max, 8 << 20);
    assert_eq!(config.storage.wal_age_max, Duration::from_secs(90));
    assert!(!config.storage.map);
    assert_eq!(config.limits.readers, 5);
}

#[test]
fn errors_name_the_setting_and_the_form() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("firn.toml");
    std::fs::write(&file, "flush_byte_max = 1").unwrap();
    let error = Config::resolve(Some(&file), &[]).unwrap_err();
    assert!(error.contains("unknown setting `flush_byte_max`"), "{error}");
    let error = Config::resolve(None, &[("wal-age-max", "90".to_owned())]).unwrap_err();
    assert!(error.contains("--wal-age-max (FIRN_WAL_AGE_MAX)") && error.contains("such as \"90s\""), "{error}");
    let error = Config::resolve(None, &[("message-bytes-max", "9GiB".to_owned())]).unwrap_err();
    assert!(error.contains("out of range"), "{error}");
}

#[test]
fn listening_beyond_loopback_needs_a_word() {
    let beyond = ("listen", "0.0.0.0:3476".to_owned());
    assert!(Config::resolve(None, std::slice::from_ref(&beyond)).unwrap_err().contains("--insecure"));
    Config::resolve(None, &[beyond, ("insecure", "true".to_owned())]).unwrap();
}

#[test]
fn settings_that_contradict_each_other_are_refused_and_both_are_named() {
    for (part, part_text, whole, whole_text) in [
        ("stream-batch-bytes-max", "64MiB", "queue-bytes-max", "16MiB"),
        ("flush-bytes-max", "2GiB", "memory-bytes-max", "1GiB"),
        ("message-bytes-max", "64MiB", "decoded-bytes-max", "1MiB"),
        ("message-bytes-max", "64MiB", "request-bytes-max", "32MiB"),
        ("answer-chunk-bytes", "128MiB", "request-bytes-max", "96MiB"),
    ] {
        let given = [(part, part_text.to_owned()), (whole, whole_text.to_owned())];
        let error = Config::resolve(None, &given).unwrap_err();
        assert!(error.contains(part) && error.contains(whole), "{error}");
    }
    let given = [("stream-batch-bytes-max", "16MiB".to_owned()), ("queue-bytes-max", "16MiB".to_owned())];
    Config::resolve(None, &given).unwrap();
}

#[test]
fn sizes_and_durations_have_units() {
    assert_eq!(parse_bytes("4 MiB"), Ok(4 << 20));
    assert_eq!(parse_bytes("17"), Ok(17));
    assert!(parse_bytes("4MB").is_err() && parse_bytes("").is_err() && parse_bytes("99999999999TiB").is_err());
    assert_eq!(parse_duration("100ms"), Ok(Duration::from_millis(100)));
    assert!(parse_duration("5").is_err() && parse_duration("-5s").is_err());
}
