//! The signs of all protocols, by the attribute that they are found in.
//!
//! Reads: an attribute's key and value. Emits: the protocols whose signs fit. Does not: know any protocol.

use crate::base::{Key, Shows, Sign};
use crate::protocol::{Protocol, REGISTRY};
use std::collections::HashMap;
use std::sync::LazyLock;

type Known = (&'static Sign, &'static Protocol);

static SIGNS: LazyLock<HashMap<Key, Vec<Known>>> = LazyLock::new(|| {
    let mut signs = HashMap::<Key, Vec<Known>>::new();
    for protocol in REGISTRY {
        for sign in protocol.signs {
            signs.entry(sign.key).or_default().push((sign, protocol));
        }
    }
    signs
});

/// The protocols that an attribute gives away, and how surely.
pub(super) fn signs_in(key: Key, value: &str) -> impl Iterator<Item = (Shows, &'static Protocol)> {
    let known = SIGNS.get(key).map_or(&[][..], Vec::as_slice);
    known.iter().filter(move |(sign, _)| sign.fits(value)).map(|(sign, protocol)| (sign.shows, *protocol))
}
