//! One connection to a server: its address, its token, and HTTP/2 windows and frames wide enough for record batches.

use std::fmt;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::error::{Error, Kind, Result};
use crate::retry::Retry;

/// HTTP/2 flow control stops the sender at this many unread bytes; the default of 64 KiB would stop it all the time.
const WINDOW_BYTES: u32 = 8 << 20;
/// The largest HTTP/2 frame that the server may send. It writes each frame by itself: the default of 16 KiB makes 25
/// writes of an answer of 400 KB.
const FRAME_BYTES: u32 = 1 << 20;

/// The stub that every call goes through.
pub(crate) type Stub = FlightServiceClient<InterceptedService<Channel, Credentials>>;

/// How to connect.
#[derive(Clone)]
pub struct Options {
    /// `grpc://host:port`, `http://host:port` or `host:port`.
    pub url: String,
    /// Sent with every call as a bearer token.
    pub token: Option<String>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How often and how long to try what is safe to try again.
    pub retry: Retry,
}

/// Everything but the token, which is nobody's business who reads a log.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, token, connect_timeout, retry } = self;
        f.debug_struct("Options")
            .field("url", url)
            .field("token", &token.as_ref().map(|_| "hidden"))
            .field("connect_timeout", connect_timeout)
            .field("retry", retry)
            .finish()
    }
}

impl Options {
    /// A server at `url`, without a token.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), token: None, connect_timeout: Duration::from_secs(5), retry: Retry::default() }
    }
}

/// Puts the token on every call.
#[derive(Clone)]
pub(crate) struct Credentials {
    authorization: Option<MetadataValue<Ascii>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.authorization.is_some() { "Credentials (a token)" } else { "Credentials (none)" })
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// Connects, trying again while the server is not there yet.
pub(crate) async fn connect(options: &Options) -> Result<Stub> {
    let endpoint = endpoint(options)?;
    let authorization = match &options.token {
        None => None,
        Some(token) => {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                .parse()
                .map_err(|_| Error::invalid("the token holds characters that a header cannot carry"))?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    let channel = options.retry.run(|| attempt(&endpoint, &options.url)).await?;
    let stub = FlightServiceClient::with_interceptor(channel, Credentials { authorization });
    // The server bounds its messages by what the request asks for, so no second bound here.
    Ok(stub.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX))
}

async fn attempt(endpoint: &Endpoint, url: &str) -> Result<Channel> {
    endpoint.connect().await.map_err(|error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::new(Kind::Unavailable, format!("no server answers at {url}: {reason}"))
    })
}

fn endpoint(options: &Options) -> Result<Endpoint> {
    let address = match options.url.split_once("://") {
        None => options.url.as_str(),
        Some(("grpc" | "grpc+tcp" | "http", address)) => address,
        Some((scheme, _)) => {
            let url = &options.url;
            return Err(Error::invalid(format!(
                "`{scheme}` in {url} is not served by this client; write grpc://host:port"
            )));
        }
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
        Error::invalid(format!("{} is not an address: {error}; write grpc://host:port", options.url))
    })?;
    Ok(endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let options = Options { token: Some("s3cret".to_owned()), ..Options::new("grpc://somewhere:1") };
        let credentials = Credentials { authorization: "Bearer s3cret".parse().ok() };
        let shown = format!("{options:?} {options:#?} {credentials:?}");
        assert!(!shown.contains("s3cret") && shown.contains("somewhere"), "{shown}");
    }
}
