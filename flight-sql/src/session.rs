//! Sessions: bounds that a client sets once, within which all of its later statements stand.
//!
//! The cookie is the session, so a server that was restarted, or another one, goes on with it. What the server remembers is only
//! what a client was told last, until it shows that it heard: the Flight client of Go, which ADBC is made of, may lose a cookie
//! that an action or an update brings (its middleware reads no headers of a stream whose context ended first), and its next query
//! would read the present without a word. A client that keeps no cookies has no session; what it sets is refused for that reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firn_storage::error::{Error, Result};
use parking_lot::Mutex;
use prost::Message;
use uuid::Uuid;

use crate::error::invalid;
use crate::moment::Bounds;

/// The name of the cookie, which Flight gives it.
const COOKIE: &str = "arrow_flight_session_id";
/// How a session is written into it.
const VERSION: &str = "v2.";

/// What a cookie holds.
#[derive(Clone, PartialEq, Eq, Message)]
struct Cookie {
    #[prost(message, required, tag = "1")]
    bounds: Bounds,
    /// Which session it is of: 16 random bytes.
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    /// How often its bounds were set.
    #[prost(uint64, tag = "3")]
    change: u64,
}

impl Cookie {
    /// That of a session that begins.
    fn first() -> Self {
        Self { bounds: Bounds::default(), id: Uuid::new_v4().into_bytes().to_vec(), change: 0 }
    }

    /// The one that a client sent; none if no server gave it.
    fn read(value: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(value.strip_prefix(VERSION)?).ok()?;
        Self::decode(bytes.as_slice()).ok().filter(|cookie| Uuid::from_slice(&cookie.id).is_ok())
    }

    fn write(&self) -> String {
        format!("{COOKIE}={VERSION}{}", URL_SAFE_NO_PAD.encode(self.encode_to_vec()))
    }
}

/// What clients were told and have not yet shown to know: the last cookie of each such session, up to a greatest number of them.
#[derive(Debug)]
pub struct Unheard {
    told: Mutex<Told>,
    sessions_max: usize,
}

#[derive(Debug, Default)]
struct Told {
    /// By session: its last cookie, and when it was told, in the order of all.
    cookies: HashMap<Vec<u8>, (Cookie, u64)>,
    /// The sessions in the order in which they were told.
    order: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Unheard {
    /// Nothing was told yet. Of more than `sessions_max` sessions those that were told first are forgotten.
    pub fn new(sessions_max: usize) -> Self {
        Self { told: Mutex::default(), sessions_max }
    }

    /// What the client that sent `cookie` was told last: something else if it did not hear it.
    fn newest(&self, cookie: Cookie) -> Cookie {
        let mut told = self.told.lock();
        match told.cookies.get(&cookie.id) {
            Some((newer, _)) if newer.change > cookie.change => newer.clone(),
            _ => {
                told.forget(&cookie.id);
                cookie
            }
        }
    }

    /// Remembers what a client is told.
    fn tell(&self, cookie: &Cookie) {
        let mut told = self.told.lock();
        told.forget(&cookie.id);
        let at = told.next;
        told.next += 1;
        told.cookies.insert(cookie.id.clone(), (cookie.clone(), at));
        told.order.insert(at, cookie.id.clone());
        while told.cookies.len() > self.sessions_max {
            let (_, first) = told.order.pop_first().expect("each cookie has its place in the order");
            told.cookies.remove(&first);
        }
        assert_eq!(told.cookies.len(), told.order.len(), "each cookie has its place in the order");
    }
}

impl Told {
    fn forget(&mut self, id: &[u8]) {
        if let Some((_, at)) = self.cookies.remove(id) {
            self.order.remove(&at);
        }
    }
}

/// The session of one call.
#[derive(Debug)]
pub struct Session {
    /// As the client sent it; none if it sent none.
    sent: Option<Cookie>,
    /// As it is now.
    now: Mutex<Cookie>,
    ended: AtomicBool,
    unheard: Arc<Unheard>,
}

impl Session {
    /// The session that the `cookie` headers of a call say; a client that did not hear what it was told stands by that all the same.
    pub fn of_cookies<'a>(headers: impl IntoIterator<Item = &'a str>, unheard: Arc<Unheard>) -> Result<Self> {
        let cookies = headers.into_iter().flat_map(|header| header.split(';'));
        let mut named = cookies.filter_map(|cookie| cookie.trim().split_once('='));
        let sent = match named.find(|(name, _)| *name == COOKIE) {
            None => None,
            Some((_, value)) => Some(Cookie::read(value.trim_matches('"')).ok_or_else(|| {
                invalid(format!("the cookie {COOKIE} is none that FirnDB gave: connect again without it"))
            })?),
        };
        let now = sent.clone().map_or_else(Cookie::first, |cookie| unheard.newest(cookie));
        Ok(Self { now: Mutex::new(now), sent, ended: AtomicBool::new(false), unheard })
    }

    /// Whether the client keeps what it is told of its session.
    pub fn is_kept(&self) -> bool {
        self.sent.is_some()
    }

    /// What it bounds.
    pub fn bounds(&self) -> Bounds {
        self.now.lock().bounds.clone()
    }

    /// What the client is to keep, as the header `set-cookie`; none if it has that already.
    pub fn set_cookie(&self) -> Option<String> {
        if self.ended.load(Ordering::Relaxed) {
            return Some(format!("{COOKIE}=; Max-Age=0"));
        }
        let now = self.now.lock();
        let told = self.sent.as_ref() == Some(&*now);
        (!told).then(|| now.write())
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
        let mut now = self.now.lock();
        if now.bounds != bounds {
            let change = now.change.saturating_add(1);
            *now = Cookie { bounds, change, id: std::mem::take(&mut now.id) };
            self.unheard.tell(&now);
        }
        Ok(())
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.unheard.told.lock().forget(&self.now.lock().id);
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str, unheard: &Arc<Unheard>) -> Result<Session> {
        Session::of_cookies([header], Arc::clone(unheard))
    }

    fn unheard(sessions_max: usize) -> Arc<Unheard> {
        Arc::new(Unheard::new(sessions_max))
    }

    fn until(as_of: i64) -> Bounds {
        Bounds { as_of: Some(as_of), ..Bounds::default() }
    }

    /// A session that begins: its cookie.
    fn begun(unheard: &Arc<Unheard>) -> String {
        of("other=1", unheard).expect("no session yet").set_cookie().expect("a client without a session is given one")
    }

    #[test]
    fn what_is_set_comes_back_with_the_cookie() {
        let unheard = unheard(9);
        let first = of("other=1", &unheard).expect("no session yet");
        assert!(first.set(Bounds::default()).is_err(), "nobody would remember it");
        let cookie = first.set_cookie().expect("a client without a session is given one");
        let second = of(&format!("a=b; {cookie}"), &unheard).expect("it is ours");
        assert_eq!((second.bounds(), second.set_cookie()), (Bounds::default(), None));
        let bounds = Bounds { position: Some("x".to_owned()), ..until(-5) };
        second.set(bounds.clone()).expect("it is kept");
        let third = of(&second.set_cookie().expect("it changed"), &Arc::new(Unheard::new(9)))
            .expect("it is ours, by any server");
        assert_eq!(third.bounds(), bounds);
        third.end();
        assert_eq!(third.set_cookie().as_deref(), Some("arrow_flight_session_id=; Max-Age=0"));
    }

    /// Found by CI: the client of Go lost the cookie of an action, and its next query read the present.
    #[test]
    fn what_a_client_was_told_and_did_not_hear_holds_all_the_same() {
        let unheard = unheard(9);
        let old = begun(&unheard);
        of(&old, &unheard).unwrap().set(until(1)).unwrap();
        let second = of(&old, &unheard).unwrap();
        assert_eq!(second.bounds(), until(1));
        let newer = second.set_cookie().expect("it is told again");
        second.set(until(2)).unwrap();
        assert_eq!(of(&old, &unheard).unwrap().bounds(), until(2), "what was lost once may be lost twice");
        assert_eq!(of(&newer, &unheard).unwrap().bounds(), until(2), "what is newer than what it heard");
        let newest = of(&newer, &unheard).unwrap().set_cookie().expect("it is told again");
        assert_eq!(of(&newest, &unheard).unwrap().set_cookie(), None);
        assert!(unheard.told.lock().cookies.is_empty(), "a client that heard is forgotten");
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let unheard = unheard(2);
        let cookies: Vec<_> = (0..3).map(|_| begun(&unheard)).collect();
        let tell = |number: usize| of(&cookies[number], &unheard).unwrap().set(until(number as i64)).unwrap();
        [0, 1, 2].into_iter().for_each(tell);
        let bounds: Vec<_> = cookies.iter().map(|cookie| of(cookie, &unheard).unwrap().bounds()).collect();
        assert_eq!(bounds, [Bounds::default(), until(1), until(2)]);
        of(&cookies[1], &unheard).unwrap().end();
        assert_eq!(unheard.told.lock().cookies.len(), 1);
    }

    #[test]
    fn a_cookie_that_is_not_ours_is_refused() {
        for value in ["", "7", "v1.", "v2.", "v2.***", "v2._w"] {
            let refused = of(&format!("{COOKIE}={value}"), &unheard(9)).expect_err(value);
            assert!(refused.message().contains("connect again"), "{refused:?}");
        }
    }
}
