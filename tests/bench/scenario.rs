//! The scenarios: which clients, messages and paces are compared.

use crate::options::Options;
#[cfg(feature = "redis")]
use crate::servers;
use crate::table::{Table, number};
use crate::{Bench, Fallible, common, instructions, listener, measure, stalled, storm, syscalls};

/// Deliveries in a run without `--messages`: one or two seconds of the server's CPU time, against
/// which the kernel's steps of 10 ms are small.
const DELIVERIES: usize = 300_000;
/// The least number of messages in a run, so that there is a median even if few messages make all
/// the deliveries.
const LEAST_MESSAGES: usize = 20;
/// Length of an open-loop run, in seconds.
const RATE_SECONDS: usize = 3;
/// Posting connections in an open loop, in which a message that is due must not wait for the
/// response to the one before.
const OPEN_LOOP_POSTERS: usize = 8;
/// Files that a process opens besides its streams.
const SPARE_FILES: usize = 60;
/// The most rooms that one stream can have.
const ROOMS_PER_STREAM: usize = 32;

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many messages are in flight at most: the next is posted once one was delivered to all.
    InFlight(usize),
    /// So many messages a second, whether or not the server keeps up.
    Rate(usize),
}

/// A named set of cases, and how they are measured.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// How often each case is measured without `--rounds`.
    pub(crate) rounds: usize,
    pub(crate) compare: fn(&Bench, &Scenario) -> Fallible<Table>,
    drafts: &'static [Draft],
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("quick", 5, measure::compare, &[QUICK, in_flight(16, QUICK)]),
    scenario("steady", 9, measure::compare, &[BASE]),
    scenario("in-flight", 5, measure::compare, &IN_FLIGHT),
    scenario("clients", 3, measure::compare, &CLIENTS),
    scenario("rooms", 3, measure::compare, &[BASE, rooms(10), rooms(250)]),
    scenario("sizes", 3, measure::compare, &[BASE, LONG]),
    scenario("rates", 3, measure::compare, &RATES),
    scenario("memory", 1, measure::compare, &MEMORY),
    scenario(
        "idle",
        3,
        measure::compare_idle,
        &[idle(1_000), idle(15_000)],
    ),
    scenario("storm", 3, storm::compare, &[STORM]),
    scenario("stalled", 3, stalled::compare, &[STALLED]),
    scenario(
        "syscalls",
        1,
        syscalls::compare,
        &[TRACED, in_flight(16, TRACED)],
    ),
    scenario("instructions", 1, instructions::compare, &[COUNTED]),
    #[cfg(feature = "redis")]
    scenario(
        "servers",
        3,
        servers::compare,
        &[SHARED, in_flight(64, SHARED)],
    ),
];

const fn scenario(
    name: &'static str,
    rounds: usize,
    compare: fn(&Bench, &Scenario) -> Fallible<Table>,
    drafts: &'static [Draft],
) -> Scenario {
    Scenario {
        name,
        rounds,
        compare,
        drafts,
    }
}

impl Scenario {
    /// The cases with the flags applied. Those that become the same are one.
    pub(crate) fn cases(&self, options: &Options) -> Fallible<Vec<Case>> {
        let mut cases = Vec::new();
        for draft in self.drafts {
            let mut draft = *draft;
            for change in &options.overrides {
                change(&mut draft);
            }
            cases.push(draft.case()?);
        }
        cases.dedup_by(|one, other| one.label == other.label);
        Ok(cases)
    }
}

/// A case before the number of its messages is known.
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    pub(crate) clients: usize,
    pub(crate) messages: Option<usize>,
    pub(crate) size: usize,
    pub(crate) pace: Pace,
    pub(crate) posters: Option<usize>,
    pub(crate) rooms: usize,
    pub(crate) rooms_per_client: usize,
    pub(crate) named: bool,
    pub(crate) browser_like: bool,
    /// How many deliveries the messages make in all, if their number is not given.
    deliveries: usize,
}

const BASE: Draft = Draft {
    clients: 1_000,
    messages: None,
    size: 100,
    pace: Pace::InFlight(1),
    posters: None,
    rooms: 1,
    rooms_per_client: 1,
    named: false,
    browser_like: false,
    deliveries: DELIVERIES,
};

const QUICK: Draft = Draft {
    deliveries: 120_000,
    ..BASE
};

const LONG: Draft = Draft {
    size: 4_096,
    ..BASE
};

/// Fewer deliveries, since strace makes a system call some fifty times slower.
const TRACED: Draft = Draft {
    deliveries: 50_000,
    ..BASE
};

/// Still fewer, since valgrind interprets every instruction.
const COUNTED: Draft = Draft {
    messages: Some(200),
    ..clients(100)
};

/// A few deliveries, so that every part of a client has been used.
const FEW: Draft = Draft {
    messages: Some(20),
    ..clients(15_000)
};

const MEMORY: [Draft; 5] = [
    FEW,
    Draft {
        browser_like: true,
        ..FEW
    },
    Draft { named: true, ..FEW },
    Draft {
        rooms_per_client: 5,
        ..FEW
    },
    Draft {
        named: true,
        browser_like: true,
        rooms_per_client: 5,
        ..FEW
    },
];

/// Enough long messages to fill the buffers of a client that does not read.
const STALLED: Draft = Draft {
    deliveries: 1_000_000,
    ..LONG
};

/// One poster keeps the messages in order, so that a client can tell whether it missed one.
const STORM: Draft = Draft {
    posters: Some(1),
    pace: Pace::Rate(4),
    ..clients(15_000)
};

#[cfg(feature = "redis")]
const SHARED: Draft = Draft {
    messages: Some(1_000),
    posters: Some(64),
    pace: Pace::Rate(100),
    ..clients(100)
};

const IN_FLIGHT: [Draft; 5] = [
    BASE,
    in_flight(4, BASE),
    in_flight(16, BASE),
    in_flight(64, BASE),
    Draft {
        posters: Some(16),
        ..in_flight(16, BASE)
    },
];

const CLIENTS: [Draft; 4] = [
    clients(100),
    clients(1_000),
    clients(5_000),
    clients(15_000),
];

const RATES: [Draft; 6] = [
    rate(10),
    rate(50),
    rate(100),
    rate(150),
    rate(200),
    rate(400),
];

const fn in_flight(messages: usize, draft: Draft) -> Draft {
    Draft {
        pace: Pace::InFlight(messages),
        ..draft
    }
}

const fn clients(clients: usize) -> Draft {
    Draft { clients, ..BASE }
}

const fn idle(count: usize) -> Draft {
    Draft {
        messages: Some(0),
        ..clients(count)
    }
}

const fn rooms(rooms: usize) -> Draft {
    Draft { rooms, ..BASE }
}

const fn rate(rate: usize) -> Draft {
    Draft {
        pace: Pace::Rate(rate),
        ..BASE
    }
}

/// One line of a comparison.
pub(crate) struct Case {
    pub(crate) label: String,
    pub(crate) clients: usize,
    pub(crate) messages: usize,
    /// Bytes of a message's text.
    pub(crate) size: usize,
    pub(crate) pace: Pace,
    /// Connections that post.
    pub(crate) posters: usize,
    pub(crate) rooms: usize,
    pub(crate) rooms_per_client: usize,
    /// Whether every client joins under a name of its own.
    pub(crate) named: bool,
    /// Whether every client fetches the page and a full history before its stream.
    pub(crate) browser_like: bool,
}

impl Case {
    /// Whether messages reach the server in the order of their numbers.
    pub(crate) fn is_ordered(&self) -> bool {
        self.posters == 1
    }

    /// Whether the client of that index is in the room to which that message goes.
    pub(crate) fn gets(&self, client: usize, message: usize) -> bool {
        (message + self.rooms - client % self.rooms) % self.rooms < self.rooms_per_client
    }

    /// How many clients are in a room.
    pub(crate) fn audience(&self, room: usize) -> usize {
        let spread = (0..self.rooms).filter(|client| self.gets(*client, room));
        spread
            .map(|client| self.clients.saturating_sub(client).div_ceil(self.rooms))
            .sum()
    }
}

impl Draft {
    fn case(self) -> Fallible<Case> {
        let rooms = self.rooms.max(self.rooms_per_client);
        if self.size < listener::MARKER_LENGTH {
            return Err(format!("--size has to be at least {}", listener::MARKER_LENGTH).into());
        }
        if rooms > self.clients || self.rooms_per_client > ROOMS_PER_STREAM {
            return Err(format!(
                "there are at most as many rooms as clients, and {ROOMS_PER_STREAM} per client"
            )
            .into());
        }
        let admitted = common::proc::open_files_limit().saturating_sub(SPARE_FILES);
        let clients = self.clients.min(admitted);
        let messages = self.messages.unwrap_or(match self.pace {
            Pace::InFlight(_) => {
                let deliveries = self.deliveries * rooms / self.rooms_per_client;
                (deliveries / clients).max(LEAST_MESSAGES)
            }
            Pace::Rate(rate) => rate * RATE_SECONDS,
        });
        let posters = self.posters.unwrap_or(match self.pace {
            Pace::InFlight(_) => 1,
            Pace::Rate(_) => OPEN_LOOP_POSTERS,
        });
        Ok(Case {
            label: self.label(clients, rooms, messages),
            clients,
            messages,
            size: self.size,
            pace: self.pace,
            posters,
            rooms,
            rooms_per_client: self.rooms_per_client,
            named: self.named,
            browser_like: self.browser_like,
        })
    }

    fn label(self, clients: usize, rooms: usize, messages: usize) -> String {
        let count = |count: usize| number(Some(count as f64), 0);
        let mut label = format!("{} clients", count(clients));
        if clients < self.clients {
            label += " (all that the limit of open files admits)";
        }
        if self.named {
            label += " with names";
        }
        if self.browser_like {
            label += " like browsers";
        }
        if rooms > 1 {
            label += &format!(", {rooms} rooms");
        }
        if self.rooms_per_client > 1 {
            label += &format!(", {} each", self.rooms_per_client);
        }
        if messages == 0 {
            return label;
        }
        label += &format!(", {} × {} B, ", count(messages), count(self.size));
        label += &match self.pace {
            Pace::InFlight(1) => "one at a time".to_owned(),
            Pace::InFlight(window) => format!("{window} in flight"),
            Pace::Rate(rate) => format!("{rate} a second"),
        };
        if let Some(posters @ 2..) = self.posters {
            label += &format!(", {posters} posters");
        }
        label
    }
}
