//! What the failure of one attempt means: whether the object is absent, whether it is worth another attempt.
//!
//! "There is no such object" decides who may write, so it is believed only if the store says just that: a bucket that
//! is gone, a wrong path at a proxy or a server that is no object store also answer 404.

use std::time::Duration;

use firn_storage::error::Kind;
use object_store::Error;

/// Bytes of a store's words that an error repeats.
const WORDS_BYTES_MAX: usize = 400;

/// What S3 and Google, or Azure, call an object that is not there.
const NO_OBJECT: [&str; 2] = ["NoSuchKey</Code>", "BlobNotFound</Code>"];

/// What S3 and Google, or Azure, call a bucket that is not there.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket</Code>", "ContainerNotFound</Code>"];

/// How one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The store says that there is no such object.
    Absent,
    /// A condition was not met, or two calls were in each other's way: statuses 409 and 412. Look again.
    Conflict(String),
    /// The object ends before what was asked for.
    Short(String),
    /// There was no answer within that time.
    Silence(Duration),
    /// Another attempt may work. The kind is that of the error if none does.
    Later(Kind, String),
    /// No attempt will work until somebody mends something.
    Never(Kind, String),
}

impl Failure {
    /// What `error` of one attempt means.
    pub(crate) fn of(error: &Error) -> Self {
        let words = error.to_string();
        let has = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
        if has(&NO_BUCKET) {
            return Self::Never(
                Kind::Precondition,
                format!("the bucket does not exist; create it ({})", short(&words)),
            );
        }
        match error {
            Error::NotFound { .. } if has(&NO_OBJECT) => Self::Absent,
            Error::NotFound { .. } => {
                let why = "the answer was 404, but not that there is no such object; is the endpoint an object store?";
                Self::Later(Kind::Unavailable, format!("{why} ({})", short(&words)))
            }
            Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
                Self::Conflict(short(&words))
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => denied(&words),
            Error::NotImplemented { .. } | Error::NotSupported { .. } => Self::Never(Kind::Unsupported, short(&words)),
            _ => Self::of_words(&words),
        }
    }

    /// What an error means that the client of the store knows no better than by its words.
    fn of_words(words: &str) -> Self {
        let short = short(words);
        // A body that does not fit the request: retried, since a proxy may be at fault, and else damage.
        let wrong_body = ["Received non-partial response", "Requested ", "Content-Range"];
        if words.contains("Wanted range starting at") {
            return Self::Short(short);
        }
        match status(words) {
            Some(401 | 403) => denied(words),
            Some(409 | 412) => Self::Conflict(short),
            Some(416) => Self::Short(short),
            Some(501) => Self::Never(Kind::Unsupported, short),
            // S3 says so of a connection that stood still.
            Some(400) if words.contains("RequestTimeout") => Self::Later(Kind::Unavailable, short),
            Some(408 | 429 | 500..) => Self::Later(Kind::Unavailable, short),
            Some(_) => Self::Never(Kind::Precondition, short),
            // The answer to a delete of several is 200 and names what was refused.
            None if words.contains("AccessDenied") => denied(words),
            None if words.contains("redirect without LOCATION") => Self::Never(Kind::Precondition, short),
            None if wrong_body.iter().any(|wrong| words.contains(wrong)) => Self::Later(Kind::Corrupt, short),
            None => Self::Later(Kind::Unavailable, short),
        }
    }

    /// Kind and words of the error if no attempt works.
    pub(crate) fn last(self) -> (Kind, String) {
        match self {
            Self::Absent => (Kind::Unavailable, "the store says that there is no such object".to_owned()),
            Self::Conflict(words) => (Kind::Unavailable, words),
            Self::Short(words) => (Kind::Corrupt, words),
            Self::Silence(limit) => {
                (Kind::Unavailable, format!("there was no answer within {:.1} s", limit.as_secs_f64()))
            }
            Self::Later(kind, words) | Self::Never(kind, words) => (kind, words),
        }
    }
}

fn denied(words: &str) -> Failure {
    let advice = "check the credentials, the clock of this machine, and that they may read, write, delete and list";
    Failure::Never(Kind::Denied, format!("{}; {advice}", short(words)))
}

/// The status that `words` name.
fn status(words: &str) -> Option<u16> {
    let (_, rest) = words.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The beginning of `words`, on one line.
fn short(words: &str) -> String {
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > WORDS_BYTES_MAX {
        let end = (0..=WORDS_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(words: &str) -> Failure {
        Failure::of(&Error::Generic { store: "S3", source: words.into() })
    }

    fn not_found(words: &str) -> Failure {
        Failure::of(&Error::NotFound { path: "a".to_owned(), source: words.into() })
    }

    #[test]
    fn only_an_absent_object_is_absent() {
        let answer = |code: &str| format!("status code: 404 Not Found: <Error><Code>{code}</Code></Error>");
        assert_eq!(not_found(&answer("NoSuchKey")), Failure::Absent);
        assert_eq!(not_found(&answer("BlobNotFound")), Failure::Absent);
        for code in ["NoSuchBucket", "ContainerNotFound"] {
            let Failure::Never(kind, words) = not_found(&answer(code)) else { panic!("{code}") };
            assert_eq!(kind, Kind::Precondition);
            assert!(words.starts_with("the bucket does not exist"), "{words}");
        }
        for words in ["status code: 404 Not Found: <html>nginx</html>", "status code: 404 Not Found: "] {
            assert!(matches!(not_found(words), Failure::Later(Kind::Unavailable, _)), "{words}");
        }
    }

    #[test]
    fn words_say_whether_another_attempt_may_work() {
        let kind = |words: &str| match generic(words) {
            Failure::Later(kind, _) => (true, kind),
            Failure::Never(kind, _) => (false, kind),
            other => panic!("{other:?}"),
        };
        let status = |status: &str| kind(&format!("Server returned non-2xx status code: {status}: "));
        for again in ["408 Request Timeout", "429 Too Many Requests", "500 X", "503 Slow Down", "400 X: RequestTimeout"]
        {
            assert_eq!(status(again), (true, Kind::Unavailable), "{again}");
        }
        assert_eq!(status("501 Not Implemented"), (false, Kind::Unsupported));
        assert_eq!(status("403 Forbidden"), (false, Kind::Denied));
        assert_eq!(status("400 Bad Request"), (false, Kind::Precondition));
        assert_eq!(kind("failed to delete: AccessDenied Access Denied"), (false, Kind::Denied));
        assert_eq!(kind("error sending request"), (true, Kind::Unavailable));
        assert_eq!(kind("Received redirect without LOCATION, this …"), (false, Kind::Precondition));
        assert_eq!(kind("Requested 0..5, got 1..6"), (true, Kind::Corrupt));
        assert!(matches!(generic("status code: 416 Range Not Satisfiable: "), Failure::Short(_)));
        assert!(matches!(generic("status code: 409 Conflict: "), Failure::Conflict(_)));
    }

    #[test]
    fn words_are_kept_short() {
        let long = short(&"ä \n".repeat(1000));
        assert!(long.len() <= WORDS_BYTES_MAX + '…'.len_utf8() && long.starts_with("ä ä ä"), "{long}");
    }
}
