//! The named scenarios: which audiences, messages and paces are compared.

use crate::options::Shape;
use crate::table::number;
use crate::{Fallible, marker};

/// Deliveries of one run where the flags do not say how many messages: a second or two
/// of the server's CPU time, against which the 10 ms steps of the kernel's account are small.
const DELIVERIES: usize = 300_000;
const QUICK_DELIVERIES: usize = 120_000;
/// Under strace, which makes each system call some fifty times as long.
const TRACED_DELIVERIES: usize = 50_000;
/// Where few messages make all the deliveries, their number still has to make a median.
const LEAST_MESSAGES: usize = 20;
/// Length of an open-loop run.
const RATE_SECONDS: f64 = 3.0;
/// Connections that post where the pace does not wait for deliveries: a message that is
/// due must not wait for the answer to the one before.
const OPEN_LOOP_POSTERS: usize = 8;
const DEFAULT_CLIENTS: usize = 1_000;
const DEFAULT_SIZE: usize = 100;
/// Open files that a process needs beside its streams.
const SPARE_FILES: usize = 60;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// So many messages are on their way at most: the next is posted when one was delivered.
    InFlight(usize),
    /// So many messages a second, whether or not the server keeps up.
    Rate(f64),
}

/// One line of a comparison.
#[derive(Clone)]
pub(crate) struct Case {
    /// What is special about it in its table.
    pub(crate) label: String,
    pub(crate) clients: usize,
    pub(crate) messages: usize,
    /// Bytes of a message's text.
    pub(crate) size: usize,
    pub(crate) pace: Pace,
    pub(crate) rooms: usize,
    /// Connections that post.
    pub(crate) posters: usize,
}

impl Case {
    /// Whether messages come to the server in the order in which they are numbered.
    pub(crate) fn is_ordered(&self) -> bool {
        self.posters == 1
    }

    /// An error where the case cannot be run at all.
    pub(crate) fn checked(self) -> Fallible<Self> {
        if self.size < marker::LENGTH {
            return Err(format!("--size has to be at least {}", marker::LENGTH).into());
        }
        if self.rooms > self.clients || self.rooms == 0 {
            return Err("--rooms has to be at least 1 and at most --clients".into());
        }
        Ok(self)
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scenario {
    Quick,
    Steady,
    InFlight,
    Clients,
    Rooms,
    Sizes,
    Rates,
    Storm,
    Stalled,
    Syscalls,
}

impl Scenario {
    pub(crate) const ALL: [(&str, Self); 10] = [
        ("quick", Self::Quick),
        ("steady", Self::Steady),
        ("in-flight", Self::InFlight),
        ("clients", Self::Clients),
        ("rooms", Self::Rooms),
        ("sizes", Self::Sizes),
        ("rates", Self::Rates),
        ("storm", Self::Storm),
        ("stalled", Self::Stalled),
        ("syscalls", Self::Syscalls),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, scenario)| *scenario == self)
            .map_or("", |(name, _)| name)
    }

    /// Rounds where the flags do not say: the shorter ones are repeated more.
    pub(crate) fn rounds(self) -> usize {
        match self {
            Self::Steady => 9,
            Self::Quick | Self::InFlight => 5,
            Self::Syscalls => 1,
            _ => 3,
        }
    }

    /// The case of a scenario that has but one, and one room.
    pub(crate) fn only_case(self, flags: &Shape) -> Fallible<Case> {
        let first = self.cases(flags).into_iter().next();
        let case = first.ok_or("the scenario has no case")?.checked()?;
        if case.rooms > 1 {
            return Err(format!("the scenario {} has one room", self.name()).into());
        }
        Ok(case)
    }

    /// The cases, with what the flags set in place of the scenario's own.
    pub(crate) fn cases(self, flags: &Shape) -> Vec<Case> {
        let base = Draft::default();
        let in_flight = |messages| Draft {
            pace: Pace::InFlight(messages),
            ..base
        };
        let drafts = match self {
            Self::Quick if flags.is_given() => vec![base],
            Self::Quick => vec![base, in_flight(16)],
            Self::Steady => vec![base],
            Self::InFlight => {
                let mut drafts = [1, 4, 16, 64].map(in_flight).to_vec();
                drafts.push(Draft {
                    posters: Some(16),
                    ..in_flight(16)
                });
                drafts
            }
            Self::Clients => [100, 1_000, 5_000, 15_000]
                .map(|clients| Draft { clients, ..base })
                .to_vec(),
            Self::Rooms => [1, 10, 250].map(|rooms| Draft { rooms, ..base }).to_vec(),
            Self::Sizes => [100, 4_096].map(|size| Draft { size, ..base }).to_vec(),
            Self::Rates => [10.0, 50.0, 100.0, 150.0, 200.0, 400.0]
                .map(|rate| Draft {
                    pace: Pace::Rate(rate),
                    ..base
                })
                .to_vec(),
            Self::Storm => vec![Draft {
                clients: 15_000,
                pace: Pace::Rate(4.0),
                // So that each client can tell whether it missed one.
                posters: Some(1),
                ..base
            }],
            // Messages large enough to fill the buffers of a client that does not read.
            Self::Stalled => vec![Draft {
                size: 4_096,
                deliveries: 1_000_000,
                ..base
            }],
            Self::Syscalls => [1, 16]
                .map(|messages| Draft {
                    deliveries: TRACED_DELIVERIES,
                    ..in_flight(messages)
                })
                .to_vec(),
        };
        let quick = self == Self::Quick && !flags.is_given();
        let deliveries = |own: usize| if quick { QUICK_DELIVERIES } else { own };
        let finish = |draft: Draft| {
            Draft {
                deliveries: deliveries(draft.deliveries),
                ..draft
            }
            .case(flags)
        };
        drafts.into_iter().map(finish).collect()
    }
}

/// A case before its number of messages is known.
#[derive(Clone, Copy)]
struct Draft {
    clients: usize,
    size: usize,
    pace: Pace,
    rooms: usize,
    posters: Option<usize>,
    deliveries: usize,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            clients: DEFAULT_CLIENTS,
            size: DEFAULT_SIZE,
            pace: Pace::InFlight(1),
            rooms: 1,
            posters: None,
            deliveries: DELIVERIES,
        }
    }
}

impl Draft {
    fn case(self, flags: &Shape) -> Case {
        let wanted = flags.clients.unwrap_or(self.clients);
        let limit = crate::system::open_file_limit().unwrap_or(usize::MAX);
        let clients = wanted.min(limit.saturating_sub(SPARE_FILES));
        let rooms = flags.rooms.unwrap_or(self.rooms);
        let pace = flags.pace.unwrap_or(self.pace);
        let size = flags.size.unwrap_or(self.size);
        let posters = flags.posters.or(self.posters).unwrap_or(match pace {
            Pace::InFlight(_) => 1,
            Pace::Rate(_) => OPEN_LOOP_POSTERS,
        });
        let messages = flags.messages.unwrap_or_else(|| match pace {
            Pace::InFlight(_) => (self.deliveries * rooms / clients.max(1)).max(LEAST_MESSAGES),
            Pace::Rate(rate) => (rate * RATE_SECONDS).ceil() as usize,
        });
        let reduced = if clients < wanted {
            " (all that the limit of open files admits)"
        } else {
            ""
        };
        let rooms_label = if rooms > 1 {
            format!(", {rooms} rooms")
        } else {
            String::new()
        };
        let posters_label = match flags.posters.or(self.posters) {
            Some(posters) if posters > 1 => format!(", {posters} posters"),
            _ => String::new(),
        };
        let pace_label = match pace {
            Pace::InFlight(1) => "one at a time".to_owned(),
            Pace::InFlight(window) => format!("{window} in flight"),
            Pace::Rate(rate) => format!("{rate} a second"),
        };
        let label = format!(
            "{} clients{reduced}{rooms_label}, {} × {} B, {pace_label}{posters_label}",
            number(Some(clients as f64), 0),
            number(Some(messages as f64), 0),
            number(Some(size as f64), 0)
        );
        Case {
            label,
            clients,
            messages,
            size,
            pace,
            rooms,
            posters,
        }
    }
}
