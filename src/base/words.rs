//! Words that were `&'static str` when they were stored, and are to be so again.
//!
//! Reads: texts out of a store. Emits: the same texts, each kept once for as long as the program runs. Bounded: a store
//! that holds more different words than any farmlight writes gives [`OTHER`] for the rest. Does not: know which words
//! there are.

use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Different words kept, and bytes of each.
const WORDS: usize = 4_096;
const LENGTH: usize = 64;
/// What stands for a word that was not kept.
pub const OTHER: &str = "other";

static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

fn kept(word: &str) -> &'static str {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(word) = known.get(word) {
        return word;
    }
    if known.len() >= WORDS || word.len() > LENGTH {
        return OTHER;
    }
    let word: &'static str = Box::leak(word.to_owned().into_boxed_str());
    known.insert(word);
    word
}

/// One word.
///
/// # Errors
/// It is no text.
pub fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    String::deserialize(deserializer).map(|word| kept(&word))
}

/// A list of words.
///
/// # Errors
/// It is no list of texts.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'static str>, D::Error> {
    Vec::<String>::deserialize(deserializer).map(|words| words.iter().map(|word| kept(word)).collect())
}

/// Something by words.
///
/// # Errors
/// It is no map from texts, or what it holds can't be read.
pub fn map<'de, V: Deserialize<'de>, M: From<BTreeMap<&'static str, V>>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<M, D::Error> {
    let read = BTreeMap::<String, V>::deserialize(deserializer)?;
    let words: BTreeMap<&'static str, V> = read.into_iter().map(|(word, value)| (kept(&word), value)).collect();
    Ok(words.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_kept_once_and_a_long_one_not_at_all() {
        let (one, same) = (kept("a word of this test"), kept(&["a word", " of this test"].concat()));
        assert!(std::ptr::eq(one, same));
        assert_eq!(kept(&"x".repeat(LENGTH + 1)), OTHER);
    }
}
