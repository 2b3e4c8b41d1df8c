//! The caller of a request: made once, where the request comes in, of its metadata and its connection.
//!
//! Today a caller is where it comes from, and nobody says who it is. A token or a certificate is read here and nowhere
//! else, once there are any.

use std::fmt;
use std::net::SocketAddr;

use tonic::Request;

/// What a connection says of whoever made it.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
}

/// Whoever makes a request.
#[derive(Debug, Clone)]
pub struct Caller {
    peer: Option<Peer>,
}

impl Caller {
    /// The caller of `request`.
    pub fn of<T>(request: &Request<T>) -> Self {
        Self { peer: request.extensions().get::<Peer>().copied() }
    }
}

/// As the log shows it.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.peer {
            Some(peer) => peer.address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_where_its_connection_comes_from() {
        let mut request = Request::new(());
        assert_eq!(Caller::of(&request).to_string(), "unknown");
        request.extensions_mut().insert(Peer { address: "192.0.2.7:4242".parse().expect("an address") });
        assert_eq!(Caller::of(&request).to_string(), "192.0.2.7:4242");
    }
}
