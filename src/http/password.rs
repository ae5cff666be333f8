//! A password that clients send by HTTP Basic (RFC 7617) with any user name.

use hyper::header::{AUTHORIZATION, HeaderMap};

/// The password that a request carries by HTTP Basic; an empty one if it carries something else.
pub(crate) fn given_in(headers: &HeaderMap) -> Option<Vec<u8>> {
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
    use crate::options::Password;

    fn is_right(credentials: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_bytes(credentials).expect("a header"),
        );
        let given = given_in(&headers).expect("a password");
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
