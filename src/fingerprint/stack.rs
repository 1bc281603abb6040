//! Which TCP stack sent a SYN or SYN-ACK: a printable string, and the families of systems that send such a one.
//!
//! Reads: the constants of a flow's end. Emits: [`Stack`], its text, its [`Family`]s; more than one where they are not
//! told apart. Does not: know versions, nor believe that a stack can't be imitated.
//!
//! The string is our own: `v4.t64.df.w44m.s7.eth.MSTnW` is IP version, initial TTL class, don't fragment, window (in
//! segments or bytes), window scale, class of the MSS, options in order; then what is odd. What the path changes (the
//! TTL's rest, the MSS itself) is not in it, so that one machine has one string on every path.

use super::family::{Family, Look, families, initial_ttl};
use super::hops::{Origin, likeliest};
use crate::flow::{End, Syn};
use std::fmt;

/// Who of a connection sent it: a server answers only what was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// It sent a SYN.
    Client,
    /// It sent a SYN-ACK.
    Server,
}

/// How the announced MSS stands to what Ethernet allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
enum SegmentClass {
    Absent,
    Smaller,
    Ethernet,
    Larger,
}

/// The window of a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(super) enum Window {
    /// No whole number of segments.
    Bytes(u16),
    /// So many of the segments announced.
    Segments(u16),
    /// So many segments of Ethernet, though smaller ones are announced: a router on the way has written the MSS anew.
    FullSegments(u16),
}

/// What a stack shows of itself in its first packet. Equal for one machine on every path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stack {
    role: Role,
    v6: bool,
    initial_ttl: u8,
    segment: SegmentClass,
    window: Window,
    scale: Option<u8>,
    syn: Syn,
}

impl Stack {
    /// The stack of an end, if its SYN or SYN-ACK was seen.
    #[must_use]
    pub fn of(end: &End, v6: bool, role: Role) -> Option<Self> {
        let syn = end.syn?;
        let full = if v6 { 1_440 } else { 1_460 };
        let segment = match end.mss {
            None => SegmentClass::Absent,
            Some(mss) if mss < full => SegmentClass::Smaller,
            Some(mss) if mss == full => SegmentClass::Ethernet,
            Some(_) => SegmentClass::Larger,
        };
        let window = window_of(&syn, end.mss.unwrap_or(0), full);
        let mut stack = Self { role, v6, initial_ttl: 0, segment, window, scale: end.window_scale, syn };
        stack.initial_ttl = stack.origin(end.ttl?).initial;
        Some(stack)
    }

    /// How a TTL of this machine is to be read.
    #[must_use]
    pub fn origin(&self, ttl: u8) -> Origin {
        let options: String = self.syn.options.letters().collect();
        likeliest(ttl, initial_ttl(&self.look(&options)))
    }

    /// Every family whose stack sends such a packet.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let options: String = self.syn.options.letters().collect();
        families(&self.look(&options))
    }

    /// The family, where it is the only one.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        match *self.families().as_slice() {
            [family] => Some(family),
            _ => None,
        }
    }

    const fn look<'a>(&self, options: &'a str) -> Look<'a> {
        Look {
            role: self.role,
            v6: self.v6,
            initial_ttl: self.initial_ttl,
            dont_fragment: self.syn.dont_fragment,
            window: self.window,
            options,
        }
    }

    /// Whether a router on the way wrote a smaller MSS than the machine had announced.
    #[must_use]
    pub const fn is_clamped(&self) -> bool {
        matches!(self.window, Window::FullSegments(_))
    }
}

/// The window in segments where it is a whole number of them. Stacks count what they will have to store: with
/// timestamps 12 bytes less than the MSS (RFC 7323).
fn window_of(syn: &Syn, mss: u16, full: u16) -> Window {
    let divides =
        |size: u16| (size >= 536 && syn.window > 0 && syn.window.is_multiple_of(size)).then(|| syn.window / size);
    if let Some(n) = divides(mss).or_else(|| divides(mss.saturating_sub(12))) {
        return Window::Segments(n);
    }
    match divides(full).filter(|_| mss > 0 && mss < full) {
        Some(n) => Window::FullSegments(n),
        None => Window::Bytes(syn.window),
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.v6 { "v6" } else { "v4" };
        let df = if self.syn.dont_fragment { "df" } else { "-" };
        write!(f, "{version}.t{}.{df}.", self.initial_ttl)?;
        match self.window {
            Window::Bytes(n) => write!(f, "w{n}.")?,
            Window::Segments(n) => write!(f, "w{n}m.")?,
            Window::FullSegments(n) => write!(f, "w{n}e.")?,
        }
        match self.scale {
            Some(shift) => write!(f, "s{shift}.")?,
            None => f.write_str("-.")?,
        }
        f.write_str(match self.segment {
            SegmentClass::Absent => "-.",
            SegmentClass::Smaller => "low.",
            SegmentClass::Ethernet => "eth.",
            SegmentClass::Larger => "big.",
        })?;
        let mut none = true;
        for letter in self.syn.options.letters() {
            none = false;
            write!(f, "{letter}")?;
        }
        if none {
            f.write_str("-")?;
        }
        let odd = [
            (self.syn.ecn, "ecn"),
            (self.syn.zero_id, "id0"),
            (self.syn.acknowledges, "ack"),
            (self.syn.urgent, "urg"),
        ];
        odd.iter().filter(|(is, _)| *is).try_for_each(|(_, word)| write!(f, ".{word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Frame, LinkType, Timestamp};
    use crate::flow::{Table, Timeouts};
    use crate::wire::{Decoded, Decoder};

    /// The stack of the sender of an IP packet with a SYN or SYN-ACK.
    pub(super) fn stack_of(hex: &str) -> (Stack, Vec<Family>) {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        let at = Timestamp::from_parts(1, 0);
        let orig_len = u32::try_from(bytes.len()).unwrap();
        let mut decoder = Decoder::default();
        let Decoded::Packet(packet) = decoder.decode(&Frame { at, link: LinkType::RAW, orig_len, bytes: &bytes })
        else {
            panic!("no packet");
        };
        let mut table = Table::<()>::new(16, Timeouts::default());
        let touch = table.touch(&packet, at, |_, ()| {});
        let (flow, ()) = table.pair_mut(touch.id).unwrap();
        let role = if touch.dir == crate::base::Direction::Orig { Role::Client } else { Role::Server };
        let stack = Stack::of(flow.ends.of(touch.dir), packet.src.is_ipv6(), role).unwrap();
        (stack, stack.families())
    }

    fn check(hex: &str, text: &str, families: &[Family]) {
        let (stack, found) = stack_of(hex);
        assert_eq!((stack.to_string().as_str(), found.as_slice()), (text, families));
        let one = if let [family] = families { Some(*family) } else { None };
        assert_eq!(stack.family(), one);
    }

    /// Linux 6.18, `connect()`.
    const LINUX: &str = "4500003ca30c40004006 0000 c0000201c0000202 e98a0053 5016a79f 00000000 a002faf0 00000000
                         020405b4 0402080a4ddeebe70000000001030307";

    #[test]
    fn a_linux_syn() {
        check(LINUX, "v4.t64.df.w44m.s7.eth.MSTnW", &[Family::Linux]);
    }

    /// gVisor's netstack (2022-12-19) with an MTU of 1,420: as WireGuard in a program sends it.
    #[test]
    fn a_syn_of_a_stack_in_a_program() {
        check(
            "4500003c8ad10000400603afc0000201c633640764b601bb066448ff00000000a0026bc0443f0000
             020405640402080a498cacb50000000001030305",
            "v4.t64.-.w27584.s5.low.MSTnW",
            &[Family::UserSpace],
        );
    }

    #[test]
    fn syns_of_scanners() {
        // nmap 7.93 -sS, masscan 1.3.2, ZMap 2.1.1.
        check(
            "4500002c79fd0000370600 00c0000201c0000202d0410050f39ba0340000000060020400 36600000020405b4",
            "v4.t64.-.w1024.-.eth.M",
            &[Family::Scanner],
        );
        check(
            "45000028c7bb0000ff060000c0000209c00002029f89005586ba47dc00000000500204003b520000",
            "v4.t255.-.w1024.-.-.-",
            &[Family::Scanner],
        );
        check(
            "45000028d4310000ff060000c0000201c0000202cba50054f23b0b3c000000005002ffff00f60000",
            "v4.t255.-.w65535.-.-.-",
            &[Family::Scanner],
        );
    }

    #[test]
    fn a_syn_ack_of_libslirp() {
        // slirp4netns 1.2.0.
        check(
            "4500002c0000000040060000 0a0002020a00026446a0cae60000fa015cb8cefc6012ffff95f20000020405b4",
            "v4.t64.-.w65535.-.eth.M.id0",
            &[Family::UserSpace],
        );
    }

    #[test]
    fn a_router_that_writes_the_mss_anew_does_not_write_the_window() {
        let clamped = LINUX.replace("020405b4", "02040564");
        let (stack, families) = stack_of(&clamped);
        assert_eq!((stack.to_string().as_str(), stack.is_clamped()), ("v4.t64.df.w44e.s7.low.MSTnW", true));
        assert_eq!(families, [Family::Linux]);
        // A host whose own interface takes 1,420 bytes: 47 segments of 1,380.
        let own = clamped.replace("a002faf0", "a002fd5c");
        assert_eq!(
            (stack_of(&own).0.to_string().as_str(), stack_of(&own).0.is_clamped()),
            ("v4.t64.df.w47m.s7.low.MSTnW", false)
        );
    }

    /// What a full window and Linux's order mean is not told apart, and is told as that.
    #[test]
    fn android_and_a_tuned_linux_are_not_told_apart() {
        check(
            &LINUX.replace("a002faf0", "a002ffff").replace("01030307", "01030309"),
            "v4.t64.df.w65535.s9.eth.MSTnW",
            &[Family::Linux, Family::Android],
        );
    }

    #[test]
    fn the_options_tell_the_initial_ttl_where_few_are_left() {
        // Linux, 20 left: 44 hops and not 12.
        let (stack, _) = stack_of(&LINUX.replace("40004006", "40001406"));
        assert_eq!(stack.origin(20), Origin { initial: 64, hops: 44 });
    }

    #[test]
    fn look_alikes_have_no_family() {
        let none = |hex: &str| assert_eq!(stack_of(hex).1, [], "{}", stack_of(hex).0);
        // Linux's options with the TTL of Windows: a box between, or somebody who sets it.
        none(&LINUX.replace("40004006", "40008006"));
        // The TTL and the options of nobody.
        none(&LINUX.replace("0402080a", "0404080a"));
    }

    #[test]
    fn what_is_odd_is_told() {
        let odd =
            LINUX.replace("a30c4000", "00004000").replace("00000000 a002faf0 00000000", "00000007 a0c2faf0 00000009");
        assert_eq!(stack_of(&odd).0.to_string(), "v4.t64.df.w44m.s7.eth.MSTnW.ecn.id0.ack.urg");
    }
}
