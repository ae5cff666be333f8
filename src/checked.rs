//! What the options of a chat must be, whoever gives them, and the form in which they are compared.

use crate::http::guard;
use crate::options::Options;

/// Bytes of one text at most, whatever the options say: a message is held in memory whole.
const MESSAGE_CEILING: usize = 1024 * 1024;

/// Checks options, and brings them into the form in which they are compared.
///
/// # Errors
/// One line that names an option and says what is wrong.
pub(crate) fn checked(mut options: Options) -> Result<Options, String> {
    options.check()?;
    if options.message_rate.is_nan() || options.message_rate < 0.0 {
        return Err(format!(
            "message_rate {}: expected 0 or more",
            options.message_rate
        ));
    }
    options.max_message = options.max_message.min(MESSAGE_CEILING);
    for origin in &mut options.allow_origin {
        let bad =
            || format!("allow_origin {origin:?}: expected an origin such as https://example.org");
        *origin = guard::parse_origin(origin).ok_or_else(bad)?;
    }
    if let Some(host) = options.allow_host.iter().find(|host| !guard::is_host(host)) {
        return Err(format!(
            "allow_host {host:?}: expected a host name such as chat.example.org, or an IP address"
        ));
    }
    options.prefix = match options.prefix.trim_matches('/') {
        "" => String::new(),
        path if path.split('/').all(is_segment) => format!("/{path}"),
        bad => {
            return Err(format!(
                "prefix {bad:?}: expected a path of letters, digits, '-', '_', '.' and '~', such as /team"
            ));
        }
    };
    Ok(options)
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
        checked(options).err()
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
                checked(options).map(|options| options.prefix),
                Ok(path.into())
            );
        }
    }
}
