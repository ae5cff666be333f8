//! Who may come in: the checks in front of every route, in the order in which they are made: the
//! [`host`] that the request is for, its [`user`], the [`origin`] of its page, the [`password`].

mod host;
mod user;

mod origin;
mod password;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::limits::Limits;
use crate::author::Author;
use crate::options::Options;
pub(crate) use host::is_host;
pub(crate) use origin::parse_origin;
pub(super) use password::GivenPassword;

/// The guard.
pub(crate) struct Guard {
    options: Arc<Options>,
    limits: Arc<Limits>,
    refused_hosts: Mutex<HashSet<String>>,
    /// Authors with right passwords that they have given.
    proofs: Mutex<HashSet<(Author, GivenPassword)>>,
    /// Why requests named no user, as the log has told.
    told: Mutex<HashSet<&'static str>>,
}

impl Guard {
    pub(crate) fn new(options: Arc<Options>, limits: Arc<Limits>) -> Guard {
        Guard {
            options,
            limits,
            refused_hosts: Mutex::default(),
            proofs: Mutex::default(),
            told: Mutex::default(),
        }
    }
}
