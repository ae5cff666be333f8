use std::os::unix::ffi::OsStringExt;

use super::*;

mod passwords;

fn parsed(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, String> {
    let environment = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    parse(arguments.iter().map(OsString::from), environment)
}

fn options(arguments: &[&str]) -> Program {
    match parsed(arguments, &[]) {
        Ok(Command::Serve(program)) => *program,
        Ok(_) => panic!("another command"),
        Err(error) => panic!("{error}"),
    }
}

/// The error of bad options, which is one line.
fn error(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let error = parsed(arguments, environment).err().expect("an error");
    assert!(!error.contains(char::is_control), "{error}");
    error
}

fn listen(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    match parsed(arguments, environment) {
        Ok(Command::Serve(program)) => program.listen.to_string(),
        Ok(_) => "another command".into(),
        Err(error) => error,
    }
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_default() {
    let environment = [("CHATROOM_LISTEN", "127.0.0.1:2")];
    assert_eq!(listen(&[], &[]), "127.0.0.1:8080");
    assert_eq!(listen(&[], &environment), "127.0.0.1:2");
    assert_eq!(
        listen(&["--listen", "127.0.0.1:3"], &environment),
        "127.0.0.1:3"
    );
    assert_eq!(listen(&["--listen=[::1]:4"], &environment), "[::1]:4");
    assert_eq!(
        listen(&["--listen=[::1]:4", "--listen", "[::1]:5"], &[]),
        "[::1]:5"
    );
    assert_eq!(listen(&[], &[("CHATROOM_LISTEN", "")]), "127.0.0.1:8080");
}

#[test]
fn a_bad_one_is_named_in_one_line() {
    for (arguments, environment, begins) in [
        (&["--listen", "x"][..], &[][..], "--listen x: "),
        (&["--listen"], &[], "--listen: expected a value"),
        (&["--nonsense"], &[], "--nonsense: unknown option"),
        (&["nonsense"], &[], "nonsense: unknown option"),
        (&["--history", "-1"], &[], "--history -1: "),
        (&["--history", "+1"], &[], "--history +1: "),
        (&["--heartbeat", "NaN"], &[], "--heartbeat NaN: "),
        (&["--message-rate", "-1"], &[], "--message-rate -1: "),
        (&["--fsync", "sometimes"], &[], "--fsync sometimes: "),
        (&["--data", ""], &[], "--data : "),
        (&["--history-age", "old"], &[], "--history-age old: "),
        (&["--room", "a b"], &[], "--room a b: "),
        (&["--allow-origin", "*"], &[], "--allow-origin *: "),
        (
            &["--trusted-proxy", "localhost"],
            &[],
            "--trusted-proxy localhost: ",
        ),
        (
            &["--password-file", "/nonexistent"],
            &[],
            "--password-file /nonexistent: cannot read",
        ),
        (
            &[],
            &[("CHATROOM_MAX_ROOMS", "many")],
            "CHATROOM_MAX_ROOMS many: ",
        ),
        (
            &[],
            &[("CHATROOM_ROOM", "ok, not ok")],
            "CHATROOM_ROOM not ok: ",
        ),
    ] {
        let error = error(arguments, environment);
        assert!(error.starts_with(begins), "{error}");
    }
}

#[test]
fn an_address_may_be_a_port_alone_or_a_local_name() {
    for (given, address) in [
        ("9000", "127.0.0.1:9000"),
        (":9000", "127.0.0.1:9000"),
        ("localhost:9000", "127.0.0.1:9000"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("[::1]:9000", "[::1]:9000"),
    ] {
        assert_eq!(listen(&["--listen", given], &[]), address);
    }
    for bad in [
        "",
        ":",
        "+80",
        "65536",
        "::1",
        "127.0.0.1",
        "localhost",
        "example.org:80",
        "localhost:",
    ] {
        assert!(
            error(&["--listen", bad], &[]).starts_with("--listen"),
            "{bad}"
        );
    }
}

#[test]
fn a_value_that_is_not_utf_8_is_refused_and_not_ignored() {
    let broken = || OsString::from_vec(b"pass\xffword".to_vec());
    let refused = |arguments: &[OsString], variable: &str| {
        let environment = [(variable.into(), broken())];
        parse(arguments.iter().cloned(), environment).err()
    };
    for (arguments, variable, begins) in [
        (
            vec![],
            "CHATROOM_PASSWORD_FILE",
            "CHATROOM_PASSWORD_FILE \"pass",
        ),
        (vec![], "CHATROOM_ROOM", "CHATROOM_ROOM \"pass"),
        (vec!["--data".into(), broken()], "", "--data \"pass"),
        (vec![broken()], "", "\"pass"),
        (
            vec![OsString::from_vec(b"--data=\xff".to_vec())],
            "",
            "\"--data=\\xFF\"",
        ),
    ] {
        let error = refused(&arguments, variable).unwrap_or_default();
        assert!(
            error.starts_with(begins),
            "{variable} {arguments:?}: {error}"
        );
    }
}

#[test]
fn a_password_in_a_url_is_not_told_back() {
    let broken = || OsString::from_vec(b"redis://:secret@\xff".to_vec());
    let joined = OsString::from_vec(b"--redis=redis://:secret@\xff".to_vec());
    for (arguments, named) in [
        (vec![], "CHATROOM_REDIS"),
        (vec!["--redis".into(), broken()], "--redis"),
        (vec![joined], "--redis"),
    ] {
        let error = parse(arguments, [("CHATROOM_REDIS".into(), broken())]).err();
        let expected = format!("{named}: expected UTF-8");
        assert_eq!(error.as_deref(), Some(&*expected));
    }
}

/// Ignored, `CHATROOM_PASSWORD_FIEL` would leave the door open.
#[test]
fn a_misspelt_name_is_refused_with_the_one_that_was_probably_meant() {
    for (name, meant) in [
        ("CHATROOM_PASSWORD_FIEL", "CHATROOM_PASSWORD_FILE"),
        ("CHATROOM_PASSWORD", "CHATROOM_PASSWORD_FILE"),
        ("CHATROOM_history_age", "CHATROOM_HISTORY_AGE"),
        ("CHATROOM_MAX_ROOM", "CHATROOM_MAX_ROOMS"),
    ] {
        let others = [
            ("CHATROOM_PORT", "tcp://x"),
            (name, "x"),
            ("CHATROOM_LOG", "info"),
        ];
        let expected = format!("{name}: unknown variable; did you mean {meant}?");
        assert_eq!(error(&[], &others), expected);
        assert!(
            parsed(&[], &[(name, "")]).is_ok(),
            "an empty one is not set"
        );
    }
    for (argument, meant) in [
        (
            "--histroy=5",
            "--histroy: unknown option; did you mean --history?",
        ),
        ("--Room", "--Room: unknown option; did you mean --room?"),
        ("-data", "-data: unknown option; did you mean --data?"),
        ("--nonsense", "--nonsense: unknown option; see --help"),
    ] {
        assert_eq!(error(&[argument], &[]), meant);
    }
}

#[test]
fn variables_that_nobody_misspelt_bring_one_warning() {
    let environment = [
        ("CHATROOM_SERVICE_HOST", "10.0.0.1"),
        ("CHATROOM_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("CHATROOM_PORT", "tcp://10.0.0.1:8080"),
        ("CHATROOM_HEARTBEAT", "7"),
        ("CHAT", "x"),
    ];
    let Ok(Command::Serve(program)) = parsed(&["--heartbeat", "8"], &environment) else {
        panic!("it is to be served");
    };
    let expected = "ignored unknown variables: CHATROOM_PORT, CHATROOM_PORT_8080_TCP_ADDR, CHATROOM_SERVICE_HOST";
    assert_eq!(program.warnings, [expected]);
}

#[test]
fn an_error_stays_one_line_whatever_was_given() {
    assert!(error(&["--listen", "a\nb"], &[]).starts_with("--listen a b: "));
    assert!(error(&["--no\nsense"], &[]).starts_with("--no sense: "));
}

#[test]
fn hosts_and_origins_are_checked() {
    for bad in [
        "https://x",
        "a b",
        "*.x",
        "",
        "x/",
        "::1",
        "me@x",
        "x:port",
        "[::1",
        "\u{fc}.x",
    ] {
        assert!(
            error(&["--allow-host", bad], &[]).starts_with("--allow-host"),
            "{bad}"
        );
    }
    for good in [
        "chat.example.org",
        "x:8080",
        "10.0.0.1",
        "[::1]",
        "[::1]:80",
        "my_host.",
    ] {
        options(&["--allow-host", good]);
    }
    for bad in ["https://*.x", "https://me@x", "https://x/"] {
        assert!(
            error(&["--allow-origin", bad], &[]).starts_with("--allow-origin"),
            "{bad}"
        );
    }
}

#[test]
fn redis_needs_its_feature_and_excludes_data() {
    let url = "redis://:secret@localhost";
    for error in [
        error(&["--redis", url, "--data", "x"], &[]),
        error(&["--data", "x"], &[("CHATROOM_REDIS", url)]),
        #[cfg(not(feature = "redis"))]
        error(&["--redis", url], &[]),
        #[cfg(not(feature = "redis"))]
        error(&[], &[("CHATROOM_REDIS", url)]),
    ] {
        let expected = if cfg!(feature = "redis") {
            "--data"
        } else {
            "feature redis"
        };
        assert!(
            error.contains(expected) && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn help_lists_every_option_with_its_default() {
    let printed = |arguments: &[&str]| match parsed(arguments, &[]) {
        Ok(Command::Print(text)) => text,
        _ => panic!("{arguments:?} prints nothing"),
    };
    let help = printed(&["--help", "--nonsense"]);
    for spec in TABLE {
        assert!(
            help.contains(&format!("--{} {}", spec.name, spec.value)),
            "{}",
            spec.name
        );
        assert!(help.contains(spec.default));
    }
    assert!(
        help.lines().all(|line| line.chars().count() <= 120),
        "{help}"
    );
    assert_eq!(printed(&["-h"]), help);
    assert_eq!(printed(&["-V"]), printed(&["--version"]));
}

#[test]
fn the_defaults_in_the_help_are_those_of_the_options() {
    let mut program = options(&["--allow-host", "x"]);
    program.chat.clock = crate::ManualClock::at(0).into();
    let shown = |program: &Program| format!("{:?} {:?}", program.listen, program.chat);
    let before = shown(&program);
    for spec in TABLE.iter().filter(|spec| !spec.default.is_empty()) {
        (spec.apply)(&mut program, spec.default).expect(spec.name);
        assert_eq!(shown(&program), before, "{}", spec.name);
    }
}
