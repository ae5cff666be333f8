//! The passwords, which clients send by HTTP Basic (RFC 7617) with any user name.

use std::hash::BuildHasher;

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::super::address::ClientAddress;
use super::super::limits::Allowance;
use super::super::visitor::Visitor;
use super::Guard;
use crate::author::Author;
use crate::lock::lock;
use crate::options::{Options, Password};
use crate::refusal::Refusal;

/// Right passwords that are remembered, at most: about 200 KB. Beyond it all are forgotten, and
/// remembered again when they are given again.
const MOST_PROOFS: usize = 10_000;

impl Guard {
    /// Whether the visitor has given a password that opens the door, if it is closed.
    pub(crate) fn check_door(&self, visitor: &Visitor<'_>) -> Result<(), Refusal> {
        if self.options.password.is_none() || visitor.name.is_some() {
            return Ok(());
        }
        let given = visitor.password.as_ref();
        let given = given.ok_or(Refusal::PasswordRequired)?;
        match self.is_right(given, self.passwords(), visitor)? {
            true => Ok(()),
            false => Err(Refusal::PasswordRequired),
        }
    }

    /// Whether a request carries the moderators' password by HTTP Basic. Wrong ones, which a browser may
    /// send along for years, have an allowance of their own, and are not logged. Once it is used up, a
    /// password counts only where a moderator's rights are used: see [`Guard::require_moderator`].
    pub(crate) fn is_moderator(&self, visitor: &Visitor<'_>) -> bool {
        let password = &self.options.moderator_password;
        let Some(given) = visitor.password.as_ref().filter(|_| password.is_some()) else {
            return false;
        };
        let is_wrong = !self.passwords().any(|password| password.equals(given));
        let (looks, now) = (Allowance::Looks(visitor.address), self.options.clock.now());
        let may_look = self.has_proved(visitor, given)
            || self.limits.spend(looks, is_wrong.into(), now).is_ok();
        may_look && self.compare(given, password, visitor) == Ok(true)
    }

    /// Refuses who is no moderator to act as one. A wrong password of HTTP Basic counts.
    pub(crate) fn require_moderator(
        &self,
        visitor: &Visitor<'_>,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        let password = &self.options.moderator_password;
        let given = visitor.password.as_ref().filter(|_| password.is_some());
        match given {
            _ if visitor.is_moderator => Ok(()),
            Some(given)
                if self.is_right(given, self.passwords(), visitor)?
                    && password.iter().any(|password| password.equals(given)) =>
            {
                Ok(())
            }
            _ => Err(refusal),
        }
    }

    /// The passwords that open the door; one of them is for moderators.
    fn passwords(&self) -> impl Iterator<Item = &Password> {
        let Options {
            password,
            moderator_password,
            ..
        } = &*self.options;
        password.iter().chain(moderator_password)
    }

    /// Compares a password with those accepted. Wrong ones are logged, and limited by address.
    pub(crate) fn is_right<'a>(
        &self,
        given: &[u8],
        accepted: impl IntoIterator<Item = &'a Password>,
        visitor: &Visitor<'_>,
    ) -> Result<bool, Refusal> {
        let right = self.compare(given, accepted, visitor)?;
        if !right {
            self.note_wrong("password", visitor.address);
        }
        Ok(right)
    }

    /// Compares a password with those accepted, unless the address has to wait. Whoever has given
    /// this password before need not wait.
    fn compare<'a>(
        &self,
        given: &[u8],
        accepted: impl IntoIterator<Item = &'a Password>,
        visitor: &Visitor<'_>,
    ) -> Result<bool, Refusal> {
        let right = accepted.into_iter().any(|password| password.equals(given));
        if !(right && self.has_proved(visitor, given)) {
            self.check_attempts(visitor.address)?;
        }
        if right && let Some(author) = visitor.author {
            self.remember(author, given);
        }
        Ok(right)
    }

    /// Whether the visitor has given this password before, and it was right.
    fn has_proved(&self, visitor: &Visitor<'_>, given: &[u8]) -> bool {
        let is_known = |author| lock(&self.proofs).contains(&self.proof(author, given));
        visitor.author.is_some_and(is_known)
    }

    /// Remembers that an author has given a right password.
    pub(crate) fn remember(&self, author: Author, given: &[u8]) {
        let proofs = &mut *lock(&self.proofs);
        if proofs.len() >= MOST_PROOFS {
            proofs.clear();
        }
        proofs.insert(self.proof(author, given));
    }

    fn proof(&self, author: Author, password: &[u8]) -> u64 {
        self.keyed.hash_one((author, password))
    }

    /// Checks that an address may try another password.
    pub(crate) fn check_attempts(&self, address: ClientAddress) -> Result<(), Refusal> {
        let (attempts, now) = (Allowance::WrongPasswords(address), self.options.clock.now());
        let checked = self.limits.spend(attempts, 0, now);
        checked.map_err(|retry_after| Refusal::TooManyAttempts { retry_after })
    }

    /// Logs and counts a wrong password, or what is guessed like one.
    pub(crate) fn note_wrong(&self, what: &str, address: ClientAddress) {
        let log = &self.options.log;
        log.info(format_args!("wrong {what} from {address}"));
        // There was a token a moment ago; if another request has spent it since, this one is free.
        let (attempts, now) = (Allowance::WrongPasswords(address), self.options.clock.now());
        let _ = self.limits.spend(attempts, 1, now);
    }
}

/// The password that a request carries by HTTP Basic; an empty one if it carries something else.
pub(crate) fn password_in(headers: &HeaderMap) -> Option<Vec<u8>> {
    let credentials = headers.get(AUTHORIZATION)?;
    Some(password_of(credentials.as_bytes()).unwrap_or_default())
}

fn password_of(credentials: &[u8]) -> Option<Vec<u8>> {
    let (scheme, token) = credentials.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let user_and_password = decode_base64(token.trim_ascii())?;
    let colon = user_and_password.iter().position(|byte| *byte == b':')?;
    Some(user_and_password[colon + 1..].to_vec())
}

/// Base64 of RFC 4648, section 4; padding may be missing.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let whole_bytes = group.len() * 6 / 8;
        if whole_bytes == 0 {
            return None;
        }
        bits <<= 32 - group.len() * 6;
        bytes.extend_from_slice(&bits.to_be_bytes()[..whole_bytes]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn is_right(credentials: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_bytes(credentials).expect("a header"),
        );
        let given = password_in(&headers).expect("a password");
        Password::new(b"open sesame\n")
            .expect("not empty")
            .equals(&given)
    }

    #[test]
    fn base64_of_the_standard() {
        for (encoded, decoded) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYg", "foob"),
        ] {
            assert_eq!(
                decode_base64(encoded.as_bytes()).as_deref(),
                Some(decoded.as_bytes()),
                "{encoded}"
            );
        }
        for bad in ["Z", "Zm9vY", "Zm 9", "Zm9-", "===="] {
            assert_eq!(decode_base64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn any_user_and_the_right_password() {
        assert!(is_right(b"Basic YWxpY2U6b3BlbiBzZXNhbWU="));
        assert!(
            !is_right(b"basic OjpvcGVuIHNlc2FtZQ=="),
            "the password begins at the first colon"
        );
        assert!(is_right(b"bAsIc Om9wZW4gc2VzYW1l"));
        for wrong in [
            "Basic",
            "Basic !",
            "Bearer YWxpY2U6b3BlbiBzZXNhbWU=",
            "Basic YWxpY2U=",
            "Basic YTpvcGVu",
            "Basic YTo=",
            "Basic YTpvcGVuIHNlc2FtZW9wZW4gc2VzYW1l",
        ] {
            assert!(!is_right(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn an_empty_password_is_none() {
        assert!(Password::new(b"").is_err());
        assert!(Password::new(b"\r\n").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_credentials_are_wrong(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if HeaderValue::from_bytes(&bytes).is_ok() {
                prop_assert!(!is_right(&bytes));
            }
        }
    }
}
