//! Reading requests: queries and forms with their percent-encoding (RFC 3986), and bodies within
//! bounds of size and time.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Buf, Bytes};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body that is too long which are read before it is refused: a client that is still
/// sending when its connection closes may see a reset instead of the answer.
const DRAIN_BYTES: usize = 256 * 1024;
/// How long that reading may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The parameters of a query or a form, still encoded.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a>(pub(crate) &'a str);

impl<'a> Query<'a> {
    pub(crate) fn of(uri: &'a hyper::Uri) -> Query<'a> {
        Query(uri.query().unwrap_or_default())
    }

    /// The first parameter of that name.
    ///
    /// # Errors
    /// `refusal`, if it is not percent-encoded UTF-8.
    pub(crate) fn get(self, name: &str, refusal: Refusal) -> Result<Option<String>, Refusal> {
        let first = self.all(name).next();
        first.transpose().map_err(|()| refusal)
    }

    /// All parameters of that name.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = Result<String, ()>> {
        self.raw(name).map(|value| {
            decode(&value.replace('+', " "))
                .map(Cow::into_owned)
                .ok_or(())
        })
    }

    /// The first parameter of that name, as it was sent if it cannot be decoded.
    pub(crate) fn get_lossy(self, name: &str) -> Option<String> {
        let value = self.raw(name).next()?.replace('+', " ");
        let decoded = decode(&value).map(Cow::into_owned);
        Some(decoded.unwrap_or(value))
    }

    /// A whole number.
    pub(crate) fn number(self, name: &str, advice: &'static str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.raw(name).next() else {
            return Ok(None);
        };
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        value
            .parse()
            .ok()
            .filter(|_| digits)
            .map(Some)
            .ok_or(Refusal::BadRequest(advice))
    }

    /// Whether there is a parameter of that name.
    pub(crate) fn has(self, name: &str) -> bool {
        self.raw(name).next().is_some()
    }

    fn raw(self, name: &str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.split('&');
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

/// Undoes percent-encoding; `None` if the text is not percent-encoded UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(digits[0])? * 16 + digit(digits[1])?;
        bytes.push(u8::try_from(value).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Reads a request's body of at most `max_bytes`.
pub(crate) async fn read_body<B>(
    body: B,
    max_bytes: usize,
    expects_continue: bool,
) -> Result<Bytes, Refusal>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = pin!(body);
    let announced = body.size_hint().lower();
    if announced > max_bytes as u64 {
        if !expects_continue {
            drain(body).await;
        }
        return Err(Refusal::TooLarge);
    }
    let collected = Limited::new(body.as_mut(), max_bytes).collect();
    let read = timeout(BODY_TIMEOUT, collected).await;
    match read.map_err(|_| Refusal::Timeout)? {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(body).await;
            Err(Refusal::TooLarge)
        }
        Err(_) => Err(Refusal::BadRequest(
            "The body broke off or was malformed: send it again.",
        )),
    }
}

async fn drain<B: HttpBody>(mut body: Pin<&mut B>) {
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = match left.checked_sub(frame.data_ref().map_or(0, |data| data.remaining())) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // A client that sends more slowly than this may see a reset.
    let _ = timeout(DRAIN_TIMEOUT, reading).await;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters() {
        let query = Query("a=1&b=x%20y+z&a=2&c&d=%ff&n=12&m=+1");
        let get = |name| query.get(name, Refusal::BadName);
        assert_eq!(get("a"), Ok(Some("1".into())));
        assert_eq!(
            query.all("a").collect::<Vec<_>>(),
            [Ok("1".into()), Ok("2".into())]
        );
        assert_eq!(get("b"), Ok(Some("x y z".into())));
        assert_eq!(get("c"), Ok(Some(String::new())));
        assert_eq!(get("d"), Err(Refusal::BadName));
        assert_eq!(query.get_lossy("d"), Some("%ff".into()));
        assert_eq!(get("e"), Ok(None));
        assert_eq!(query.number("n", ""), Ok(Some(12)));
        assert_eq!(query.number("e", ""), Ok(None));
        for bad in ["m", "b", "c"] {
            assert_eq!(
                query.number(bad, "no"),
                Err(Refusal::BadRequest("no")),
                "{bad}"
            );
        }
    }

    #[test]
    fn percent_encoding() {
        assert_eq!(decode("%E8%81%8A%e5%a4%a9"), Some("聊天".into()));
        assert_eq!(decode("a+b"), Some("a+b".into()));
        for bad in ["%", "%1", "%zz", "%+1", "%ff", "%e8%81"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in ".*") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&encoded), Some(Cow::Owned::<str>(text)));
        }

        #[test]
        fn arbitrary_queries_never_panic(text in "[ -~]*", name in "[a-z]{0,2}") {
            let query = Query(&text);
            let _ = (query.get(&name, Refusal::BadName), query.get_lossy(&name), query.number(&name, ""));
        }
    }
}
