//! What the options of a chat must be, whoever gives them, and the form in which they are compared.

use hyper::header::HeaderName;

use super::Options;
use crate::http::guard;
use crate::names::RoomName;

/// Headers that say something else than who the user is; `*` stands for any end of the name.
const OTHER_HEADERS: &str = "accept* access-control-* age allow authorization cache-control connection \
    content-* cookie date etag expect forwarded host idempotency-key if-* last-event-id origin pragma \
    priority proxy-authorization range referer sec-* set-cookie te trailer transfer-encoding upgrade \
    user-agent via x-forwarded-for* x-forwarded-host* x-forwarded-port* x-forwarded-proto* \
    x-forwarded-server* x-real-ip x-requested-with";
/// Bytes of one text at most, whatever the options say: a message is held in memory whole.
const MESSAGE_CEILING: usize = 1024 * 1024;

impl Options {
    /// Checks the options, and brings them into the form in which they are compared.
    ///
    /// # Errors
    /// One line that names an option and says what is wrong.
    pub(crate) fn checked(mut self) -> Result<Options, String> {
        self.check_together()?;
        if self.message_rate.is_nan() || self.message_rate < 0.0 {
            return Err(format!(
                "message_rate {}: expected 0 or more",
                self.message_rate
            ));
        }
        self.max_message = self.max_message.min(MESSAGE_CEILING);
        for origin in &mut self.allow_origin {
            let bad = || {
                format!("allow_origin {origin:?}: expected an origin such as https://example.org")
            };
            *origin = guard::parse_origin(origin).ok_or_else(bad)?;
        }
        if let Some(host) = self.allow_host.iter().find(|host| !guard::is_host(host)) {
            return Err(format!(
                "allow_host {host:?}: expected a host name such as chat.example.org, or an IP address"
            ));
        }
        self.prefix = match self.prefix.trim_matches('/') {
            "" => String::new(),
            path if path.split('/').all(is_segment) => format!("/{path}"),
            bad => {
                return Err(format!(
                    "prefix {bad:?}: expected a path of letters, digits, '-', '_', '.' and '~', such as /team"
                ));
            }
        };
        Ok(self)
    }

    /// Checks that no two options contradict each other.
    fn check_together(&self) -> Result<(), String> {
        #[cfg(feature = "redis")]
        if self.redis.is_some() && self.data.is_some() {
            return Err("--redis: excludes --data; Redis keeps the messages".into());
        }
        if let (Some(password), Some(moderators)) = (&self.password, &self.moderator_password)
            && password.equals(&moderators.0)
        {
            return Err("--moderator-password-file: the password is that of --password-file, which would make everybody a moderator".into());
        }
        if self.rooms.first().is_some_and(RoomName::is_by_link) {
            return Err("--room: the first is what /chat means, so everybody would have the link to it; name another one before it".into());
        }
        let Some(header) = &self.user_header else {
            return Ok(());
        };
        let name = header.to_ascii_lowercase();
        let is_this = |other: &str| match other.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == other,
        };
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!(
                "--user-header {header}: expected the name of a header, such as Remote-User"
            ));
        }
        if OTHER_HEADERS.split(' ').any(is_this) {
            return Err(format!(
                "--user-header {header}: this header has another meaning"
            ));
        }
        if self.trusted_proxy.is_empty() {
            return Err("--user-header: needs --trusted-proxy, from where alone it counts".into());
        }
        if self.password.is_some() {
            return Err(
                "--user-header: excludes --password-file; the proxy asks who comes in".into(),
            );
        }
        Ok(())
    }
}

/// Whether this can be a part of the path as browsers send it, and of the path of a cookie.
fn is_segment(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    !matches!(text, "" | "." | "..") && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with the options after a change.
    fn wrong(change: impl FnOnce(&mut Options)) -> Option<String> {
        let mut options = Options::default();
        change(&mut options);
        options.checked().err()
    }

    #[test]
    fn what_the_command_line_refuses_is_refused_of_a_program_too() {
        for rate in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            let refused = wrong(|options| options.message_rate = rate);
            assert!(refused.is_some_and(|line| line.starts_with("message_rate ")));
        }
        for rate in [0.0, 0.5, f64::INFINITY] {
            assert_eq!(wrong(|options| options.message_rate = rate), None);
        }
        for host in ["", "a b", "https://x", "*.x", "x/"] {
            let refused = wrong(|options| options.allow_host = vec!["ok".into(), host.into()]);
            assert!(
                refused.is_some_and(|line| line.starts_with("allow_host ")),
                "{host}"
            );
        }
        for origin in ["", "example.org", "https://*.x"] {
            let refused = wrong(|options| options.allow_origin = vec![origin.into()]);
            assert!(
                refused.is_some_and(|line| line.starts_with("allow_origin ")),
                "{origin}"
            );
        }
        assert_eq!(
            wrong(|options| options.allow_host = vec!["x:80".into()]),
            None
        );
    }

    #[test]
    fn a_prefix_is_a_path_of_plain_segments() {
        for bad in [
            "/a b", "/a?b", "/a#b", "/a;b", "/a//b", "/a/..", ".", "/%20", "/\u{e9}",
        ] {
            let refused = wrong(|options| options.prefix = bad.into());
            assert!(
                refused.is_some_and(|line| line.starts_with("prefix ")),
                "{bad}"
            );
        }
        for (given, path) in [
            ("", ""),
            ("/", ""),
            ("team", "/team"),
            ("/a/b-2_.~/", "/a/b-2_.~"),
        ] {
            let options = Options {
                prefix: given.into(),
                ..Options::default()
            };
            assert_eq!(
                options.checked().map(|options| options.prefix),
                Ok(path.into())
            );
        }
    }
}
