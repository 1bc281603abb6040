//! How many routers a packet has passed, from what is left of its TTL.
//!
//! Reads: TTL or hop limit. Emits: each initial value that it can come from. Does not: choose without saying so.
//!
//! References: Jin, Wang, Shin, *Hop-count filtering*, CCS 2003 (initial values in use; few hosts are more than 30 hops
//! apart); RFC 1700 and RFC 8200 (64 as the default). Linux `IPDEFTTL` 64, XNU and FreeBSD `ip_defttl` 64, Windows 128,
//! Linux `NDISC`/ICMP replies of routers 255.

/// One way to read a TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Routers passed.
    pub hops: u8,
    /// The TTL that the sender set.
    pub initial: u8,
}

/// Initial values in use.
const INITIAL: [u8; 4] = [32, 64, 128, 255];

/// Paths longer than this are not believed while another reading is shorter.
const FAR: u8 = 32;
/// Nor is any longer than this, whatever the stack.
const FARTHEST: u8 = 48;

/// Every reading of a TTL whose path is believable, shortest first; if none is, the shortest alone.
#[must_use]
pub fn origins(ttl: u8) -> Vec<Origin> {
    let all = INITIAL.iter().filter(|initial| ttl <= **initial);
    let mut all: Vec<Origin> = all.map(|initial| Origin { hops: initial - ttl, initial: *initial }).collect();
    let believable = all.iter().filter(|origin| origin.hops <= FAR).count();
    all.truncate(believable.max(1));
    all
}

/// The likeliest reading: with the initial value that the sender's stack is known for if that can be, else the shortest.
pub(super) fn likeliest(ttl: u8, of_stack: Option<u8>) -> Origin {
    let shortest = origins(ttl).first().copied().unwrap_or(Origin { hops: 255 - ttl, initial: 255 });
    match of_stack {
        Some(initial) if initial >= ttl && initial - ttl <= FARTHEST => Origin { hops: initial - ttl, initial },
        _ => shortest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_read_in_every_way_that_can_be() {
        let read = |ttl| origins(ttl).iter().map(|o| (o.initial, o.hops)).collect::<Vec<_>>();
        assert_eq!(read(51), [(64, 13)]);
        assert_eq!(read(64), [(64, 0)]);
        assert_eq!(read(116), [(128, 12)]);
        assert_eq!(read(243), [(255, 12)]);
        // What Windows 95 sent from near, or Linux from very far.
        assert_eq!(read(32), [(32, 0), (64, 32)]);
        // Too far for either: the nearest is still told.
        assert_eq!(read(80), [(128, 48)]);
        assert_eq!(read(20), [(32, 12)]);
        assert_eq!(read(0), [(32, 32)]);
        assert_eq!(read(255), [(255, 0)]);
    }

    #[test]
    fn the_stack_decides_where_it_can() {
        assert_eq!(likeliest(30, None), Origin { hops: 2, initial: 32 });
        assert_eq!(likeliest(30, Some(64)), Origin { hops: 34, initial: 64 });
        // A Windows stack whose packets begin at 64 has been told to, or is behind something that does.
        assert_eq!(likeliest(60, Some(128)), Origin { hops: 4, initial: 64 });
        // A Linux that answers an old Windows writes the same options as that.
        assert_eq!(likeliest(64, Some(128)), Origin { hops: 0, initial: 64 });
        assert_eq!(likeliest(100, Some(64)), Origin { hops: 28, initial: 128 });
    }
}
