//! The program: options → listener → serve → exit code.
//!
//! Exit codes: 0 after an orderly shutdown, 1 if the server cannot start or `--check` finds it
//! unhealthy, 2 for a bad option.

#![forbid(unsafe_code)]

use std::fs;
use std::future::poll_fn;
use std::io::{self, Write};
use std::iter;
use std::os::fd::AsFd;
use std::panic;
use std::process::{self, ExitCode};
use std::task::Poll;
use std::thread;

use chatroom::Chat;
use chatroom::cli::{self, Command, Program};
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Files for which the kernel makes room at the start, at most: half a megabyte of its memory.
const MOST_FILES: usize = 1 << 16;

fn main() -> ExitCode {
    let result = match cli::parse(std::env::args_os().skip(1), std::env::vars_os()) {
        Err(error) => {
            eprintln!("chatroom: {error}");
            return ExitCode::from(2);
        }
        Ok(Command::Print(text)) => io::stdout().write_all(text.as_bytes()),
        Ok(Command::Check(address)) => cli::check(address),
        Ok(Command::Serve(program)) => run(*program),
    };
    cli::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chatroom: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> io::Result<()> {
    make_room_for_files(program.chat.max_streams);
    program.warnings.iter().for_each(|line| cli::warn(line));
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let listen = program.listen;
        let listener = chatroom::bind(listen).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
        })?;
        let chat = Chat::open(program.chat)?;
        let stopped = first_signal()?;
        let address = listener.local_addr()?;
        writeln!(io::stdout(), "chatroom listening on http://{address}")?;
        // This thread accepts while the workers serve, so a crowd that reconnects is let in at once.
        chatroom::serve(listener, chat, async { drop(stopped.await) }).await;
        Ok(())
    });
    // The drain time is over, whatever still waits for a slow disk.
    runtime.shutdown_background();
    served
}

/// Has the kernel make its table of this process's files as large as so many streams need. Once there
/// are other threads, whoever opens the file with which the table doubles waits some 10 ms for all of them
/// (`synchronize_rcu`): a crowd that reconnects would find nobody who accepts.
fn make_room_for_files(streams: usize) {
    let input = io::stdin();
    let files = iter::repeat_with(|| input.as_fd().try_clone_to_owned());
    let opened = files.take(streams.min(MOST_FILES)).map_while(Result::ok);
    // All are closed at once. The table stays.
    drop(opened.collect::<Vec<_>>());
}

/// Starts the worker threads. Without enough threads tokio panics, and unwinding would wait for the
/// workers that did start.
fn runtime() -> io::Result<Runtime> {
    panic::set_hook(Box::new(|panic| {
        let cause = panic.payload().downcast_ref::<String>();
        let cause = cause.map_or("out of threads", String::as_str);
        eprintln!("chatroom: cannot start: {cause}");
        process::exit(1);
    }));
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    drop(panic::take_hook());
    runtime
}

/// Resolves at the first signal to stop; the second ends the program at once. They have a thread of
/// their own, so that nothing which serves can hold them up.
fn first_signal() -> io::Result<oneshot::Receiver<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _context = runtime.enter();
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        // Where nobody can tell, the signal is left as it is: one that nohup has switched off stays so.
        if hangup_is_ignored() == Some(false) {
            kinds.push(SignalKind::hangup());
        }
        let signals = kinds.into_iter().map(signal);
        signals.collect::<io::Result<Vec<Signal>>>()?
    };
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().spawn(move || {
        runtime.block_on(next(&mut signals));
        // It fails if the server has ended by itself.
        let _ = stop.send(());
        runtime.block_on(next(&mut signals));
        process::exit(1);
    })?;
    Ok(stopped)
}

async fn next(signals: &mut [Signal]) {
    poll_fn(
        |cx| match signals.iter_mut().any(|one| one.poll_recv(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        },
    )
    .await;
}

/// Whether the program was started to outlive its terminal, as nohup does it.
fn hangup_is_ignored() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    let ignored = u64::from_str_radix(mask.trim(), 16).ok()?;
    let hangup = 1 << (SignalKind::hangup().as_raw_value() - 1);
    Some(ignored & hangup != 0)
}
