//! The session: a cookie by which a browser keeps its name.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;

use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use crate::chat::members::SessionId;

const COOKIE_NAME: &str = "chatroom-session";
/// How long a browser keeps the cookie, in seconds: 400 days, the most that browsers grant.
const MAX_AGE_SECONDS: u32 = 400 * 24 * 60 * 60;

/// Makes sessions: 128 bits each from the operating system.
pub(crate) struct Sessions {
    /// `None` in a root folder without devices.
    random: Option<File>,
}

impl Sessions {
    pub(crate) fn new() -> Sessions {
        Sessions {
            random: File::open("/dev/urandom").ok(),
        }
    }

    pub(crate) fn issue(&self) -> SessionId {
        let mut bytes = [0; 16];
        match self
            .random
            .as_ref()
            .map(|mut random| random.read_exact(&mut bytes))
        {
            Some(Ok(())) => SessionId(u128::from_ne_bytes(bytes)),
            // The standard library keys its hashers with 128 bits that it asks the system for by a
            // call that needs no file; what SipHash makes of counters under such a key is as
            // unguessable as the key.
            Some(Err(_)) | None => {
                let half = || u128::from(RandomState::new().hash_one(COOKIE_NAME));
                SessionId(half() << 64 | half())
            }
        }
    }
}

/// Finds the session of a request. A cookie that is not of our making, or that stands there twice
/// (as where a neighbouring site has set one for the whole domain), is none.
pub(crate) fn of(headers: &HeaderMap) -> Option<SessionId> {
    let mut ours = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME);
    match (ours.next(), ours.next()) {
        (Some((_, value)), None) => parse(value),
        _ => None,
    }
}

fn parse(value: &str) -> Option<SessionId> {
    let shape = value.len() == 32
        && value
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(value, 16)
        .ok()
        .filter(|_| shape)
        .map(SessionId)
}

/// The header that gives a session to a browser.
pub(crate) fn set_cookie(session: SessionId, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let SessionId(bits) = session;
    let cookie = format!(
        "{COOKIE_NAME}={bits:032x}; Path=/; Max-Age={MAX_AGE_SECONDS}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::from_str(&cookie).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn cookie(value: &str) -> Option<SessionId> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        of(&headers)
    }

    #[test]
    fn sessions_differ_and_come_back() {
        for source in [Sessions::new(), Sessions { random: None }] {
            let made: HashSet<SessionId> = (0..1_000).map(|_| source.issue()).collect();
            assert_eq!(made.len(), 1_000);
            for session in made {
                let header = set_cookie(session, false).expect("a header");
                let pair = header
                    .to_str()
                    .expect("ASCII")
                    .split(';')
                    .next()
                    .expect("a pair")
                    .to_owned();
                assert!(cookie(&format!("theme=dark; {pair}")) == Some(session));
            }
        }
    }

    #[test]
    fn secure_only_where_it_is() {
        let header = |secure| set_cookie(SessionId(1), secure).expect("a header");
        assert!(
            header(true)
                .to_str()
                .expect("ASCII")
                .ends_with("; HttpOnly; SameSite=Strict; Secure")
        );
        assert!(!header(false).to_str().expect("ASCII").contains("Secure"));
    }

    #[test]
    fn what_is_not_ours_is_no_session() {
        let good = "0123456789abcdef0123456789abcdef";
        assert!(cookie(&format!("chatroom-session={good}")).is_some());
        for bad in [
            String::new(),
            "chatroom-session=".into(),
            format!("chatroom-session={good}0"),
            format!("chatroom-session={}", &good[1..]),
            format!("chatroom-session=+{}", &good[1..]),
            format!("chatroom-session={}", good.to_uppercase()),
            format!("chatroom-session={good}; chatroom-session={good}"),
            format!("xchatroom-session={good}"),
        ] {
            assert!(cookie(&bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_cookies_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(COOKIE, value);
                let _ = of(&headers);
            }
        }
    }
}
