//! Names asked for in DNS that are no names but messages: the handshakes of iodine, dns2tcp and dnscat2, and long
//! changing names below one domain.
//!
//! Reads: the questions of one flow. Does not: know who asked, or read the answers.
//!
//! Reference: github.com/yarrick/iodine `doc/proto_00000502.txt`, github.com/alex-sector/dns2tcp (`=auth`, `=connect`),
//! github.com/iagox86/dnscat2 `doc/protocol.md`; Born and Gustafson, "Detecting DNS Tunnels Using Character Frequency
//! Analysis" (2010), and Ellens et al., "Flow-Based Detection of DNS Tunnels" (AIMS 2013) for length and change.

/// What gives a tunnel away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// iodine's version handshake.
    Iodine,
    /// dns2tcp's authentication or connection.
    Dns2tcp,
    /// dnscat2's domain-less prefix, or its session's number in several questions.
    Dnscat2,
    /// Nothing but long names that never repeat.
    Names,
}

impl Tunnel {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iodine => "iodine",
            Self::Dns2tcp => "dns2tcp",
            Self::Dnscat2 => "dnscat2",
            Self::Names => "long-names",
        }
    }
}

/// Questions with the same dnscat2 session after which it is one.
const DNSCAT_AGREE: u8 = 4;
/// Long names below one domain after which they are messages: more than a page with hashes for names asks at once.
const LONG_AGREE: u8 = 7;
/// Letters before the registered domain from which a name is long: longer than a SHA-1 in hexadecimal, which block
/// lists and virus scanners look up.
const LONG: usize = 52;
/// Different letters that a long name must have; words and padding have fewer.
const VARIED: u32 = 14;

/// Watches the questions of one flow.
#[derive(Debug, Default)]
pub struct TunnelNames {
    session: Option<u16>,
    agreed: u8,
    /// Hash of the domain below which long names are asked for, and of the newest name.
    below: Option<(u64, u64)>,
    long: u8,
}

impl TunnelNames {
    /// The next question; what it gives away, if anything.
    pub fn on_question(&mut self, name: &str) -> Option<Tunnel> {
        let mut labels = name.split('.');
        let first = labels.next().unwrap_or_default();
        if is_iodine_version(first) {
            return Some(Tunnel::Iodine);
        }
        if labels.any(|label| matches!(label, "=auth" | "=connect" | "=resource")) {
            return Some(Tunnel::Dns2tcp);
        }
        if self.is_dnscat(name) {
            return Some(Tunnel::Dnscat2);
        }
        self.is_long(name).then_some(Tunnel::Names)
    }

    /// dnscat2: hexadecimal labels that hold a random number, a type, and the session's number.
    fn is_dnscat(&mut self, name: &str) -> bool {
        let named = name.strip_prefix("dnscat.");
        let first = named.unwrap_or(name).split('.').next().unwrap_or_default();
        let hex = first.len() >= 14 && first.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number =
            |from: usize, to: usize| first.get(from..to).and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let (Some(0..=3), Some(session), true) = (number(4, 6), number(6, 10), hex) else {
            return false;
        };
        let same = self.session.replace(session) == Some(session);
        self.agreed = if same { self.agreed.saturating_add(1) } else { 1 };
        named.is_some() || self.agreed >= DNSCAT_AGREE
    }

    /// Long names that change all the time, all below one domain.
    fn is_long(&mut self, name: &str) -> bool {
        let Some((message, domain)) = split_domain(name) else { return false };
        let varied = message.bytes().fold(0u64, |seen, b| seen | 1 << (b & 63)).count_ones();
        if message.len() < LONG || varied < VARIED {
            return false;
        }
        let now = (hash(domain), hash(name));
        self.long = match self.below {
            Some((below, newest)) if below == now.0 => self.long + u8::from(newest != now.1),
            _ => 1,
        };
        self.below = Some(now);
        self.long >= LONG_AGREE
    }
}

/// `v`, protocol 0x00000502 and a random number, 48 bits in base 32: the first 32 bits make `aaaaka` and a letter whose
/// value begins with the bits 10.
fn is_iodine_version(label: &str) -> bool {
    let Some(rest) = label.strip_prefix(['v', 'V']) else { return false };
    let digit = |b: &u8| matches!(b.to_ascii_lowercase(), b'a'..=b'z' | b'0'..=b'5');
    let bytes = rest.as_bytes();
    bytes.len() == 10
        && bytes.get(..6).is_some_and(|version| version.eq_ignore_ascii_case(b"aaaaka"))
        && bytes.get(6).is_some_and(|b| matches!(b.to_ascii_lowercase(), b'q'..=b'x'))
        && bytes.iter().all(digit)
}

/// What stands before the last two labels, and those. Names of reverse look-ups and of one link are long by nature.
fn split_domain(name: &str) -> Option<(&str, &str)> {
    let lower_ends =
        |end: &str| name.get(name.len().saturating_sub(end.len())..).is_some_and(|e| e.eq_ignore_ascii_case(end));
    if lower_ends(".arpa") || lower_ends(".local") {
        return None;
    }
    let (rest, _) = name.rsplit_once('.')?;
    let (message, _) = rest.rsplit_once('.')?;
    Some((message, name.get(message.len() + 1..)?))
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_away(names: &[&str]) -> Option<Tunnel> {
        let mut watch = TunnelNames::default();
        names.iter().find_map(|name| watch.on_question(name))
    }

    #[test]
    fn the_tools_handshakes_are_known() {
        assert_eq!(given_away(&["vaaaakaurlm.t.example.com"]), Some(Tunnel::Iodine));
        assert_eq!(given_away(&["AAAAAOX/AA.=auth.d.example.com"]), Some(Tunnel::Dns2tcp));
        assert_eq!(given_away(&["dnscat.546b03f50000000000a6023ed4df18"]), Some(Tunnel::Dnscat2));
        let sessions = ["546b03f5000000000a.x.example", "91f003f500f612218a.x.example", "a35c00f5005703c8b1.x.example"];
        assert_eq!(given_away(&sessions), None);
        assert_eq!(given_away(&[&sessions[..], &["f97c01f5006c798b8d.x.example"]].concat()), Some(Tunnel::Dnscat2));
    }

    #[test]
    fn long_names_that_change_are_messages() {
        let message = |i: usize| {
            let letters: String =
                (0..55).map(|k| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(k * 7 + i) % 32])).collect();
            format!("{letters}.{i}.tunnel.example")
        };
        let names: Vec<String> = (0..7).map(message).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(given_away(&names), Some(Tunnel::Names));
        assert_eq!(given_away(&names[..6]), None);
        // The same one over and over, as from a resolver that gets no answer.
        assert_eq!(given_away(&[names[0]; 20]), None);
    }

    #[test]
    fn long_names_that_are_names_are_none() {
        let reverse: Vec<String> = (0..20)
            .map(|i| format!("{i:x}.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"))
            .collect();
        assert_eq!(given_away(&reverse.iter().map(String::as_str).collect::<Vec<_>>()), None);
        let hosts: Vec<String> =
            (0..20).map(|i| format!("ec2-198-51-100-{i}.eu-central-1.compute.example.com")).collect();
        assert_eq!(given_away(&hosts.iter().map(String::as_str).collect::<Vec<_>>()), None);
        for name in ["vaaaakaurlmx.example", "vacation.example", "www.example.com", "=auth", "deadbeef00112233.example"]
        {
            assert_eq!(given_away(&[name]), None, "{name}");
        }
    }
}
