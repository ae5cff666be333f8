//! The passwords, which clients send by HTTP Basic (RFC 7617) with any user name.

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::super::address::ClientAddress;
use super::super::limits::Allowance;
use super::super::visitor::Visitor;
use super::Guard;
use crate::author::Author;
use crate::lock::lock;
use crate::options::Password;
use crate::refusal::Refusal;

/// Right passwords that are remembered, at most: about 300 KB. Beyond it all are forgotten, and
/// remembered again when they are given again.
const MOST_PROOFS: usize = 10_000;

/// What a password that somebody gave turned out to be.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) enum GivenPassword {
    Wrong,
    /// The one that everybody is asked for.
    Door,
    /// The moderators', which opens the door too.
    Moderators,
}

impl Guard {
    /// What a request carries by HTTP Basic. Anything else that it carries there is a wrong password.
    pub(crate) fn password_in(&self, headers: &HeaderMap) -> Option<GivenPassword> {
        let given = password_of(headers.get(AUTHORIZATION)?.as_bytes()).unwrap_or_default();
        let is = |password: &Option<Password>| password.iter().any(|one| one.equals(&given));
        Some(match &*self.options {
            options if is(&options.moderator_password) => GivenPassword::Moderators,
            options if is(&options.password) => GivenPassword::Door,
            _ => GivenPassword::Wrong,
        })
    }

    /// Whether the visitor has given a password that opens the door, if it is closed.
    pub(crate) fn check_door(&self, visitor: &Visitor<'_>) -> Result<(), Refusal> {
        if self.options.password.is_none() || visitor.name.is_some() {
            return Ok(());
        }
        let given = visitor.password.ok_or(Refusal::PasswordRequired)?;
        match self.attempt(visitor, given)? {
            true => Ok(()),
            false => Err(Refusal::PasswordRequired),
        }
    }

    /// Whether a request carries the moderators' password by HTTP Basic. Wrong ones, which a browser may
    /// send along for years, have an allowance of their own, and are not logged. Once it is used up, a
    /// password counts only where a moderator's rights are used: see [`Guard::may_moderate`].
    pub(crate) fn is_moderator(&self, visitor: &Visitor<'_>) -> bool {
        let Some(given) = visitor.password else {
            return false;
        };
        let is_wrong = u32::from(given == GivenPassword::Wrong);
        let unneeded = Allowance::UnneededPasswords(visitor.address);
        (self.has_given(visitor, given) || self.limits.spend(unneeded, is_wrong).is_ok())
            && given == GivenPassword::Moderators
            && self.attempt(visitor, given).is_ok()
    }

    /// Whether a visitor may act as a moderator. A wrong password by HTTP Basic counts as an attempt.
    pub(crate) fn may_moderate(&self, visitor: &Visitor<'_>) -> Result<bool, Refusal> {
        match visitor.password {
            Some(given) if !visitor.is_moderator && self.options.moderator_password.is_some() => {
                Ok(self.attempt(visitor, given)? && given == GivenPassword::Moderators)
            }
            _ => Ok(visitor.is_moderator),
        }
    }

    /// Says whether a password is right, unless the address has to wait. Whoever has given it before need
    /// not wait. Wrong ones are logged, and limited by address.
    pub(crate) fn attempt(
        &self,
        visitor: &Visitor<'_>,
        given: GivenPassword,
    ) -> Result<bool, Refusal> {
        if !self.has_given(visitor, given) {
            self.check_attempts(visitor.address)?;
        }
        if given == GivenPassword::Wrong {
            self.note_wrong("password", visitor.address);
            return Ok(false);
        }
        if let Some(author) = visitor.author {
            self.remember(author, given);
        }
        Ok(true)
    }

    /// Whether the visitor has given this password before, and it was right.
    fn has_given(&self, visitor: &Visitor<'_>, given: GivenPassword) -> bool {
        let is_known = |author| lock(&self.proofs).contains(&(author, given));
        visitor.author.is_some_and(is_known)
    }

    /// Remembers that an author has given a right password.
    pub(crate) fn remember(&self, author: Author, given: GivenPassword) {
        let proofs = &mut *lock(&self.proofs);
        if proofs.len() >= MOST_PROOFS {
            proofs.clear();
        }
        proofs.insert((author, given));
    }

    /// Checks that an address may try another password.
    pub(crate) fn check_attempts(&self, address: ClientAddress) -> Result<(), Refusal> {
        let checked = self.limits.spend(Allowance::WrongPasswords(address), 0);
        checked.map_err(|retry_after| Refusal::TooManyAttempts { retry_after })
    }

    /// Logs and counts a wrong password, or what is guessed like one.
    pub(crate) fn note_wrong(&self, what: &str, address: ClientAddress) {
        let log = &self.options.log;
        log.info(format_args!("wrong {what} from {address}"));
        // There was a token a moment ago; if another request has spent it since, this one is free.
        let _ = self.limits.spend(Allowance::WrongPasswords(address), 1);
    }
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
    use proptest::prelude::*;

    use super::*;

    fn is_right(credentials: &[u8]) -> bool {
        let given = password_of(credentials).unwrap_or_default();
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
            prop_assert!(!is_right(&bytes));
        }
    }
}
