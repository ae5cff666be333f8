//! Reading requests: queries and forms with their percent-encoding (RFC 3986), and bodies within
//! bounds of size and time.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Buf};
use hyper::header::{EXPECT, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::names::MemberName;
use crate::refusal::Refusal;

/// Bytes of a request that logs in, bans or asks for a code, at most.
const OBJECT_BYTES: usize = 4_096;
/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body that is too long which are read before it is refused: a client that is still
/// sending when its connection closes may see a reset instead of the answer.
const DRAIN_BYTES: usize = 256 * 1024;
/// How long that reading may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a header of ranges with weights (RFC 9110, section 12.4.2) accepts what is in all of
/// `ranges`, which go from wide to narrow: the narrowest of those that it has decides.
pub(crate) fn accepts(headers: &HeaderMap, name: HeaderName, ranges: &[&str]) -> bool {
    let values = headers.get_all(name).iter();
    let elements = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let mut best = (0, false);
    for element in elements {
        let mut parts = element.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let narrow = ranges
            .iter()
            .position(|known| known.eq_ignore_ascii_case(range));
        let narrow = narrow.map_or(0, |at| at + 1);
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let wanted = weight.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0));
        if narrow > best.0 {
            best = (narrow, wanted);
        }
    }
    best.1
}

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
        let first = self.raw(name).next();
        first
            .map(|value| decode_value(value).ok_or(refusal))
            .transpose()
    }

    /// The first parameter of that name, as it was sent if it cannot be decoded.
    pub(crate) fn get_lossy(self, name: &str) -> Option<String> {
        let value = self.raw(name).next()?;
        Some(decode_value(value).unwrap_or_else(|| value.to_owned()))
    }

    /// The name to take part under.
    pub(crate) fn name(self) -> Result<Option<MemberName>, Refusal> {
        let name = self.get("name", Refusal::BadName)?;
        let parsed = name.map(|name| MemberName::parse(&name));
        parsed.transpose().map_err(|_| Refusal::BadName)
    }

    /// A whole number within a range.
    pub(crate) fn number(
        self,
        name: &str,
        range: RangeInclusive<u64>,
        advice: &'static str,
    ) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.raw(name).next() else {
            return Ok(None);
        };
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        let number = value.parse().ok();
        let number = number.filter(|number| digits && range.contains(number));
        number.map(Some).ok_or(Refusal::BadRequest(advice))
    }

    /// Whether there is a parameter of that name.
    pub(crate) fn has(self, name: &str) -> bool {
        self.raw(name).next().is_some()
    }

    /// All parameters of that name, as they were sent.
    pub(crate) fn raw(self, name: &str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.split('&');
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

/// Undoes the encoding of a parameter.
pub(crate) fn decode_value(value: &str) -> Option<String> {
    decode(&value.replace('+', " ")).map(Cow::into_owned)
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
///
/// Its bytes are copied: a piece as hyper gives it keeps the whole read buffer that it lies in, and
/// a body of many small pieces would take thirty times its size.
pub(crate) async fn read_body<B: HttpBody>(
    headers: &HeaderMap,
    body: B,
    max_bytes: usize,
) -> Result<Vec<u8>, Refusal> {
    let mut body = pin!(body);
    let announced = body.size_hint().lower();
    let mut read = Vec::new();
    let too_large = announced > max_bytes as u64
        || timeout(BODY_TIMEOUT, collect(body.as_mut(), max_bytes, &mut read))
            .await
            .map_err(|_| Refusal::Timeout)??;
    if !too_large {
        return Ok(read);
    }
    // Nothing of a body that waits for the permission to be sent is on its way yet.
    if announced <= max_bytes as u64 || !headers.contains_key(EXPECT) {
        drain(body).await;
    }
    Err(Refusal::TooLarge)
}

/// Reads a request's short body, which has to be a JSON object.
pub(crate) async fn read_object<B: HttpBody>(
    head: &Parts,
    body: B,
) -> Result<(Vec<u8>, Map<String, Value>), Refusal> {
    let body = read_body(&head.headers, body, OBJECT_BYTES).await?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok((body, object)),
        _ => Err(Refusal::BadRequest("Send a JSON object.")),
    }
}

/// Appends the rest of a body, and says whether that would be more than `max_bytes` in all.
async fn collect<B: HttpBody>(
    mut body: Pin<&mut B>,
    max_bytes: usize,
    read: &mut Vec<u8>,
) -> Result<bool, Refusal> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Refusal::BadRequest("The body broke off or was malformed: send it again.")
        })?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > max_bytes - read.len() {
            return Ok(true);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let taken = chunk.len();
            data.advance(taken);
        }
    }
    Ok(false)
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

    const ALL: RangeInclusive<u64> = 0..=u64::MAX;

    #[test]
    fn parameters() {
        let query = Query("a=1&b=x%20y+z&a=2&c&d=%ff&n=12&m=+1");
        let get = |name| query.get(name, Refusal::BadName);
        assert_eq!(get("a"), Ok(Some("1".into())));
        assert_eq!(query.raw("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(get("b"), Ok(Some("x y z".into())));
        assert_eq!(get("c"), Ok(Some(String::new())));
        assert_eq!(get("d"), Err(Refusal::BadName));
        assert_eq!(query.get_lossy("d"), Some("%ff".into()));
        assert_eq!(get("e"), Ok(None));
        assert_eq!(query.number("n", ALL, ""), Ok(Some(12)));
        assert_eq!(query.number("e", ALL, ""), Ok(None));
        for bad in ["m", "b", "c"] {
            assert_eq!(
                query.number(bad, ALL, "no"),
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
            let _ = (query.get(&name, Refusal::BadName), query.get_lossy(&name), query.number(&name, ALL, ""));
        }
    }
}
