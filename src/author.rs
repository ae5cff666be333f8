//! Sessions and authors: who wrote a message, said without revealing the session that proves it.

use std::fmt;
#[expect(deprecated)]
use std::hash::{Hasher, SipHasher};
use std::net::IpAddr;
use std::str::FromStr;

use crate::names::Malformed;

/// The secret that a browser is known by. It is compared and hashed, and never shown.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct SessionId(pub(crate) u128);

/// Who wrote a message: the same for all messages of one session, in every room. Written as 16
/// lower-case hexadecimal digits.
///
/// Names say less: two people may use one name after the other, and one person may use several.
///
/// ```
/// let author: chatroom::Author = "0123456789abcdef".parse()?;
/// assert_eq!(author.to_string(), "0123456789abcdef");
/// # Ok::<(), chatroom::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Author(pub(crate) u64);

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Author {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Author, Malformed> {
        // `from_str_radix` would also take a sign, capitals and any number of digits.
        let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 16 && text.bytes().all(digit) {
            u64::from_str_radix(text, 16)
                .map(Author)
                .map_err(|_| Malformed)
        } else {
            Err(Malformed)
        }
    }
}

/// The server's secret, by which authors are derived from sessions.
///
/// The derivation is SipHash-2-4, a pseudorandom function: without the 128-bit key, its outputs
/// cannot be told from random numbers, however many of them one has seen. So an author says
/// nothing about its session, and nobody can compute the author of a session, or search for a
/// session that yields a given author, except by asking this server, one session at a time.
///
/// The key outlives the program, and with it the algorithm: the standard library promises this one for
/// its `SipHasher`, and none for the successor.
#[derive(Clone)]
pub(crate) struct AuthorKey(pub(crate) [u8; 16]);

#[expect(deprecated, reason = "for hash tables there is a faster one")]
impl AuthorKey {
    pub(crate) fn author(&self, session: SessionId) -> Author {
        self.hash(&session.0.to_be_bytes())
    }

    /// Who a user of this id is.
    pub(crate) fn of_user(&self, id: &str) -> Author {
        self.hash(format!("chatroom user id:{id}").as_bytes())
    }

    /// Who the program is when it joins under this name.
    pub(crate) fn of_program(&self, name: &str) -> Author {
        self.hash(format!("chatroom program name:{name}").as_bytes())
    }

    /// Stands for an address where there is no author.
    pub(crate) fn of_address(&self, address: IpAddr) -> Author {
        self.hash(format!("chatroom address:{address}").as_bytes())
    }

    /// A session's input has 16 bytes. All others are longer and begin with what they are, so nobody
    /// can make up a session that passes for something else.
    fn hash(&self, input: &[u8]) -> Author {
        let key = u128::from_le_bytes(self.0);
        let mut hasher = SipHasher::new_with_keys(key as u64, (key >> 64) as u64);
        hasher.write(input);
        Author(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(deprecated)]
    fn the_vectors_of_the_reference_implementation() {
        let message: Vec<u8> = (0..15).collect();
        for (length, hash) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            // Appendix A of the paper.
            (15, 0xa129_ca61_49be_45e5),
        ] {
            let (k0, k1) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
            let mut hasher = SipHasher::new_with_keys(k0, k1);
            hasher.write(&message[..length]);
            assert_eq!(hasher.finish(), hash, "{length}");
        }
    }

    #[test]
    fn authors_last() {
        let key = AuthorKey(*b"0123456789abcdef");
        let author = key.author(SessionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(author.to_string(), "3dcc69125ed0663c");
        assert_ne!(author, key.author(SessionId(0)));
        assert_ne!(author, AuthorKey([0; 16]).author(SessionId(0)));
        assert_ne!(key.of_program("ann"), key.of_user("ann"));
    }

    #[test]
    fn authors_are_read_as_they_are_written() {
        for bits in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(Author(bits).to_string().parse(), Ok(Author(bits)));
        }
        for bad in [
            "",
            "0",
            "+123456789abcdef",
            "0123456789ABCDEF",
            "0123456789abcdef0",
            "0123456789abcdeg",
            "0123456789abcdé",
        ] {
            assert_eq!(bad.parse::<Author>(), Err(Malformed), "{bad}");
        }
    }
}
