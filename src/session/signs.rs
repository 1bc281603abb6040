//! The signs of all protocols, by the attribute that they are found in.
//!
//! Reads: an attribute's key and value. Emits: the protocol whose sign fits. Does not: know any protocol.
//!
//! Most signs are host names. They are looked up by their last two labels, so that a new session is not held against
//! every name that is known.

use crate::base::{Key, Shows, Sign, last_labels};
use crate::protocol::{Protocol, REGISTRY};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

type Known = (&'static Sign, &'static Protocol);

/// The signs on one attribute, in the order of the registry.
#[derive(Default)]
struct OnKey {
    /// Signs on host names, by the names' end.
    by_tail: HashMap<&'static str, Vec<Known>>,
    /// All others.
    others: Vec<Known>,
}

static SIGNS: LazyLock<HashMap<Key, OnKey>> = LazyLock::new(|| {
    let mut signs = HashMap::<Key, OnKey>::new();
    for protocol in REGISTRY {
        for sign in protocol.signs {
            let on_key = signs.entry(sign.key).or_default();
            let place = match sign.tail() {
                Some(tail) => on_key.by_tail.entry(tail).or_default(),
                None => &mut on_key.others,
            };
            place.push((sign, protocol));
        }
    }
    signs
});

/// The protocol that an attribute gives away, and how surely: of several that fit the surest, of equals the first.
pub(super) fn sign_in(key: Key, value: &str) -> Option<(Shows, &'static Protocol)> {
    let on_key = SIGNS.get(key)?;
    let mut surest = None;
    look(&on_key.others, value, &mut surest);
    if !on_key.by_tail.is_empty() {
        let lower = match value.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(value.to_ascii_lowercase()),
            false => Cow::Borrowed(value),
        };
        for name in lower.split(',') {
            if let Some(known) = on_key.by_tail.get(last_labels(name.trim())) {
                look(known, name, &mut surest);
            }
        }
    }
    surest
}

fn look(known: &[Known], value: &str, surest: &mut Option<(Shows, &'static Protocol)>) {
    for (sign, protocol) in known {
        if surest.is_none_or(|(shows, _)| sign.shows > shows) && sign.fits(value) {
            *surest = Some((sign.shows, protocol));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sign on a name is found by a name that it was made for, whatever its case, port or company.
    #[test]
    fn no_sign_is_lost_in_the_index() {
        for protocol in REGISTRY {
            for sign in protocol.signs {
                use crate::base::Said::{Domain, Glob};
                let (Domain(name) | Glob(name)) = sign.said else { continue };
                let name = name.replace('*', "1");
                for value in
                    [name.clone(), name.to_ascii_uppercase(), format!("{name}:443"), format!("x.example, {name}")]
                {
                    let found = sign_in(sign.key, &value);
                    assert!(found.is_some_and(|(shows, _)| shows >= sign.shows), "{}: {value}", protocol.name);
                }
            }
        }
        assert!(sign_in("tls.sni", "www.example.com").is_none());
        assert!(sign_in("tls.cipher", "www.example.com").is_none());
    }

    /// A sign on a key that nobody emits never fits.
    #[test]
    fn every_sign_is_on_a_key_that_is_said() {
        let said: Vec<Key> = REGISTRY.iter().flat_map(|protocol| protocol.attributes).copied().collect();
        for protocol in REGISTRY {
            for sign in protocol.signs {
                assert!(said.contains(&sign.key), "{}: nobody says {}", protocol.name, sign.key);
            }
        }
    }
}
