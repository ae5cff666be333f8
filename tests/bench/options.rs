//! The command line.

use crate::Fallible;
use crate::scenario::{Draft, Pace, SCENARIOS, Scenario};
use crate::server::{self, Peer};
use std::str::FromStr;

pub(crate) const HELP: &str = "\
Measures the chatroom server beside a floor, a server that makes one write per client and
message and does nothing else. Both run in turn, for several rounds: on a shared machine only
the ratio between the two means something. The output is Markdown tables.

Usage: cargo bench -- [OPTIONS]

What to measure:
  --scenario NAME    one of the following                              [default: quick]
      quick          one message at a time and 16 in flight; under a minute
      steady         one message at a time, more rounds
      in-flight      1, 4, 16 and 64 messages in flight; 16 from 16 posters
      clients        100, 1,000, 5,000 and 15,000 clients
      rooms          1, 10 and 250 rooms with the same number of deliveries
      sizes          100 B and 4 KiB messages
      rates          open loop: 10 to 400 messages a second, whether or not the server keeps up
      memory         what a client holds in memory, by how it came and what it follows
      idle           CPU time of open streams in which nothing is said
      storm          15,000 clients come back at once after a restart, each with a backlog
      stalled        one client that never reads among 1,000
      syscalls       system calls per delivery, counted by strace
      servers        several servers that share a Redis; needs cargo bench --features redis
      instructions   instructions per join, post and delivery, counted by valgrind
      all            all of these but quick and servers; some twenty minutes
  --rounds N         how often each server is measured; the tables show medians

Instead of the scenario's own clients and messages:
  --clients N        open streams
  --messages N       messages per run
  --size BYTES       bytes of a message's text
  --in-flight N      messages that may be in flight at once
  --rate N           messages a second instead, open loop
  --posters N        connections that post, each one message at a time [default: 1; 8 with --rate]
  --rooms N          rooms among which clients and messages are spread
  --rooms-per-client N  rooms that each client follows on its one stream
  --members          every client joins under a name of its own
  --browser-like     every client first fetches the page and a full history on its connection

The servers:
  --data             chatroom keeps a journal, in a temporary folder
  --all-cores        servers may run on all cores, where the load has one of them
  --server-flags S   more flags for chatroom, separated by blanks
  --binary FILE      measure this chatroom executable instead of the one that cargo build makes
  --against PEER     measure another server too; repeatable. It is one of
      nchan          nginx with that module (libnginx-mod-nchan)
      FILE           another chatroom executable
      'URL COMMAND'  a server that the command starts: GET and POST on URL/chat
      URL            one that is running already
  --pid PID          a process of a server that is running already, for its CPU time and memory;
                     repeatable
  --help             this text

Latency is the time from the posting of a message (with --rate: from when it was due) until a
client has read it. Memory per client is the growth of the server's resident memory per stream.
";

/// A flag that counts before this program starts again, pinned to its core.
pub(crate) const ALL_CORES: &str = "--all-cores";

/// Changes a scenario's case to what a flag says.
type Override = Box<dyn Fn(&mut Draft)>;

pub(crate) struct Options {
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) rounds: Option<usize>,
    pub(crate) overrides: Vec<Override>,
    pub(crate) peers: Vec<Peer>,
}

/// The options, or none if help was asked for.
pub(crate) fn parse(arguments: &[String]) -> Fallible<Option<Options>> {
    let mut scenarios = named("quick")?;
    let mut rounds = None;
    let mut overrides: Vec<Override> = Vec::new();
    let (mut binary, mut journal, mut flags) = (None, false, Vec::new());
    let (mut against, mut pids) = (Vec::new(), Vec::new());
    let mut words = arguments.iter();
    while let Some(flag) = words.next() {
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| format!("{flag} needs a value"))
        };
        let mut number = || positive::<usize>(flag, value()?);
        let change: Override = match flag.as_str() {
            "--clients" => with(number()?, |draft, n| draft.clients = n),
            "--messages" => with(number()?, |draft, n| draft.messages = Some(n)),
            "--size" => with(number()?, |draft, n| draft.size = n),
            "--in-flight" => with(number()?, |draft, n| draft.pace = Pace::InFlight(n)),
            "--rate" => with(number()?, |draft, n| draft.pace = Pace::Rate(n)),
            "--posters" => with(number()?, |draft, n| draft.posters = Some(n)),
            "--rooms" => with(number()?, |draft, n| draft.rooms = n),
            "--rooms-per-client" => with(number()?, |draft, n| draft.rooms_per_client = n),
            "--members" => with(0, |draft, _| draft.named = true),
            "--browser-like" => with(0, |draft, _| draft.browser_like = true),
            other => {
                match other {
                    // Cargo adds it.
                    "--bench" => {}
                    "--help" | "-h" => return Ok(None),
                    "--scenario" => scenarios = named(value()?)?,
                    "--rounds" => rounds = Some(number()?),
                    "--data" => journal = true,
                    "--server-flags" => {
                        flags.extend(value()?.split_ascii_whitespace().map(str::to_owned));
                    }
                    "--binary" => binary = Some(value()?.to_owned()),
                    ALL_CORES => {}
                    "--against" => against.push(value()?),
                    "--pid" => pids.push(positive(flag, value()?)?),
                    _ => return Err(format!("unknown option {flag}; see --help").into()),
                }
                continue;
            }
        };
        overrides.push(change);
    }
    let chatroom = Peer::Chatroom {
        label: "chatroom".to_owned(),
        binary: binary.map_or_else(server::build, Ok)?,
        flags,
        journal,
    };
    let mut peers = vec![Peer::Floor, chatroom];
    for peer in against {
        peers.push(Peer::parse(peer, &pids)?);
    }
    Ok(Some(Options {
        scenarios,
        rounds,
        overrides,
        peers,
    }))
}

fn with(number: usize, change: fn(&mut Draft, usize)) -> Override {
    Box::new(move |draft| change(draft, number))
}

fn named(name: &str) -> Fallible<Vec<&'static Scenario>> {
    let is_wanted = |scenario: &&Scenario| match name {
        "all" => !matches!(scenario.name, "quick" | "servers"),
        _ => scenario.name == name,
    };
    let found: Vec<_> = SCENARIOS.iter().filter(is_wanted).collect();
    if found.is_empty() {
        return Err(format!("unknown scenario {name}; see --help").into());
    }
    Ok(found)
}

fn positive<T: FromStr + Default + PartialOrd>(flag: &str, value: &str) -> Fallible<T> {
    let number = value.parse().ok().filter(|number| *number > T::default());
    number.ok_or_else(|| format!("{flag} has to be a positive number, not {value}").into())
}
