//! A collection that is empty nearly everywhere: one pointer instead of three words, and nothing behind it until
//! something is put in. There may be a million endpoints, and most have but a handshake or two.
//!
//! Reads as the collection itself; written to through [`Seldom::make`], which says that memory is taken. Stored as the
//! collection itself.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

/// What has an empty form.
pub trait Emptiable: Default + 'static {
    /// The empty form.
    const EMPTY: &'static Self;

    /// Whether this is it.
    fn is_empty(&self) -> bool;
}

impl<T: 'static> Emptiable for Vec<T> {
    const EMPTY: &'static Self = &Self::new();

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Ord + 'static> Emptiable for BTreeSet<T> {
    const EMPTY: &'static Self = &Self::new();

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<K: Ord + 'static, V: 'static> Emptiable for BTreeMap<K, V> {
    const EMPTY: &'static Self = &Self::new();

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// See the head of this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seldom<T>(Option<Box<T>>);

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Emptiable> Seldom<T> {
    /// The collection, to put something into.
    pub fn make(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// The collection itself.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0.map_or_else(T::default, |inner| *inner)
    }

    /// Puts into it what another holds, if it holds anything.
    pub fn join(&mut self, other: Self, put: impl FnOnce(&mut T, T)) {
        if !T::is_empty(&other) {
            put(self.make(), other.into_inner());
        }
    }
}

impl<T: Emptiable> From<T> for Seldom<T> {
    fn from(inner: T) -> Self {
        Self((!inner.is_empty()).then(|| Box::new(inner)))
    }
}

impl<T: Emptiable> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<'a, T: Emptiable> IntoIterator for &'a Seldom<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

impl<T: Emptiable + Serialize> Serialize for Seldom<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Emptiable + Deserialize<'de>> Deserialize<'de> for Seldom<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_and_is_stored_as_what_it_holds() {
        assert_eq!(size_of::<Seldom<Vec<u64>>>(), size_of::<usize>());
        let mut seldom = Seldom::<Vec<u64>>::default();
        assert_eq!((seldom.len(), serde_json::to_string(&seldom).unwrap().as_str()), (0, "[]"));
        seldom.make().push(7);
        let text = serde_json::to_string(&seldom).unwrap();
        assert_eq!((text.as_str(), seldom.first()), ("[7]", Some(&7)));
        assert_eq!(serde_json::from_str::<Seldom<Vec<u64>>>(&text).unwrap(), seldom);
        assert_eq!(serde_json::from_str::<Seldom<Vec<u64>>>("[]").unwrap(), Seldom::default());
        assert_eq!(seldom.into_inner(), [7]);
    }
}
