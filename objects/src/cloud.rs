//! Clients of the object stores of the clouds, with credentials as each has them.
//!
//! Credentials and settings come from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`) or, if there are none, from the
//! machine or container that this runs in. Files of profiles are not read. A client never repeats a request by itself:
//! only who made the call knows its time limit and what a lost reply means.

use std::sync::Arc;

use firn_storage::error::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use crate::address::Cloud;
use crate::options::Options;

/// Far beyond every limit of a call, which ends it first.
const REQUEST_TIME_MAX: &str = "86400s";

/// What a client of a store can do.
pub(crate) trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// A client for `bucket`. Nothing is asked of the store yet.
pub(crate) fn connect(cloud: Cloud, bucket: &str, options: &Options) -> Result<Arc<dyn Store>> {
    let endpoint = options.endpoint.as_deref().map(check_endpoint).transpose()?;
    match cloud {
        Cloud::S3 => s3(bucket, endpoint, &options.settings),
        Cloud::Google => google(bucket, endpoint, &options.settings),
        Cloud::Azure => azure(bucket, endpoint, &options.settings),
    }
}

fn s3(bucket: &str, endpoint: Option<&str>, settings: &[(String, String)]) -> Result<Arc<dyn Store>> {
    let mut builder = AmazonS3Builder::from_env();
    for (name, value) in settings {
        let key = name.to_ascii_lowercase().parse().map_err(|_| unknown(name, "S3"))?;
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
        // A plain endpoint was asked for in so many words.
        builder = if is_plain(endpoint) { builder.with_allow_http(true) } else { builder };
    }
    let built = builder
        .with_bucket_name(bucket)
        .with_retry(no_retries())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIME_MAX)
        .build();
    let store = built.map_err(|error| unfit(&error, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"))?;
    Ok(Arc::new(store))
}

fn google(bucket: &str, endpoint: Option<&str>, settings: &[(String, String)]) -> Result<Arc<dyn Store>> {
    let mut builder = GoogleCloudStorageBuilder::from_env();
    for (name, value) in settings {
        let key = name.to_ascii_lowercase().parse().map_err(|_| unknown(name, "Google Cloud Storage"))?;
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = endpoint {
        let plain = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
        builder = builder.with_base_url(endpoint);
        builder = if is_plain(endpoint) { builder.with_config(plain, "true") } else { builder };
    }
    let built = builder
        .with_bucket_name(bucket)
        .with_retry(no_retries())
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIME_MAX)
        .build();
    let store = built.map_err(|error| unfit(&error, "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS"))?;
    Ok(Arc::new(store))
}

fn azure(bucket: &str, endpoint: Option<&str>, settings: &[(String, String)]) -> Result<Arc<dyn Store>> {
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (name, value) in settings {
        let key = name.to_ascii_lowercase().parse().map_err(|_| unknown(name, "Azure"))?;
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_owned());
        builder = if is_plain(endpoint) { builder.with_allow_http(true) } else { builder };
    }
    let built = builder
        .with_container_name(bucket)
        .with_retry(no_retries())
        .with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIME_MAX)
        .build();
    let store = built.map_err(|error| unfit(&error, "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"))?;
    Ok(Arc::new(store))
}

fn unknown(name: &str, store: &str) -> Error {
    Error::invalid(format!("{name:?} is no setting of {store}: name it as in the environment, or leave it out"))
}

fn unfit(error: &object_store::Error, variables: &str) -> Error {
    Error::invalid(format!(
        "the bucket cannot be opened with these settings: {error}; see {variables} in the environment"
    ))
}

fn is_plain(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}

/// The endpoint if it can be one.
fn check_endpoint(endpoint: &str) -> Result<&str> {
    let parsed = Url::parse(endpoint).ok();
    let good = parsed.is_some_and(|url| {
        let has_user = !url.username().is_empty() || url.password().is_some();
        ["http", "https"].contains(&url.scheme()) && url.has_host() && !has_user && url.query().is_none()
    });
    if !good {
        let message = "the endpoint of the bucket must be http://HOST:PORT or https://HOST:PORT, without credentials";
        return Err(Error::invalid(message));
    }
    Ok(endpoint.trim_end_matches('/'))
}

fn no_retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, ..RetryConfig::default() }
}
