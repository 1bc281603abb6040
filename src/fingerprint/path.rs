//! What an endpoint's packets say about the path they came by: hops, segment sizes, the tax of an encapsulation.
//!
//! An MSS is a set of possible causes, never one: 1,380 is WireGuard's default and also a cautious router's clamp.
//! References: RFC 9293 (MSS), RFC 2516 (PPPoE), RFC 2784 (GRE), wg-quick(8), OpenVPN manual (mssfix), RFC 8200 (1,280).

use crate::flow::End;

/// The path of an endpoint, as far as its own packets tell.
#[derive(Debug, Clone, Default)]
pub struct Path {
    /// Segment sizes announced in SYNs of either family, and how often. Bounded; the smallest stay.
    mss: Vec<((bool, u16), u64)>,
    /// TTLs of first packets, and how often.
    ttl: Vec<(u8, u64)>,
    /// The largest IP packet, in bytes.
    pub max_packet: u32,
}

/// Distinct values kept of each kind.
const KEPT: usize = 16;

/// Counts `value` in a short ascending list; of too many distinct values the smallest stay.
fn tally<T: Ord>(list: &mut Vec<(T, u64)>, value: T) {
    match list.binary_search_by(|(known, _)| known.cmp(&value)) {
        Ok(place) => {
            if let Some((_, n)) = list.get_mut(place) {
                *n += 1;
            }
        }
        Err(place) => {
            if list.is_empty() {
                list.reserve_exact(1);
            }
            list.insert(place, (value, 1));
            list.truncate(KEPT);
        }
    }
}

/// What commonly stands between an endpoint's MSS and the 1,460 of plain Ethernet (1,440 with IPv6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overhead {
    /// No tax.
    None,
    /// An access line's own: PPPoE, IPv6 transition, mobile. Common among honest homes.
    Access,
    /// A tunnel the endpoint's traffic goes through: WireGuard, OpenVPN, IPsec, GRE, or a clamp made for one.
    Tunnel,
}

impl Path {
    /// Takes in what an end sent in one session.
    pub fn add(&mut self, end: &End, v6: bool) {
        if let Some(mss) = end.mss {
            tally(&mut self.mss, (v6, mss));
        }
        if let Some(ttl) = end.ttl {
            tally(&mut self.ttl, ttl);
        }
        self.max_packet = self.max_packet.max(end.max_packet);
    }

    /// Connections in which a segment size was announced.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.mss.iter().map(|(_, n)| n).sum()
    }

    /// The segment size announced most often (the smaller of equals), for IPv4's 40 bytes of headers, and its share.
    #[must_use]
    pub fn mss(&self) -> Option<(u16, f64)> {
        let total = self.announced();
        let ((v6, mss), n) = self.mss.iter().max_by_key(|((v6, mss), n)| (*n, !*v6, u16::MAX - *mss))?;
        let as_v4 = if *v6 { mss.saturating_add(20) } else { *mss };
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = *n as f64 / total as f64;
        Some((as_v4, share))
    }

    /// The path MTU that the MSS implies, in bytes: MSS and 40 bytes of IPv4 and TCP headers.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        self.mss().map(|(mss, _)| u32::from(mss) + 40)
    }

    /// Router hops between the endpoint and the capture point: the least distance from 64, 128 or 255. A path longer
    /// than 63 hops, or a stack with another initial TTL, makes this wrong.
    #[must_use]
    pub fn hops(&self) -> Option<u8> {
        let (ttl, _) = self.ttl.iter().max_by_key(|(ttl, n)| (*n, *ttl))?;
        [64u8, 128, 255].iter().find(|initial| ttl <= initial).map(|initial| initial - ttl)
    }

    /// What the segment size points to.
    #[must_use]
    pub fn overhead(&self) -> Option<Overhead> {
        self.mss().map(|(mss, _)| overhead_of(mss))
    }
}

/// The cause that an IPv4 MSS points to (science note section 5: MTU and MSS of common encapsulations).
fn overhead_of(mss: u16) -> Overhead {
    match mss {
        1453.. => Overhead::None,
        // PPPoE 1452, PPTP 1450, 6in4 and 464XLAT 1432-1440, GRE 1436, DS-Lite and MAP-E 1420.
        1415..=1452 => Overhead::Access,
        // VXLAN 1410, WireGuard 1400 and 1380 and 1372, OpenVPN 1400 and 1357-1370, ESP 1360, IPv6 minimum 1240.
        1200..=1414 => Overhead::Tunnel,
        // Smaller is a deliberate clamp or an old stack (536 is RFC 1122's default): no tunnel explains it.
        _ => Overhead::Access,
    }
}

impl Overhead {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Access => "access",
            Self::Tunnel => "tunnel",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_sizes_point_to_their_causes() {
        let path = |mss| {
            let mut path = Path::default();
            let mut end = End::default();
            (end.mss, end.ttl) = (Some(mss), Some(51));
            path.add(&end, false);
            path
        };
        assert_eq!(path(1460).overhead(), Some(Overhead::None));
        assert_eq!(path(1452).overhead(), Some(Overhead::Access));
        assert_eq!(path(1380).overhead(), Some(Overhead::Tunnel));
        assert_eq!(path(1380).mtu(), Some(1420));
        assert_eq!(path(536).overhead(), Some(Overhead::Access));
        assert_eq!(path(1460).hops(), Some(13));
    }
}
