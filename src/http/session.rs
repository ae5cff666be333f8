//! The session: a cookie by which a browser keeps its name.
//!
//! The cookie is called after the prefix of its chat: a browser sends a chat at `/` and one at `/team`
//! the cookies of both.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use crate::author::SessionId;

const COOKIE_NAME: &str = "chatroom-session";
/// How long a browser keeps the cookie, in seconds: 400 days, the most that browsers grant.
const MAX_AGE_SECONDS: u32 = 400 * 24 * 60 * 60;

/// Makes sessions of 128 random bits, and finds them in requests.
pub(crate) struct Sessions {
    cookie_name: String,
    /// The path that the cookie belongs to.
    path: String,
    /// The operating system's generator; `None` where there is no `/dev`.
    random: Option<File>,
    /// What serves in its place: the standard library asks the system for the 128-bit key by a
    /// call that needs no file, and its hashes of a counter are as hard to guess as the key.
    keyed: RandomState,
    counter: AtomicU64,
}

impl Sessions {
    /// The sessions of a chat that is mounted at `prefix`.
    pub(crate) fn new(prefix: &str) -> Sessions {
        let suffix = prefix.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let (cookie_name, path) = match prefix {
            "" => (COOKIE_NAME.to_owned(), "/"),
            _ => (format!("{COOKIE_NAME}-{suffix}"), prefix),
        };
        Sessions {
            cookie_name,
            path: path.to_owned(),
            random: File::open("/dev/urandom").ok(),
            keyed: RandomState::new(),
            counter: AtomicU64::new(0),
        }
    }

    pub(crate) fn issue(&self) -> SessionId {
        let mut bytes = [0; 16];
        let random = self.random.as_ref();
        if random.is_some_and(|mut random| random.read_exact(&mut bytes).is_ok()) {
            return SessionId(u128::from_ne_bytes(bytes));
        }
        let half = || {
            let count = self.counter.fetch_add(1, Ordering::Relaxed);
            u128::from(self.keyed.hash_one(count))
        };
        SessionId(half() << 64 | half())
    }

    /// Finds the session of a request: the first cookie of ours counts, whatever it holds.
    ///
    /// The header is read as bytes: cookies of other programs may hold any.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<SessionId> {
        let cookies = headers.get_all(COOKIE).iter();
        let mut pairs = cookies.flat_map(|header| header.as_bytes().split(|&b| b == b';'));
        let value = pairs.find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(self.cookie_name.as_bytes());
            value?.strip_prefix(b"=")
        });
        value.and_then(parse)
    }

    /// The header that gives a session to a browser.
    pub(crate) fn set_cookie(&self, session: SessionId, secure: bool) -> Option<HeaderValue> {
        let (name, path, SessionId(bits)) = (&self.cookie_name, &self.path, session);
        let secure = if secure { "; Secure" } else { "" };
        let cookie = format!(
            "{name}={bits:032x}; Path={path}; Max-Age={MAX_AGE_SECONDS}; HttpOnly; SameSite=Strict{secure}"
        );
        HeaderValue::from_str(&cookie).ok()
    }
}

fn parse(value: &[u8]) -> Option<SessionId> {
    // `from_str_radix` would also take a sign, capitals and any number of digits.
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if value.len() != 32 || !value.iter().all(digit) {
        return None;
    }
    let value = str::from_utf8(value).ok()?;
    u128::from_str_radix(value, 16).ok().map(SessionId)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "chatroom-session=0123456789abcdef0123456789abcdef";

    fn cookie(value: impl AsRef<[u8]>) -> Option<SessionId> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(value.as_ref()).ok()?);
        Sessions::new("").of(&headers)
    }

    #[test]
    fn sessions_differ_and_come_back() {
        for source in [
            Sessions::new(""),
            Sessions {
                random: None,
                ..Sessions::new("")
            },
        ] {
            let made: HashSet<SessionId> = (0..1_000).map(|_| source.issue()).collect();
            assert_eq!(made.len(), 1_000);
            for session in made {
                let header = source.set_cookie(session, false).expect("a header");
                let pair = header
                    .to_str()
                    .expect("ASCII")
                    .split(';')
                    .next()
                    .expect("a pair")
                    .to_owned();
                assert!(cookie(format!("theme=dark; {pair}")) == Some(session));
            }
        }
    }

    /// A key of its own for each session would be the last one plus one: whoever knows one of them
    /// then knows all.
    #[test]
    fn without_the_systems_generator_sessions_are_one_keyed_hash_of_a_counter() {
        let source = Sessions {
            random: None,
            ..Sessions::new("")
        };
        let half = |count: u64| u128::from(source.keyed.hash_one(count));
        for session in 0..100 {
            let expected = half(2 * session) << 64 | half(2 * session + 1);
            assert!(source.issue() == SessionId(expected), "session {session}");
        }
    }

    #[test]
    fn a_cookie_belongs_to_the_path_of_the_chat_and_is_called_after_it() {
        let header = |prefix, secure| {
            let header = Sessions::new(prefix).set_cookie(SessionId(1), secure);
            let header = header.expect("a header");
            header.to_str().expect("ASCII").to_owned()
        };
        assert_eq!(
            header("", false),
            "chatroom-session=00000000000000000000000000000001; Path=/; Max-Age=34560000; \
             HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            header("/team/chat", true),
            "chatroom-session--team-chat=00000000000000000000000000000001; Path=/team/chat; \
             Max-Age=34560000; HttpOnly; SameSite=Strict; Secure"
        );
        let team = Sessions::new("/team");
        let both = |first: u8, second: u8| {
            let cookies =
                format!("chatroom-session={first:032x}; chatroom-session--team={second:032x}");
            HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&cookies).expect("a header"))])
        };
        assert!(team.of(&both(1, 2)) == Some(SessionId(2)));
        assert!(Sessions::new("").of(&both(1, 2)) == Some(SessionId(1)));
    }

    #[test]
    fn other_cookies_do_not_disturb() {
        assert!(cookie(GOOD) == Some(SessionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)));
        for other in [
            "theme=é",
            "a",
            "",
            "=",
            "é",
            "=é=",
            "chatroom-sessio=1",
            "x=\"y",
        ] {
            assert!(cookie(format!("{other}; {GOOD}")).is_some(), "{other}");
            assert!(cookie(format!("{GOOD};{other}")).is_some(), "{other}");
        }
        assert!(cookie([b"x=\xff\xfe;\t".as_slice(), GOOD.as_bytes()].concat()).is_some());
    }

    /// As where a neighbouring site has set one for the whole domain: a browser sends first what it has
    /// for the longest path.
    #[test]
    fn the_first_of_several_counts() {
        let second = "chatroom-session=00000000000000000000000000000001";
        assert!(cookie(format!("{GOOD}; {second}")) == cookie(GOOD));
        assert!(cookie(format!("{second}; {GOOD}")) == Some(SessionId(1)));
    }

    #[test]
    fn what_is_not_ours_is_no_session() {
        let good = "0123456789abcdef0123456789abcdef";
        assert!(cookie(format!("chatroom-session={good}")).is_some());
        for bad in [
            String::new(),
            "chatroom-session=".into(),
            format!("chatroom-session={good}0"),
            format!("chatroom-session={}", &good[1..]),
            format!("chatroom-session=+{}", &good[1..]),
            format!("chatroom-session={}", good.to_uppercase()),
            format!("chatroom-session=; chatroom-session={good}"),
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
                let _ = Sessions::new("").of(&headers);
            }
        }
    }
}
