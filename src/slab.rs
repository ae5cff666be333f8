//! A table whose entries keep their place: an entry costs it no more than itself, and iterating over
//! all of them reads memory in order.

/// Entries by place. A vacant place is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Adds an entry and says where it is.
    pub(crate) fn insert(&mut self, entry: T) -> usize {
        let place = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(place) {
            Some(vacant) => *vacant = Some(entry),
            None => self.places.push(Some(entry)),
        }
        place
    }

    /// Removes an entry. When none is left, the memory of all places is freed.
    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let removed = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        if self.is_empty() {
            *self = Slab::default();
        }
        Some(removed)
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_forgotten() {
        let mut slab = Slab::default();
        let places: Vec<usize> = (0..3).map(|n| slab.insert(n)).collect();
        slab.remove(places[1]);
        slab.remove(places[1]);
        assert_eq!(
            (slab.len(), slab.iter().copied().collect::<Vec<_>>()),
            (2, vec![0, 2])
        );
        assert_eq!(slab.insert(9), places[1]);
        assert_eq!(slab.get_mut(places[1]), Some(&mut 9));
        for place in places {
            slab.remove(place);
        }
        assert!(slab.is_empty() && slab.places.capacity() == 0);
    }
}
