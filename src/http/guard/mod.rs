//! Who may come in: the checks in front of every route, in the order in which they are made: the
//! [`host`] that the request is for, its [`user`], the [`origin`] of its page, the [`password`].

mod host;
mod user;

mod origin;
mod password;

use std::collections::HashSet;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, Once};

use super::limits::Limits;
use crate::options::Options;
pub(crate) use host::is_host;
pub(crate) use origin::parse_origin;
pub(super) use password::password_in;

/// The guard.
pub(crate) struct Guard {
    options: Arc<Options>,
    limits: Arc<Limits>,
    refused_hosts: Mutex<HashSet<String>>,
    /// Keyed hashes of authors with right passwords that they have given.
    proofs: Mutex<HashSet<u64>>,
    keyed: RandomState,
    /// Which of the causes of [`user::NO_USER`] the log has told.
    told: [Once; user::NO_USER.len()],
}

impl Guard {
    pub(crate) fn new(options: Arc<Options>, limits: Arc<Limits>) -> Guard {
        Guard {
            options,
            limits,
            refused_hosts: Mutex::default(),
            proofs: Mutex::default(),
            keyed: RandomState::new(),
            told: [const { Once::new() }; user::NO_USER.len()],
        }
    }
}
