use super::*;

fn parsed(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, String> {
    let find = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned())
    };
    parse(
        arguments.iter().map(|argument| (*argument).to_owned()),
        find,
    )
}

fn listen(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    match parsed(arguments, environment) {
        Ok(Command::Serve(options)) => options.listen.to_string(),
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
        let error = parsed(arguments, environment).err().expect("an error");
        assert!(
            error.starts_with(begins) && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn help_lists_every_option_with_its_default() {
    let Ok(Command::Print(help)) = parsed(&["--help", "--nonsense"], &[]) else {
        panic!("no help")
    };
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
}

#[test]
fn every_default_is_the_builders_own() {
    // What the help promises is applied from the table; a program that embeds gets the
    // builder's. They are the same.
    let Ok(Command::Serve(options)) = parsed(&["--allow-host", "x"], &[]) else {
        panic!("no options")
    };
    let shown = |chat: Builder| format!("{:?}", chat.clock(crate::ManualClock::at(0)));
    assert_eq!(
        shown(options.chat),
        shown(Builder::default().allow_host("x"))
    );
}

#[test]
fn an_exposed_password_is_warned_of() {
    let file = std::env::temp_dir().join(format!("chatroom-password-{}", std::process::id()));
    std::fs::write(&file, "secret\n").expect("a file");
    let file_name = file.to_str().expect("UTF-8");
    let warns = |more: &[&str]| match parsed(&[&["--password-file", file_name], more].concat(), &[])
    {
        Ok(Command::Serve(options)) => !options.warnings.is_empty(),
        _ => panic!("no options"),
    };
    assert!(!warns(&[]));
    assert!(warns(&["--listen", "0.0.0.0:80"]));
    assert!(!warns(&[
        "--listen",
        "0.0.0.0:80",
        "--trusted-proxy",
        "10.0.0.1"
    ]));
    std::fs::write(&file, "\n").expect("a file");
    assert!(
        parsed(&["--password-file", file_name], &[]).is_err(),
        "an empty password"
    );
    std::fs::remove_file(file).expect("a file");
}
