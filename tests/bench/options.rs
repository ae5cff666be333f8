//! The command line.

use crate::Fallible;
use crate::scenario::{Pace, Scenario};
use crate::server::{Peer, Target};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub(crate) const HELP: &str = "\
Measures the chatroom server beside a floor, a server that does one write per client and
message and nothing else. Both run in turn, several rounds, in the same minutes: on a shared
machine only the ratio of the two means something. What comes out is Markdown tables.

Usage: cargo bench -- [OPTIONS]

What to measure:
  --scenario NAME    one of the following                              [default: quick]
      quick          one message at a time and 16 in flight; under a minute
      steady         one message at a time, more rounds
      in-flight      1, 4, 16 and 64 messages on their way at once; 16 from 16 posters
      clients        100, 1,000, 5,000 and 15,000 clients
      rooms          1, 10 and 250 rooms with the same number of deliveries
      sizes          100 B and 4 KiB messages
      rates          open loop: 10 to 400 messages a second, whether or not they are kept up with
      storm          15,000 clients come back at once after a restart, with a backlog each
      stalled        one client that never reads among 1,000
      syscalls       system calls per delivery, counted by strace
      all            all of these but quick; some twenty minutes
  --rounds N         how often each server is measured; medians are given

The audience and its messages, in place of the scenario's own:
  --clients N        open streams
  --messages N       messages posted in a run
  --size BYTES       bytes of a message's text
  --in-flight N      messages that may be on their way at once
  --rate N           messages a second instead, open loop
  --posters N        connections that post, each one message at a time [default: 1; 8 with --rate]
  --rooms N          rooms over which clients and messages are spread
  --members          every client takes part under a name of its own

The servers:
  --data             chatroom keeps a journal, in a temporary folder
  --server-flags S   further flags for chatroom, separated by blanks
  --binary FILE      measure this chatroom executable, not the one just built
  --against URL      measure also a server that runs already: GET and POST on URL/chat
  --pid PID          a process of that server, for its CPU time and memory; repeatable
  --help             this text

Latency is from a message's posting (with --rate: from when it was due) to a client's having
read it. Memory per client is what the server's resident memory grew by for each open stream.
";

pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: Option<usize>,
    pub(crate) shape: Shape,
    pub(crate) named: bool,
    pub(crate) peers: Vec<Peer>,
}

/// What the flags say about audience and messages.
#[derive(Default)]
pub(crate) struct Shape {
    pub(crate) clients: Option<usize>,
    pub(crate) messages: Option<usize>,
    pub(crate) size: Option<usize>,
    pub(crate) pace: Option<Pace>,
    pub(crate) rooms: Option<usize>,
    pub(crate) posters: Option<usize>,
}

impl Shape {
    pub(crate) fn is_given(&self) -> bool {
        let counts = [
            self.clients,
            self.messages,
            self.size,
            self.rooms,
            self.posters,
        ];
        counts.iter().any(Option::is_some) || self.pace.is_some()
    }
}

/// The options, or none where help was asked for.
pub(crate) fn parse(arguments: Vec<String>) -> Fallible<Option<Options>> {
    let mut scenarios = vec![Scenario::Quick];
    let mut shape = Shape::default();
    let (mut rounds, mut named, mut journal) = (None, false, false);
    let (mut flags, mut against, mut pids) = (Vec::new(), None, Vec::new());
    let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_chatroom"));
    let mut words = Words::new(arguments);
    while let Some(flag) = words.next_flag() {
        match flag.as_str() {
            // Cargo adds this one by itself.
            "--bench" => {}
            "--help" | "-h" => return Ok(None),
            "--scenario" => scenarios = named_scenarios(&words.value()?)?,
            "--rounds" => rounds = Some(words.positive()?),
            "--clients" => shape.clients = Some(words.positive()?),
            "--messages" => shape.messages = Some(words.positive()?),
            "--size" => shape.size = Some(words.positive()?),
            "--in-flight" => shape.pace = Some(Pace::InFlight(words.positive()?)),
            "--rate" => shape.pace = Some(Pace::Rate(words.rate()?)),
            "--rooms" => shape.rooms = Some(words.positive()?),
            "--posters" => shape.posters = Some(words.positive()?),
            "--members" => named = true,
            "--data" => journal = true,
            "--server-flags" => {
                flags.extend(words.value()?.split_ascii_whitespace().map(str::to_owned));
            }
            "--binary" => binary = words.value()?.into(),
            "--against" => against = Some(Arc::new(Target::parse(&words.value()?)?)),
            "--pid" => pids.push(words.parsed()?),
            _ => return Err(format!("there is no option {flag}; --help lists them all").into()),
        }
        words.end_of_flag()?;
    }
    let mut peers = vec![
        Peer::Floor,
        Peer::Chatroom {
            binary,
            flags,
            journal,
        },
    ];
    peers.extend(against.map(|target| Peer::Other { target, pids }));
    Ok(Some(Options {
        scenarios,
        rounds,
        shape,
        named,
        peers,
    }))
}

fn named_scenarios(name: &str) -> Fallible<Vec<Scenario>> {
    let all = Scenario::ALL.iter().map(|(_, scenario)| *scenario);
    if name == "all" {
        return Ok(all
            .filter(|scenario| *scenario != Scenario::Quick)
            .collect());
    }
    let found = all
        .filter(|scenario| scenario.name() == name)
        .collect::<Vec<_>>();
    if found.is_empty() {
        return Err(format!("there is no scenario {name}; --help lists them all").into());
    }
    Ok(found)
}

/// The words of the command line: `--flag value` as well as `--flag=value`.
struct Words {
    rest: std::vec::IntoIter<String>,
    flag: String,
    inline: Option<String>,
}

impl Words {
    fn new(arguments: Vec<String>) -> Self {
        Self {
            rest: arguments.into_iter(),
            flag: String::new(),
            inline: None,
        }
    }

    fn next_flag(&mut self) -> Option<String> {
        let word = self.rest.next()?;
        (self.flag, self.inline) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        Some(self.flag.clone())
    }

    /// An error where a value was given to a flag that takes none.
    fn end_of_flag(&mut self) -> Fallible<()> {
        match self.inline.take() {
            Some(_) => Err(format!("{} takes no value", self.flag).into()),
            None => Ok(()),
        }
    }

    fn value(&mut self) -> Fallible<String> {
        let value = self.inline.take().or_else(|| self.rest.next());
        value.ok_or_else(|| format!("{} needs a value", self.flag).into())
    }

    fn parsed<T: FromStr>(&mut self) -> Fallible<T> {
        let value = self.value()?;
        value
            .parse()
            .map_err(|_| format!("{} cannot be {value}", self.flag).into())
    }

    fn positive(&mut self) -> Fallible<usize> {
        match self.parsed()? {
            0 => Err(format!("{} has to be at least 1", self.flag).into()),
            number => Ok(number),
        }
    }

    fn rate(&mut self) -> Fallible<f64> {
        let rate: f64 = self.parsed()?;
        if rate.is_finite() && rate > 0.0 {
            return Ok(rate);
        }
        Err(format!("{} has to be more than 0", self.flag).into())
    }
}
