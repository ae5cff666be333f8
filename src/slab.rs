//! A table that gives each entry a key: an entry costs it no more than itself, and iterating over all of
//! them reads memory in order.

/// Entries by key, which is an index. That of a removed entry is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Adds an entry and returns its key.
    pub(crate) fn insert(&mut self, entry: T) -> usize {
        let key = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(key) {
            Some(vacant) => *vacant = Some(entry),
            None => self.slots.push(Some(entry)),
        }
        key
    }

    /// Removes an entry. When none is left, all memory is freed.
    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        let removed = self.slots.get_mut(key)?.take()?;
        self.free.push(key);
        if self.is_empty() {
            *self = Slab::default();
        }
        Some(removed)
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.slots.get_mut(key)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_again_and_forgotten() {
        let mut slab = Slab::default();
        let keys: Vec<usize> = (0..3).map(|n| slab.insert(n)).collect();
        slab.remove(keys[1]);
        slab.remove(keys[1]);
        assert_eq!(
            (slab.len(), slab.iter().copied().collect::<Vec<_>>()),
            (2, vec![0, 2])
        );
        assert_eq!(slab.insert(9), keys[1]);
        assert_eq!(slab.get_mut(keys[1]), Some(&mut 9));
        for key in keys {
            slab.remove(key);
        }
        assert!(slab.is_empty() && slab.slots.capacity() == 0);
    }
}
