//! Where a bucket is: `s3://…`, `gs://…`, `az://…` or `file:///…`, and a prefix in it.
//!
//! An address that parses says which store and which folder of it; nothing was asked yet whether they exist. It holds
//! no credentials: those come from the environment, as each cloud has it.

use std::fmt;
use std::path::PathBuf;

use firn_storage::error::{Error, Result};
use firn_storage::objects::ObjectName;
use url::Url;

/// What an address may look like.
const FORMS: &str = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///DIRECTORY";

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Address {
    /// The address that `text` is; an error that says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let url = Url::parse(text)
            .map_err(|error| Error::invalid(format!("{text:?} is no address of a bucket ({error}): give {FORMS}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            // The message leaves the address out, since it goes to a log.
            return Err(Error::invalid(
                "the address of the bucket holds a user or a password: give credentials in the environment, not here",
            ));
        }
        let wrong = |what: &str| Error::invalid(format!("the address {text} of the bucket {what}"));
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("holds '?' or '#': settings are given by options and in the environment"));
        }
        let cloud = match url.scheme() {
            "file" => return directory(&url, wrong),
            "s3" => Cloud::S3,
            "gs" => Cloud::Google,
            "az" => Cloud::Azure,
            other => return Err(wrong(&format!("begins with {other:?}, which is not served: give {FORMS}"))),
        };
        if url.port().is_some() {
            return Err(wrong("has a port: give the server of the store as the endpoint"));
        }
        let bucket = url.host_str().unwrap_or_default().to_owned();
        check_bucket(&bucket, wrong)?;
        let path = url.path().trim_matches('/');
        let prefix = (!path.is_empty()).then(|| ObjectName::new(path)).transpose();
        let prefix = prefix.map_err(|error| wrong(&format!("has a prefix that cannot be: {error}")))?;
        Ok(Self::Cloud { cloud, bucket, prefix })
    }
}

/// The directory that a `file:` address names.
fn directory(url: &Url, wrong: impl Fn(&str) -> Error) -> Result<Address> {
    let advice = "must name a directory of this machine from the root on: file:///DIRECTORY, with three slashes";
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err(wrong(advice));
    }
    let path = url.to_file_path().map_err(|()| wrong(advice))?;
    if path.parent().is_none() {
        return Err(wrong("is the root of the filesystem: name a directory in it"));
    }
    Ok(Address::Directory(path))
}

/// Refuses names that no store gives a bucket.
fn check_bucket(bucket: &str, wrong: impl Fn(&str) -> Error) -> Result<()> {
    if bucket.is_empty() {
        return Err(wrong(&format!("names no bucket: give {FORMS}")));
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
