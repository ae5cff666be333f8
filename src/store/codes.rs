//! Codes by which a person takes a session to another device.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use crate::author::SessionId;
use crate::lock::lock;

/// The digits of a code, of five bits each (Crockford's Base32): none of them looks like another.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits on each side of a code's hyphen.
const HALF: usize = 5;
/// Random bits of a code.
pub(crate) const BITS: usize = 5 * 2 * HALF;
/// How long a code may be used, in milliseconds: time to type it on the other device.
pub(crate) const CODE_MS: u64 = 10 * 60 * 1_000;
/// Codes at most: with what they carry, about 4 MB.
pub(super) const MOST_CODES: usize = 1_000;
/// Codes of one address at most.
pub(super) const MOST_OF_ADDRESS: usize = 20;

/// A code that nobody has used yet.
pub(crate) struct Code {
    /// What is written as its digits.
    pub(crate) bits: u64,
    pub(crate) session: SessionId,
    pub(crate) address: IpAddr,
    /// When it ends, in milliseconds since the Unix epoch.
    pub(crate) expires_at: u64,
    /// What the other device gets with the session.
    pub(crate) carried: Vec<u8>,
}

/// The codes that may be used, oldest first.
#[derive(Default)]
pub(crate) struct Codes(Mutex<VecDeque<Code>>);

impl Codes {
    /// Adds a code, in place of the session's earlier one. Where there are too many, the oldest is
    /// dropped: of the same address if it has one, else of all.
    pub(super) fn put(&self, code: Code, unix_ms: u64) {
        let codes = &mut *lock(&self.0);
        codes.retain(|old| old.expires_at > unix_ms && old.session != code.session);
        let is_own = |old: &Code| old.address == code.address;
        let own = codes.iter().filter(|old| is_own(old)).count();
        if own >= MOST_OF_ADDRESS || codes.len() >= MOST_CODES {
            let oldest = codes.iter().position(is_own).unwrap_or(0);
            codes.remove(oldest);
        }
        codes.push_back(code);
    }

    /// Takes a code, which cannot be used again.
    pub(super) fn take(&self, bits: u64, unix_ms: u64) -> Option<(SessionId, Vec<u8>)> {
        let codes = &mut *lock(&self.0);
        let is_this = |code: &Code| code.bits == bits && code.expires_at > unix_ms;
        let code = codes.remove(codes.iter().position(is_this)?)?;
        Some((code.session, code.carried))
    }
}

/// A code as a person reads it.
pub(crate) fn written(bits: u64) -> String {
    let digit = |place: usize| DIGITS[(bits >> (5 * place)) as usize % DIGITS.len()];
    let digits: String = (0..2 * HALF)
        .rev()
        .map(|place| char::from(digit(place)))
        .collect();
    format!("{}-{}", &digits[..HALF], &digits[HALF..])
}

/// A code as a person may type it: in any case, with or without its hyphen, and with letters that look
/// like digits.
pub(crate) fn read(code: &str) -> Option<u64> {
    let (left, right) = code.split_at_checked(HALF)?;
    let digits = [left, right.strip_prefix('-').unwrap_or(right)].concat();
    let value = |digit: u8| {
        let digit = match digit.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            digit => digit,
        };
        DIGITS.iter().position(|known| *known == digit)
    };
    let mut values = digits.bytes().map(value);
    let bits = values.try_fold(0, |bits, value| Some(bits << 5 | value? as u64));
    bits.filter(|_| digits.len() == 2 * HALF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(codes: &Codes, n: u64, address: u8) {
        let code = Code {
            bits: n,
            session: SessionId(n.into()),
            address: [10, 0, 0, address].into(),
            expires_at: CODE_MS,
            carried: Vec::new(),
        };
        codes.put(code, 0);
    }

    fn left(codes: &Codes, all: u64) -> Vec<u64> {
        (0..all).filter(|n| codes.take(*n, 0).is_some()).collect()
    }

    #[test]
    fn the_oldest_of_the_same_address_gives_way() {
        let codes = Codes::default();
        put(&codes, 0, 1);
        (1..=21).for_each(|n| put(&codes, n, 2));
        let expected: Vec<u64> = [0].into_iter().chain(2..=21).collect();
        assert_eq!(left(&codes, 30), expected);
        // As many as there may be, of 50 addresses.
        (0..1_000).for_each(|n| put(&codes, n, (n / 20) as u8));
        put(&codes, 1_000, 49);
        put(&codes, 1_001, 99);
        let gone = [0, 980];
        let expected: Vec<u64> = (0..1_002).filter(|n| !gone.contains(n)).collect();
        assert_eq!(left(&codes, 1_002), expected);
    }

    #[test]
    fn a_renewed_code_is_the_newest() {
        let codes = Codes::default();
        (0..20).for_each(|n| put(&codes, n, 1));
        put(&codes, 0, 1);
        put(&codes, 20, 1);
        let expected: Vec<u64> = [0].into_iter().chain(2..=20).collect();
        assert_eq!(left(&codes, 30), expected);
    }

    #[test]
    fn a_code_ends() {
        let codes = Codes::default();
        put(&codes, 7, 1);
        assert!(codes.take(7, CODE_MS).is_none());
        assert!(codes.take(7, CODE_MS - 1).is_some());
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        let bits = read("0123A-BCD1Z");
        assert!(bits.is_some());
        for same in [
            "0123ABCD1Z",
            "0123a-bcd1z",
            "o123A-BCDIz",
            "O123a-bcdLz",
            "0i23abcdlz",
        ] {
            assert_eq!(read(same), bits, "{same}");
        }
        for bad in [
            "",
            "-",
            "0123A-BCD1",
            "0123A-BCD1ZZ",
            "0123-ABCD1Z",
            "0123A--BCD1Z",
            " 0123A-BCD1Z",
            "0123A-BCD1U",
            "0123A-BCD1é",
            "0123é-BCD1Z",
            "0123A-BCD1Z-",
            "012345-6789A",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bits in 0..1_u64 << BITS) {
            prop_assert_eq!(read(&written(bits)), Some(bits));
        }

        #[test]
        fn arbitrary_codes_never_panic(code in ".{0,14}") {
            let _ = read(&code);
        }
    }
}
