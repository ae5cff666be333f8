//! Sessions and authors: who wrote a message, said without revealing the session that proves it.

use std::fmt;
use std::str::FromStr;

use crate::names::Malformed;

/// The secret that a browser is known by. It is compared and hashed, and never shown.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct SessionId(pub(crate) u128);

/// Who wrote a message: the same for all messages of one session, in every room. Written as 16
/// lower-case hexadecimal digits.
///
/// Names say less: two people may use one name after the other, and one person may use several.
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
/// It is written out here since the key outlives the program: the standard library promises no
/// particular algorithm for its `DefaultHasher`, so another compiler could change every author.
#[derive(Clone)]
pub(crate) struct AuthorKey(pub(crate) [u8; 16]);

impl AuthorKey {
    pub(crate) fn author(&self, session: SessionId) -> Author {
        let SessionId(bits) = session;
        Author(siphash_2_4(&self.0, &bits.to_be_bytes()))
    }
}

/// SipHash-2-4 as in "SipHash: a fast short-input PRF" by Aumasson and Bernstein (2012).
fn siphash_2_4(key: &[u8; 16], message: &[u8]) -> u64 {
    let (k0, k1) = (word(&key[..8]), word(&key[8..]));
    // "somepseudorandomlygeneratedbytes"
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let words = message.chunks_exact(8);
    // The last word is what is left over, and the length in its highest byte.
    let last = word(words.remainder()) | (message.len() as u64) << 56;
    for m in words.map(word).chain([last]) {
        v[3] ^= m;
        round(&mut v);
        round(&mut v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

/// Up to eight bytes as a little-endian number.
fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vectors_of_the_reference_implementation() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let message: Vec<u8> = (0..15).collect();
        for (length, hash) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            // Appendix A of the paper.
            (15, 0xa129_ca61_49be_45e5),
        ] {
            assert_eq!(siphash_2_4(&key, &message[..length]), hash, "{length}");
        }
    }

    #[test]
    fn authors_last() {
        let key = AuthorKey(*b"0123456789abcdef");
        let author = key.author(SessionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(author.to_string(), "3dcc69125ed0663c");
        assert_ne!(author, key.author(SessionId(0)));
        assert_ne!(author, AuthorKey([0; 16]).author(SessionId(0)));
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

    proptest! {
        #[test]
        #[expect(deprecated)]
        fn hashes_as_the_standard_library_does(
            key in any::<[u8; 16]>(),
            message in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut reference =
                std::hash::SipHasher::new_with_keys(word(&key[..8]), word(&key[8..]));
            reference.write(&message);
            prop_assert_eq!(siphash_2_4(&key, &message), reference.finish());
        }
    }
}
