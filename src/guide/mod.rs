//! How to use, run and read the server. The same pages are in `src/guide` of the repository.
//!
//! - [`http`]: the HTTP interface, for writing clients and bots.
//! - [`installing`]: static binaries, packages, containers.
//! - [`operating`]: options, proxies, systemd, logs, backup, memory.
//! - [`people`]: users whom a proxy or a program knows, and a session on another device.
//! - [`recipes`]: bots, mentions on the phone, an archive, pictures, a second chat.
//! - [`security`]: whom the server trusts with what, and the threats that its tests cover.
//! - [`servers`]: several servers that are one chat.
//! - [`figures`]: what has been measured, and by which command.
//! - [`tour`]: a tour of the code.
//! - [`changes`]: what is new in which version.

/// The pages as targets of links between them. In the repository, where the pages are read as they
/// are, the definitions at their ends lead to the files; here the first definition counts.
macro_rules! pages {
    () => {
        "[http]: crate::guide::http\n\
         [installing]: crate::guide::installing\n\
         [operating]: crate::guide::operating\n\
         [people]: crate::guide::people\n\
         [recipes]: crate::guide::recipes\n\
         [security]: crate::guide::security\n\
         [servers]: crate::guide::servers\n\
         [figures]: crate::guide::figures\n\
         [tour]: crate::guide::tour\n\n"
    };
}

#[doc = pages!()]
#[doc = include_str!("http.md")]
pub mod http {}

#[doc = pages!()]
#[doc = include_str!("installing.md")]
pub mod installing {}

#[doc = pages!()]
#[doc = "[unit]: #the-unit\n\n"]
#[doc = include_str!("operating.md")]
#[doc = concat!("\n## The unit\n\n```ini\n", include_str!("chatroom.service"), "```\n")]
pub mod operating {}

#[doc = pages!()]
#[doc = include_str!("people.md")]
pub mod people {}

#[doc = pages!()]
#[doc = include_str!("recipes.md")]
pub mod recipes {}

#[doc = pages!()]
#[doc = include_str!("security.md")]
pub mod security {}

#[doc = pages!()]
#[doc = include_str!("servers.md")]
pub mod servers {}

#[doc = pages!()]
#[doc = include_str!("figures.md")]
pub mod figures {}

#[doc = pages!()]
#[doc = include_str!("tour.md")]
pub mod tour {}

#[doc = pages!()]
#[doc = include_str!("changes.md")]
pub mod changes {}
