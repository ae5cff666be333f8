//! Members and listeners at other servers of the same chat.

use super::{Author, Claim, FoldedName, Member, MemberName, Members};

impl Members {
    /// A member joined at another server. Returns who had the name so far, and has lost it.
    pub(in super::super) fn joined_elsewhere(
        &mut self,
        name: &MemberName,
        author: Author,
    ) -> Option<Author> {
        let folded = name.folded();
        self.joins += 1;
        let owner = self.by_name.get(folded).map(|member| member.author);
        let loser = owner.filter(|owner| *owner != author);
        if loser.is_some() {
            self.remove(folded);
        }
        self.get_or_insert(name, author).elsewhere += 1;
        self.give_up_old_names(author, folded);
        loser
    }

    /// A member left another server.
    pub(in super::super) fn left_elsewhere(&mut self, folded: &FoldedName, author: Author) {
        let member = self.by_name.get_mut(folded);
        let Some(member) = member.filter(|member| member.author == author) else {
            return;
        };
        member.elsewhere = member.elsewhere.saturating_sub(1);
        if member.elsewhere == 0 && !member.is_here() {
            self.remove(folded);
        }
    }

    /// Another server had so many listeners, and has so many now.
    pub(in super::super) fn listen_elsewhere(&mut self, before: usize, now: usize) {
        self.counts_changed |= before != now;
        self.listeners_elsewhere = (self.listeners_elsewhere + now).saturating_sub(before);
    }

    /// The listeners at this server.
    pub(in super::super) fn listeners_here(&self) -> usize {
        self.listeners
    }

    /// The members of this server.
    pub(in super::super) fn here(&self) -> impl Iterator<Item = (&MemberName, Author)> {
        let here = self.by_name.values().filter(|member| member.is_here());
        here.map(|member| (&member.name, member.author))
    }

    /// Whether this server has the name for its author, spelt so.
    pub(in super::super) fn has_here(&self, claim: &Claim) -> bool {
        let here = self.by_name.get(claim.name.folded());
        let here = here.filter(|member| member.is_here());
        here.is_some_and(|member| (&member.name, member.author) == (&claim.name, claim.author))
    }
}

impl Member {
    /// Whether this server has the name, rather than only others.
    fn is_here(&self) -> bool {
        self.streams > 0 || self.free_at.is_some()
    }
}
