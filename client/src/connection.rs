//! One connection to a server: its address, its credentials, and HTTP/2 windows and frames wide enough for record batches.
//!
//! A server that falls silent is asked for a sign of life, so that no call waits for one that is gone.

use std::fmt;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::error::{Error, Kind, Result};
use crate::retry::Retry;

/// HTTP/2 flow control stops the sender at this many unread bytes; the default of 64 KiB would stop it all the time.
const WINDOW_BYTES: u32 = 8 << 20;
/// The largest HTTP/2 frame that the server may send. It writes each frame by itself: the default of 16 KiB makes 25
/// writes of an answer of 400 KB.
const FRAME_BYTES: u32 = 1 << 20;

/// The port of a server where an address names none.
const PORT: u16 = 3476;
/// A server that has sent nothing for so long while a call waits is asked whether it is there.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long it may take to answer that.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(20);

/// The stub that every call goes through.
pub type Stub = FlightServiceClient<InterceptedService<Channel, Credentials>>;

/// How to connect.
#[derive(Clone)]
pub struct Options {
    /// `grpc://host:port`, or `grpc+tls://host:port` for a server behind TLS. Without a scheme it is `grpc`, without a
    /// port 3476.
    pub url: String,
    /// Sent with every call as a bearer token.
    pub token: Option<String>,
    /// Headers that are sent with every call.
    pub headers: Vec<(String, String)>,
    /// Whom to trust, and who this is, where the URL says TLS.
    pub tls: Tls,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How often and how long to try what is safe to try again.
    pub retry: Retry,
}

/// Certificates and keys in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The certificates that the server's must go back to; without them, those that this machine trusts.
    pub authorities: Option<Vec<u8>>,
    /// The certificate by which the server knows this client, and its private key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the server's certificate, where it is not the host of the URL.
    pub server_name: Option<String>,
}

/// Everything but secrets, which are nobody's business who reads a log.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Everything but secrets, which are nobody's business who reads a log.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, token, headers, tls, connect_timeout, retry } = self;
        let headers: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Options")
            .field("url", url)
            .field("token", &token.as_ref().map(|_| "hidden"))
            .field("headers", &headers)
            .field("tls", tls)
            .field("connect_timeout", connect_timeout)
            .field("retry", retry)
            .finish()
    }
}

impl Options {
    /// Refuses what no call could use: an address, a header, a certificate.
    pub fn check(&self) -> Result<()> {
        endpoint(self)?;
        Credentials::of(self).map(drop)
    }

    /// A server at `url`, without a token.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            headers: Vec::new(),
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(5),
            retry: Retry::default(),
        }
    }
}

/// Puts the token and the headers on every call.
#[derive(Clone)]
pub struct Credentials {
    sent: MetadataMap,
}

impl Credentials {
    fn of(options: &Options) -> Result<Self> {
        let mut sent = MetadataMap::new();
        for (name, value) in &options.headers {
            let wrong = |what| Error::invalid(format!("the header `{name}` has {what} that HTTP cannot carry"));
            let key: MetadataKey<Ascii> = name.to_lowercase().parse().map_err(|_| wrong("a name"))?;
            sent.insert(key, value.parse().map_err(|_| wrong("a value"))?);
        }
        if let Some(token) = &options.token {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                .parse()
                .map_err(|_| Error::invalid("the token holds characters that a header cannot carry"))?;
            value.set_sensitive(true);
            sent.insert("authorization", value);
        }
        Ok(Self { sent })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials ({} headers)", self.sent.len())
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if !self.sent.is_empty() {
            request.metadata_mut().as_mut().extend(self.sent.clone().into_headers());
        }
        Ok(request)
    }
}

/// Connects, trying again while the server is not there yet.
pub(crate) async fn connect(options: &Options) -> Result<Stub> {
    let (endpoint, credentials) = (endpoint(options)?, Credentials::of(options)?);
    let channel = options.retry.run(|| attempt(&endpoint, &options.url)).await?;
    let stub = FlightServiceClient::with_interceptor(channel, credentials);
    // The server bounds its messages by what the request asks for, so no second bound here.
    Ok(stub.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX))
}

async fn attempt(endpoint: &Endpoint, url: &str) -> Result<Channel> {
    endpoint.connect().await.map_err(|error| {
        let mut reason: &dyn std::error::Error = &error;
        while let Some(deeper) = reason.source() {
            reason = deeper;
        }
        Error::new(Kind::Unavailable, format!("no server answers at {url}: {reason}"))
    })
}

/// The address of a URL, with its port, and whether it is spoken to over TLS.
fn address(url: &str) -> Result<(String, bool)> {
    let (address, tls) = match url.split_once("://") {
        None => (url, false),
        Some(("grpc" | "grpc+tcp" | "http", address)) => (address, false),
        Some(("grpc+tls" | "grpcs" | "https", address)) => (address, true),
        Some((scheme, _)) => {
            return Err(Error::invalid(format!(
                "`{scheme}` in {url} is not spoken here; write grpc://host:port, or grpc+tls://host:port"
            )));
        }
    };
    let address = address.trim_end_matches('/');
    let parsed: http::uri::Authority = address
        .parse()
        .map_err(|error| Error::invalid(format!("{url} is not an address: {error}; write grpc://host:port")))?;
    let port = if parsed.port().is_none() { format!(":{PORT}") } else { String::new() };
    Ok((format!("{address}{port}"), tls))
}

fn endpoint(options: &Options) -> Result<Endpoint> {
    let (address, tls) = address(&options.url)?;
    let scheme = if tls { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|error| {
        Error::invalid(format!("{} is not an address: {error}; write grpc://host:port", options.url))
    })?;
    let endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SILENCE_MAX)
        .keep_alive_timeout(SIGN_OF_LIFE_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES);
    if !tls {
        return Ok(endpoint);
    }
    let mut trusted = ClientTlsConfig::new();
    trusted = match &options.tls.authorities {
        Some(pem) => trusted.ca_certificate(Certificate::from_pem(pem)),
        None => trusted.with_native_roots(),
    };
    if let Some((certificate, key)) = &options.tls.identity {
        trusted = trusted.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = &options.tls.server_name {
        trusted = trusted.domain_name(name);
    }
    endpoint.tls_config(trusted).map_err(|error| {
        Error::invalid(format!("the certificates for {} cannot be used: {error}; give them in PEM", options.url))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let options = Options {
            token: Some("s3cret".to_owned()),
            headers: vec![("x-key".to_owned(), "s3cret".to_owned())],
            tls: Tls { identity: Some((b"s3cret".to_vec(), b"s3cret".to_vec())), ..Tls::default() },
            ..Options::new("grpc://somewhere:1")
        };
        let credentials = Credentials::of(&options).expect("ASCII can be carried");
        let shown = format!("{options:?} {options:#?} {credentials:?}");
        assert!(!shown.contains("s3cret") && shown.contains("somewhere"), "{shown}");
    }

    #[test]
    fn an_address_may_leave_out_scheme_and_port() {
        for (url, want) in [
            ("localhost", ("localhost:3476", false)),
            ("localhost:1", ("localhost:1", false)),
            ("grpc://127.0.0.1/", ("127.0.0.1:3476", false)),
            ("grpc+tls://[::1]", ("[::1]:3476", true)),
            ("http://[::1]:80", ("[::1]:80", false)),
        ] {
            assert_eq!(address(url), Ok((want.0.to_owned(), want.1)), "{url}");
        }
        for url in ["ftp://here", "grpc://", "a b", "grpc://here:port:1"] {
            assert!(address(url).is_err(), "{url}");
        }
    }
}
