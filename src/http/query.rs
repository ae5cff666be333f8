//! Reading queries and paths: percent-encoding, as RFC 3986 and HTML forms have it.

use std::borrow::Cow;

use super::error::Refusal;

/// The parameters of a query, as they came.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a>(&'a str);

/// The text is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Undecodable;

impl<'a> Query<'a> {
    pub(crate) fn of(uri: &'a hyper::Uri) -> Query<'a> {
        Query(uri.query().unwrap_or_default())
    }

    /// The first parameter of that name.
    pub(crate) fn get(self, name: &str) -> Option<Result<String, Undecodable>> {
        self.raw(name)
            .map(|value| decode(&value.replace('+', " ")).map(Cow::into_owned))
    }

    /// The first parameter of that name, with what cannot be read replaced.
    pub(crate) fn get_lossy(self, name: &str) -> Option<String> {
        let value = self.raw(name)?.replace('+', " ");
        Some(match decode(&value) {
            Ok(text) => text.into_owned(),
            Err(Undecodable) => value,
        })
    }

    /// A whole number.
    pub(crate) fn number(self, name: &str, advice: &'static str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.raw(name) else {
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
        self.raw(name).is_some()
    }

    fn raw(self, name: &str) -> Option<&'a str> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

/// Undoes percent-encoding.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, Undecodable> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(Undecodable)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Undecodable);
        let value = digit(digits[0])? * 16 + digit(digits[1])?;
        bytes.push(u8::try_from(value).map_err(|_| Undecodable)?);
        rest = tail;
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| Undecodable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters() {
        let query = Query("a=1&b=x%20y+z&a=2&c&d=%ff&n=12&m=+1");
        assert_eq!(query.get("a"), Some(Ok("1".into())));
        assert_eq!(query.get("b"), Some(Ok("x y z".into())));
        assert_eq!(query.get("c"), Some(Ok(String::new())));
        assert_eq!(query.get("d"), Some(Err(Undecodable)));
        assert_eq!(query.get_lossy("d"), Some("%ff".into()));
        assert_eq!(query.get("e"), None);
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
        assert_eq!(decode("%E8%81%8A%e5%a4%a9"), Ok("聊天".into()));
        assert_eq!(decode("a+b"), Ok("a+b".into()));
        for bad in ["%", "%1", "%zz", "%+1", "%ff", "%e8%81"] {
            assert_eq!(decode(bad), Err(Undecodable), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in ".*") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&encoded), Ok(Cow::Owned::<str>(text)));
        }

        #[test]
        fn arbitrary_queries_never_panic(text in "[ -~]*", name in "[a-z]{0,2}") {
            let query = Query(&text);
            let _ = (query.get(&name), query.get_lossy(&name), query.number(&name, ""));
        }
    }
}
