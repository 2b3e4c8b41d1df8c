//! Sessions: bounds that a client sets once, within which all of its later statements stand.
//!
//! The server keeps none: the cookie is the session. So a server that was restarted, or another one, goes on with it, and
//! nothing grows. A client that keeps no cookies has no session: what it set would be forgotten, and its next query would read
//! the present without a word, so that is refused.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firn_storage::error::{Error, Result};
use parking_lot::Mutex;
use prost::Message;

use crate::error::invalid;
use crate::moment::Bounds;

/// The name of the cookie, which Flight gives it.
const COOKIE: &str = "arrow_flight_session_id";
/// How a session is written into it.
const VERSION: &str = "v1.";

/// The session of one call; by default one of a client that sent none.
#[derive(Debug, Default)]
pub struct Session {
    /// As the client sent it; none if it sent none.
    sent: Option<Bounds>,
    /// As it is now.
    now: Mutex<Bounds>,
    ended: AtomicBool,
}

impl Session {
    /// The session that the `cookie` headers of a call say.
    pub fn of_cookies<'a>(headers: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let cookies = headers.into_iter().flat_map(|header| header.split(';'));
        let mut named = cookies.filter_map(|cookie| cookie.trim().split_once('='));
        let sent = match named.find(|(name, _)| *name == COOKIE) {
            None => None,
            Some((_, value)) => Some(read(value.trim_matches('"')).ok_or_else(|| {
                invalid(format!("the cookie {COOKIE} is none that FirnDB gave: connect again without it"))
            })?),
        };
        Ok(Self { now: Mutex::new(sent.clone().unwrap_or_default()), sent, ended: AtomicBool::new(false) })
    }

    /// Whether the client keeps what it is told of its session.
    pub fn is_kept(&self) -> bool {
        self.sent.is_some()
    }

    /// What it bounds.
    pub fn bounds(&self) -> Bounds {
        self.now.lock().clone()
    }

    /// What the client is to keep, as the header `set-cookie`; none if it has that already.
    pub fn set_cookie(&self) -> Option<String> {
        if self.ended.load(Ordering::Relaxed) {
            return Some(format!("{COOKIE}=; Max-Age=0"));
        }
        let now = self.now.lock();
        let told = self.sent.as_ref() == Some(&*now);
        (!told).then(|| format!("{COOKIE}={VERSION}{}", URL_SAFE_NO_PAD.encode(now.encode_to_vec())))
    }

    /// Sets `bounds`.
    pub(crate) fn set(&self, bounds: Bounds) -> Result<()> {
        if !self.is_kept() {
            return Err(Error::precondition(
                "this client keeps no session, so what it sets would be forgotten: let it keep cookies (ADBC: \
                 adbc.flight.sql.rpc.with_cookie_middleware=true; the first answer of a connection brings one), or send \
                 firn.as_of, firn.known_at or firn.position as headers of each call",
            ));
        }
        *self.now.lock() = bounds;
        Ok(())
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn read(value: &str) -> Option<Bounds> {
    let bytes = URL_SAFE_NO_PAD.decode(value.strip_prefix(VERSION)?).ok()?;
    Bounds::decode(bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Result<Session> {
        Session::of_cookies([header])
    }

    #[test]
    fn what_is_set_comes_back_with_the_cookie() {
        let first = of("other=1").expect("no session yet");
        assert!(first.set(Bounds::default()).is_err(), "nobody would remember it");
        let cookie = first.set_cookie().expect("a client without a session is given one");
        let second = of(&format!("a=b; {cookie}")).expect("it is ours");
        assert_eq!((second.bounds(), second.set_cookie()), (Bounds::default(), None));
        let bounds = Bounds { as_of: Some(-5), position: Some("x".to_owned()), ..Bounds::default() };
        second.set(bounds.clone()).expect("it is kept");
        let third = of(&second.set_cookie().expect("it changed")).expect("it is ours");
        assert_eq!(third.bounds(), bounds);
        third.end();
        assert_eq!(third.set_cookie().as_deref(), Some("arrow_flight_session_id=; Max-Age=0"));
    }

    #[test]
    fn a_cookie_that_is_not_ours_is_refused() {
        for value in ["", "7", "v1.***", "v1._w", "v2."] {
            let refused = of(&format!("{COOKIE}={value}")).expect_err(value);
            assert!(refused.message().contains("connect again"), "{refused:?}");
        }
    }
}
