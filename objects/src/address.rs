//! Where a bucket or a file is: `s3://…`, `gs://…`, `az://…` or `file:///…`, and a prefix or a key in it.
//!
//! An address that parses says which store and what of it; nothing was asked yet whether they exist. It holds no
//! credentials: those come from the environment, as each cloud has it.

use std::fmt;
use std::path::PathBuf;

use firn_storage::error::{Error, Result};
use firn_storage::objects::ObjectName;
use object_store::path::Path;
use url::Url;

/// What an address is of, for messages.
struct Noun {
    name: &'static str,
    /// What an address of one may look like.
    forms: &'static str,
    /// What one of this machine must be.
    local: &'static str,
}

const BUCKET: Noun = Noun {
    name: "bucket",
    forms: "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///DIRECTORY",
    local: "must name a directory of this machine from the root on: file:///DIRECTORY, with three slashes",
};

const FILE: Noun = Noun {
    name: "file",
    forms: "s3://BUCKET/KEY, gs://BUCKET/KEY, az://CONTAINER/KEY or file:///PATH",
    local: "must name a file of this machine from the root on: file:///PATH, with three slashes",
};

impl Noun {
    /// The error of the address `text`, which does `what` it must not.
    fn wrong(&self, text: &str, what: &str) -> Error {
        Error::invalid(format!("the address {text} of the {} {what}", self.name))
    }
}

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cloud {
    S3,
    Google,
    Azure,
}

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Directory(PathBuf),
    Cloud {
        cloud: Cloud,
        /// Its name; that of a container in Azure.
        bucket: String,
        /// The folder below which our objects are.
        prefix: Option<ObjectName>,
    },
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileAddress {
    Path(PathBuf),
    Cloud {
        cloud: Cloud,
        bucket: String,
        /// Its key, of whatever letters.
        key: Path,
    },
}

/// An address of which the path is still to be read.
enum Parts {
    Path(PathBuf),
    Cloud(Cloud, String, Url),
}

impl Address {
    /// The address that `text` is; an error that says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| BUCKET.wrong(text, what);
        let (cloud, bucket, url) = match parts(text, &BUCKET)? {
            Parts::Path(path) if path.parent().is_none() => {
                return Err(wrong("is the root of the filesystem: name a directory in it"));
            }
            Parts::Path(path) => return Ok(Self::Directory(path)),
            Parts::Cloud(cloud, bucket, url) => (cloud, bucket, url),
        };
        let path = url.path().trim_matches('/');
        let prefix = (!path.is_empty()).then(|| ObjectName::new(path)).transpose();
        let prefix = prefix.map_err(|error| wrong(&format!("has a prefix that cannot be: {error}")))?;
        Ok(Self::Cloud { cloud, bucket, prefix })
    }
}

impl FileAddress {
    /// The address that `text` is; an error that says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| FILE.wrong(text, what);
        let (cloud, bucket, url) = match parts(text, &FILE)? {
            Parts::Path(path) => return Ok(Self::Path(path)),
            Parts::Cloud(cloud, bucket, url) => (cloud, bucket, url),
        };
        let key = url.path().strip_prefix('/').unwrap_or_default();
        if key.is_empty() || key.ends_with('/') {
            return Err(wrong(&format!("names no file, but what may hold some: give {} of each", FILE.forms)));
        }
        let key = Path::from_url_path(key);
        let key = key.map_err(|error| wrong(&format!("has a key that cannot be: {error}")))?;
        Ok(Self::Cloud { cloud, bucket, key })
    }
}

fn parts(text: &str, noun: &Noun) -> Result<Parts> {
    let Noun { name, forms, local } = noun;
    let url = Url::parse(text)
        .map_err(|error| Error::invalid(format!("{text:?} is no address of a {name} ({error}): give {forms}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The message leaves the address out, since it goes to a log.
        return Err(Error::invalid(format!(
            "the address of the {name} holds a user or a password: give credentials in the environment, not here"
        )));
    }
    let wrong = |what: &str| noun.wrong(text, what);
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("holds '?' or '#': settings are given by options and in the environment"));
    }
    let cloud = match url.scheme() {
        "file" => {
            let is_here = url.host_str().is_none_or(str::is_empty);
            let path = url.to_file_path().ok().filter(|_| is_here);
            return path.map(Parts::Path).ok_or_else(|| wrong(local));
        }
        "s3" => Cloud::S3,
        "gs" => Cloud::Google,
        "az" => Cloud::Azure,
        other => return Err(wrong(&format!("begins with {other:?}, which is not served: give {forms}"))),
    };
    if url.port().is_some() {
        return Err(wrong("has a port: give the server of the store as the endpoint"));
    }
    let bucket = url.host_str().unwrap_or_default().to_owned();
    check_bucket(&bucket, forms, wrong)?;
    Ok(Parts::Cloud(cloud, bucket, url))
}

/// Refuses names that no store gives a bucket.
fn check_bucket(bucket: &str, forms: &str, wrong: impl Fn(&str) -> Error) -> Result<()> {
    if bucket.is_empty() {
        return Err(wrong(&format!("names no bucket: give {forms}")));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    if bucket.len() < 3 || bucket.len() > 222 || !bucket.bytes().all(allowed) {
        let rule = "3 bytes or more, of lower-case letters, digits, '-', '.' and '_'";
        return Err(wrong(&format!("names the bucket {bucket:?}, and no store has such names: they have {rule}")));
    }
    Ok(())
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cloud::S3 => "s3",
            Cloud::Google => "gs",
            Cloud::Azure => "az",
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Directory(path) => write!(f, "file://{}", path.display()),
            Address::Cloud { cloud, bucket, prefix: None } => write!(f, "{cloud}://{bucket}"),
            Address::Cloud { cloud, bucket, prefix: Some(prefix) } => write!(f, "{cloud}://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use firn_storage::error::Kind;

    use super::*;

    #[test]
    fn addresses_say_store_bucket_and_prefix() {
        let cloud = |cloud, bucket: &str, prefix: Option<&str>| Address::Cloud {
            cloud,
            bucket: bucket.to_owned(),
            prefix: prefix.map(|prefix| ObjectName::new(prefix).unwrap()),
        };
        for (text, expected) in [
            ("s3://features", cloud(Cloud::S3, "features", None)),
            ("s3://features/", cloud(Cloud::S3, "features", None)),
            ("s3://features/prod/eu-1/", cloud(Cloud::S3, "features", Some("prod/eu-1"))),
            ("gs://my_bucket.of/x", cloud(Cloud::Google, "my_bucket.of", Some("x"))),
            ("az://container/x", cloud(Cloud::Azure, "container", Some("x"))),
            ("file:///var/lib/bucket", Address::Directory("/var/lib/bucket".into())),
            ("file:///with%20space/b", Address::Directory("/with space/b".into())),
        ] {
            assert_eq!(Address::parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(Address::parse("s3://features/prod/").unwrap().to_string(), "s3://features/prod");
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        for (text, what) in [
            ("features", "give s3://BUCKET"),
            ("", "give s3://BUCKET"),
            ("http://host/bucket", "begins with \"http\""),
            ("s3:///prefix", "names no bucket"),
            ("s3://Features", "lower-case letters"),
            ("s3://ab", "3 bytes or more"),
            ("s3://features:9000/x", "give the server of the store as the endpoint"),
            ("s3://features/a//b", "a part between slashes is empty"),
            ("s3://features/a b", "only letters"),
            ("s3://features/x?region=eu", "holds '?' or '#'"),
            ("file://relative/bucket", "with three slashes"),
            ("file:///", "the root of the filesystem"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{text}");
            assert!(error.message().contains(what), "{text}: {error}");
        }
        let error = Address::parse("s3://key:secret@features/x").unwrap_err();
        assert!(error.message().contains("in the environment") && !error.message().contains("secret"), "{error}");
    }
}
