//! A map whose code is small: `BTreeMap`'s is some kilobytes for each type that it is used with, which every Durable Object has to load.

use std::fmt;

/// A map in the order of its keys. Finding takes logarithmic time; inserting and removing move what comes after, sixteen bytes an entry.
pub struct SortedMap<K, V>(Vec<(K, Box<V>)>);

impl<K: Ord, V> SortedMap<K, V> {
    /// An empty one.
    pub const fn new() -> Self {
        SortedMap(Vec::new())
    }

    /// How many it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        Some(&self.0[at].1)
    }

    /// The value at a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        Some(&mut self.0[at].1)
    }

    /// Puts a value at a key. Returns the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut *self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, Box::new(value)));
                None
            }
        }
    }

    /// The value at a key, which is made if there is none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = self.find(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, Box::default()));
            at
        });
        &mut self.0[at].1
    }

    /// Takes away the value at a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(*self.0.remove(at).1)
    }

    /// Takes the first one away.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.0.is_empty() {
            return None;
        }
        let (key, value) = self.0.remove(0);
        Some((key, *value))
    }

    /// Keeps those alone for which this holds.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|(key, value)| is_kept(key, value));
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, &**value))
    }

    /// Those whose key is this one or comes after it, in order.
    pub fn iter_from(&self, first: K) -> impl Iterator<Item = (&K, &V)> {
        let begin = self.0.partition_point(|(key, _)| *key < first);
        self.0[begin..].iter().map(|(key, value)| (key, &**value))
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| &**value)
    }

    /// All values, in the order of their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| &mut **value)
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap(Vec::new())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key, value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn all(map: &SortedMap<u8, u32>) -> Vec<(u8, u32)> {
        map.iter().map(|(key, value)| (*key, *value)).collect()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_btree_map_holds(steps in prop::collection::vec((0..7_u8, 0..16_u8, any::<u32>()), 0..64)) {
            let (mut ours, mut model) = (SortedMap::new(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0..=2 => prop_assert_eq!(ours.insert(key, value), model.insert(key, value)),
                    3 => prop_assert_eq!(ours.remove(&key), model.remove(&key)),
                    4 => prop_assert_eq!(ours.pop_first(), model.pop_first()),
                    5 => {
                        ours.retain(|other, _| *other != key);
                        model.retain(|other, _| *other != key);
                    }
                    _ => *ours.or_default(key) = *model.entry(key).or_insert(0),
                }
                prop_assert_eq!(all(&ours), model.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!((ours.len(), ours.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(ours.get(&key), model.get(&key));
                prop_assert_eq!(ours.get_mut(&key), model.get_mut(&key));
                let behind: Vec<u8> = ours.iter_from(key).map(|(key, _)| *key).collect();
                prop_assert_eq!(behind, model.range(key..).map(|(key, _)| *key).collect::<Vec<_>>());
            }
        }
    }
}
