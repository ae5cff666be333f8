//! Who you are, and how you are the same on another device.

use hyper::body::Body as HttpBody;
use hyper::header::SET_COOKIE;
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::answer::{self, Answer};
use super::body::Body;
use super::request::read_object;
use super::site::Site;
use super::visitor::Visitor;
use crate::author::SessionId;
use crate::refusal::Refusal;
use crate::store::codes::{CODE_MS, Code};

/// The digits of a code, of five bits each (Crockford's Base32): none of them looks like another.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits on each side of a code's hyphen.
const HALF: usize = 5;
const BITS: usize = 5 * 2 * HALF;

/// Says who the visitor is.
pub(crate) fn tell(site: &Site, visitor: &Visitor<'_>) -> Response<Body> {
    let author = Value::from(visitor.author.map(|author| author.to_string()));
    let user = Value::from(visitor.name.as_ref().map(|name| name.as_str()));
    let moderator = visitor.is_moderator;
    let moderators = moderator || site.has_moderators();
    answer::json(
        StatusCode::OK,
        format!(
            r#"{{"author":{author},"user":{user},"moderator":{moderator},"moderators":{moderators}}}"#
        ),
    )
}

/// Gives out a code for the visitor's session. What the request carries, the other device gets.
pub(crate) async fn give_code<B: HttpBody>(site: &Site, visitor: &Visitor<'_>, body: B) -> Answer {
    let session = visitor.session.ok_or(Refusal::NotFound)?;
    let (carried, _) = read_object(visitor.head, body).await?;
    let now = site.hub.clock().unix_ms();
    let (SessionId(random), expires_at) = (site.sessions.issue(), now + CODE_MS);
    let bits = random as u64 % (1 << BITS);
    let code = Code {
        bits,
        session,
        address: visitor.address.ip(),
        expires_at,
        carried,
    };
    site.store.put_code(&site.codes, code, now).await?;
    let code = written(bits);
    let json = format!(r#"{{"code":"{code}","expiresAt":{expires_at}}}"#);
    Ok(answer::json(StatusCode::CREATED, json))
}

/// Gives the session behind a code to this device.
pub(crate) async fn use_code<B: HttpBody>(site: &Site, visitor: &Visitor<'_>, body: B) -> Answer {
    if visitor.name.is_some() {
        // A user is the same on every device.
        return Err(Refusal::NotFound);
    }
    let (_, fields) = read_object(visitor.head, body).await?;
    let given = fields.get("code").and_then(Value::as_str);
    let given = given.ok_or(Refusal::BadRequest(
        "Send the code that the other device shows: {\"code\":\"XXXXX-XXXXX\"}.",
    ))?;
    site.guard.check_attempts(visitor.address)?;
    let now = site.hub.clock().unix_ms();
    let taken = match read(given) {
        Some(bits) => site.store.take_code(&site.codes, bits, now).await?,
        None => None,
    };
    let Some((session, carried)) = taken else {
        site.guard.note_wrong("code", visitor.address);
        return Err(Refusal::WrongCode);
    };
    let mut response = answer::json(StatusCode::OK, carried);
    let cookie = site.sessions.set_cookie(session, visitor.https);
    cookie.map(|cookie| response.headers_mut().insert(SET_COOKIE, cookie));
    Ok(response)
}

/// A code as a person reads it.
fn written(bits: u64) -> String {
    let digit = |place: usize| DIGITS[(bits >> (5 * place)) as usize % DIGITS.len()];
    let digits: String = (0..2 * HALF)
        .rev()
        .map(|place| char::from(digit(place)))
        .collect();
    format!("{}-{}", &digits[..HALF], &digits[HALF..])
}

/// A code as a person may type it: in any case, with or without its hyphen, and with letters that look
/// like digits.
fn read(code: &str) -> Option<u64> {
    let (left, right) = code.split_at_checked(HALF)?;
    let digits = left
        .bytes()
        .chain(right.strip_prefix('-').unwrap_or(right).bytes());
    let value = |digit: u8| {
        let digit = match digit.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            digit => digit,
        };
        DIGITS.iter().position(|known| *known == digit)
    };
    let values: Vec<usize> = digits.map(value).collect::<Option<_>>()?;
    let bits = || {
        values
            .iter()
            .fold(0, |bits, value| bits << 5 | *value as u64)
    };
    (values.len() == 2 * HALF).then(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
