//! What gives a program away inside another protocol: a server name in TLS, an ALPN, a certificate's subject, a path.
//!
//! Protocols declare signs, the session room matches them against the attributes that a carrier's analyzer says.
//! Reads: attribute values. Does not: weigh; what a sign shows is said beside it.

use super::Key;

/// A pattern on an attribute of a carrier, and what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// The attribute (`tls.sni`, `tls.alpn`, `http.host`, `quic.parameters`, `dns.query`).
    pub key: Key,
    /// The pattern. An attribute that holds several values separated by commas is tried value by value.
    pub said: Said,
    /// What it shows.
    pub shows: Shows,
}

/// A pattern; letter case does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The whole value.
    Exactly(&'static str),
    /// A host name: this one or any below it, label by label (`anydesk.com` fits `a.b.anydesk.com`, not
    /// `notanydesk.com`). A port behind it does not count.
    Domain(&'static str),
    /// The whole value, where `*` stands for any run of characters but dots (`relay-*.net.anydesk.com`). A port behind
    /// it does not count.
    Glob(&'static str),
    /// How the value begins.
    Begins(&'static str),
    /// Somewhere in the value, commas included.
    Contains(&'static str),
}

/// What a sign shows of the flow that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shows {
    /// The name of the maker or product, no more: its web site says it too. The protocol stays the carrier's, the
    /// record's `application` is the entry's name.
    Mention,
    /// Its service says this and hardly anybody else: the flow is likely this protocol.
    Likely,
    /// Nobody but this protocol says this (an ALPN, a certificate of its own): as certain as the carrier is.
    Certain,
}

impl Sign {
    /// A pattern on `key`.
    #[must_use]
    pub const fn new(key: Key, said: Said, shows: Shows) -> Self {
        Self { key, said, shows }
    }

    /// Whether a value of its attribute fits.
    #[must_use]
    pub fn fits(&self, value: &str) -> bool {
        match self.said {
            Said::Contains(part) => contains(value, part),
            _ => value.split(',').any(|one| self.fits_one(one.trim())),
        }
    }

    /// The last two labels of the host names that fit, in lower case, if only host names that end with them do: signs can
    /// be looked up by it, so that not each of them need be tried on each name.
    #[must_use]
    pub fn tail(&self) -> Option<&'static str> {
        let (Said::Domain(name) | Said::Glob(name)) = self.said else { return None };
        let tail = last_labels(name);
        let plain = !tail.contains('*') && tail.contains('.') && !tail.bytes().any(|b| b.is_ascii_uppercase());
        plain.then_some(tail)
    }

    fn fits_one(&self, value: &str) -> bool {
        match self.said {
            Said::Exactly(whole) => value.eq_ignore_ascii_case(whole),
            Said::Domain(domain) => {
                let value = host(value);
                let value = value.strip_prefix("*.").unwrap_or(value);
                value.len().checked_sub(domain.len()).is_some_and(|at| {
                    value.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(domain))
                        && (at == 0 || value.as_bytes().get(at - 1) == Some(&b'.'))
                })
            }
            Said::Glob(pattern) => glob(pattern.as_bytes(), host(value).as_bytes()),
            Said::Begins(head) => value.get(..head.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(head)),
            Said::Contains(part) => contains(value, part),
        }
    }
}

/// A host name without the port behind it (`http.host`, `proxy.target`) and without the dot of the root.
fn host(value: &str) -> &str {
    let port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let name = value.rsplit_once(':').filter(|(_, behind)| port(behind)).map_or(value, |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name)
}

/// The last two labels of a host name, or all of it if it has fewer. A port behind it does not count.
#[must_use]
pub fn last_labels(name: &str) -> &str {
    let name = host(name);
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    dots.nth(1).and_then(|at| name.get(at + 1..)).unwrap_or(name)
}

fn contains(value: &str, part: &str) -> bool {
    value.as_bytes().windows(part.len().max(1)).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// Matches `*` lazily, going back to the latest one on a mismatch.
fn glob(pattern: &[u8], value: &[u8]) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), value.get(v)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((p + 1, v));
                p += 1;
            }
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {
                p += 1;
                v += 1;
            }
            _ => match star {
                // The star takes one character more, but never a dot.
                Some((after, taken)) if value.get(taken).is_some_and(|byte| *byte != b'.') => {
                    star = Some((after, taken + 1));
                    (p, v) = (after, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(said: Said, value: &str) -> bool {
        Sign::new("tls.sni", said, Shows::Likely).fits(value)
    }

    #[test]
    fn a_domain_fits_label_by_label() {
        for (value, expected) in [
            ("anydesk.com", true),
            ("boot.net.AnyDesk.com", true),
            ("anydesk.com.", true),
            ("a.anydesk.com:443", true),
            ("anydesk.com:x", false),
            ("notanydesk.com", false),
            ("anydesk.com.example", false),
            ("com", false),
            ("example.net, *.anydesk.com", true),
        ] {
            assert_eq!(fits(Said::Domain("anydesk.com"), value), expected, "{value}");
        }
    }

    #[test]
    fn a_sign_on_names_is_found_by_their_end() {
        let tail = |said| Sign::new("tls.sni", said, Shows::Likely).tail();
        assert_eq!(tail(Said::Domain("remotedesktop.google.com")), Some("google.com"));
        assert_eq!(tail(Said::Glob("relay-*.net.anydesk.com")), Some("anydesk.com"));
        assert_eq!((tail(Said::Glob("*.example")), tail(Said::Domain("example"))), (None, None));
        assert_eq!(tail(Said::Begins("anydesk/")), None);
        for (name, end) in [("a.b.example.com:443", "example.com"), ("b.example.", "b.example"), ("example", "example")]
        {
            assert_eq!(last_labels(name), end);
        }
    }

    #[test]
    fn a_star_stops_at_a_dot() {
        let relay = Said::Glob("relay-*.net.anydesk.com");
        assert!(fits(relay, "relay-0a1b2c3d.net.anydesk.com"));
        assert!(fits(relay, "relay-0a1b2c3d.net.anydesk.com:6568"));
        assert!(!fits(relay, "relay-a.b.net.anydesk.com"));
        assert!(fits(Said::Glob("*.*.example"), "a.b.example"));
        assert!(!fits(Said::Glob("*.example"), "a.b.example"));
        assert!(fits(Said::Glob("a*b*c"), "axxbxxbyc"));
    }

    #[test]
    fn the_other_patterns() {
        assert!(fits(Said::Exactly("anydesk/6.2.0/linux"), "http/1.1,AnyDesk/6.2.0/linux"));
        assert!(fits(Said::Begins("anydesk/"), "anydesk/7"));
        assert!(!fits(Said::Begins("anydesk/"), "x-anydesk/7"));
        assert!(fits(Said::Contains("O=philandro Software GmbH"), "CN=AnyDesk Client,O=Philandro Software GmbH,C=DE"));
        assert!(!fits(Said::Contains("philandro"), "phil"));
    }
}
