//! Families of systems, and the first packets that each sends.
//!
//! Reads: what a SYN or SYN-ACK shows. Emits: every family whose stack sends such a one. Does not: guess beyond the table:
//! what no row knows has no family. Each row says where it is from: the source of the system, with the function that
//! writes the options, or a capture named in `docs/path.md`.

use super::stack::{Role, Window};

/// A family of systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Family {
    /// Linux, whatever stands on it.
    Linux,
    /// Android, where it differs from other Linux.
    Android,
    /// Windows.
    Windows,
    /// macOS, iOS and their kin.
    Apple,
    /// FreeBSD and what is made from it.
    FreeBsd,
    /// A stack in a program instead of a kernel: gVisor's netstack, which Tailscale and wireguard-go carry; libslirp.
    UserSpace,
    /// A small stack of a device: lwIP, uIP, a router's own.
    Embedded,
    /// A program that asks for open ports with SYNs of its own making.
    Scanner,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Linux,
        Self::Android,
        Self::Windows,
        Self::Apple,
        Self::FreeBsd,
        Self::UserSpace,
        Self::Embedded,
        Self::Scanner,
    ];

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Android => "android",
            Self::Windows => "windows",
            Self::Apple => "apple",
            Self::FreeBsd => "freebsd",
            Self::UserSpace => "user-space",
            Self::Embedded => "embedded",
            Self::Scanner => "scanner",
        }
    }

    /// The TTL that its packets begin with, where the family has one.
    #[must_use]
    pub const fn initial_ttl(self) -> Option<u8> {
        match self {
            Self::Linux | Self::Android | Self::Apple | Self::FreeBsd | Self::UserSpace => Some(64),
            Self::Windows => Some(128),
            Self::Embedded | Self::Scanner => None,
        }
    }
}

/// What is compared.
#[derive(Debug, Clone)]
pub(super) struct Look<'a> {
    pub(super) role: Role,
    pub(super) v6: bool,
    pub(super) initial_ttl: u8,
    pub(super) dont_fragment: bool,
    pub(super) window: Window,
    pub(super) options: &'a str,
}

/// How a row compares the options.
enum Options {
    /// These, and maybe more behind them: Fast Open, Multipath, an experiment.
    Begin(&'static str),
    /// These and no others.
    Are(&'static str),
}

/// How a row compares the window.
#[derive(Clone, Copy)]
enum Windows {
    Any,
    /// A whole number of segments, or what the loopback's large ones leave.
    Whole,
    /// Just so many bytes.
    Bytes(u16),
    /// Neither a whole number of segments nor the largest there is.
    Uneven,
}

/// What one stack sends.
struct Row {
    family: Family,
    /// `None`: as client and as server.
    role: Option<Role>,
    /// `None`: any.
    ttl: Option<u8>,
    /// Of IPv4; `None`: either.
    dont_fragment: Option<bool>,
    options: Options,
    window: Windows,
}

const CLIENT: Option<Role> = Some(Role::Client);
const SERVER: Option<Role> = Some(Role::Server);

const fn row(
    family: Family,
    role: Option<Role>,
    ttl: Option<u8>,
    dont_fragment: Option<bool>,
    options: Options,
    window: Windows,
) -> Row {
    Row { family, role, ttl, dont_fragment, options, window }
}

use Options::{Are, Begin};

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Linux net/ipv4/tcp_output.c, tcp_options_write: MSS, SACK with timestamps, NOP and window scale; the window is
    // rounded down to whole segments (tcp_select_initial_window).
    row(Family::Linux, CLIENT, Some(64), Some(true), Begin("MSTnW"), Windows::Whole),
    // The same with net.ipv4.tcp_timestamps=0.
    row(Family::Linux, CLIENT, Some(64), Some(true), Begin("MnnSnW"), Windows::Whole),
    // A receive buffer beyond 64 KiB: the window field is full.
    row(Family::Linux, CLIENT, Some(64), Some(true), Begin("MSTnW"), Windows::Bytes(u16::MAX)),
    // Android asks for 60 segments at once (net.tcp_def_init_rwnd, 60): always full.
    row(Family::Android, CLIENT, Some(64), Some(true), Begin("MSTnW"), Windows::Bytes(u16::MAX)),
    // Of a SYN-ACK only the order counts: the window follows the buffer of the program.
    row(Family::Linux, SERVER, Some(64), Some(true), Begin("MSTnW"), Windows::Any),
    row(Family::Linux, SERVER, Some(64), Some(true), Begin("MnnSnW"), Windows::Any),
    // Windows since Vista: NOP and window scale before SACK; with timestamps behind it. Before: no scale.
    row(Family::Windows, None, Some(128), None, Begin("MnWnnS"), Windows::Any),
    row(Family::Windows, None, Some(128), None, Begin("MnWST"), Windows::Any),
    row(Family::Windows, None, Some(128), None, Are("MnnS"), Windows::Any),
    // XNU bsd/netinet/tcp_output.c: scale, then two NOPs and timestamps, then SACK, closed by an end of list.
    row(Family::Apple, None, Some(64), None, Begin("MnWnnTS"), Windows::Any),
    // FreeBSD sys/netinet/tcp_output.c, tcp_addoptions: each option is aligned for itself.
    row(Family::FreeBsd, CLIENT, Some(64), Some(true), Are("MnWST"), Windows::Bytes(u16::MAX)),
    row(Family::FreeBsd, SERVER, Some(64), Some(true), Are("MnWST"), Windows::Bytes(u16::MAX)),
    // gVisor pkg/tcpip/transport/tcp/connect.go, makeSynOptions: Linux's order, but no don't fragment, and a window that
    // is not rounded.
    row(Family::UserSpace, CLIENT, Some(64), Some(false), Are("MSTnW"), Windows::Uneven),
    // libslirp (QEMU's and rootless containers' NAT) answers with an MSS and nothing else, whatever was offered.
    row(Family::UserSpace, SERVER, Some(64), Some(false), Are("M"), Windows::Bytes(u16::MAX)),
    // lwIP opt.h: TCP_TTL 255 and no options but the MSS; the same of routers that were captured.
    row(Family::Embedded, CLIENT, Some(255), Some(false), Are("M"), Windows::Any),
    // nmap -sS: 1,024 bytes and an MSS of 1,460, the TTL drawn from 37 to 59. masscan and ZMap 2: no options, TTL 255.
    row(Family::Scanner, CLIENT, Some(64), Some(false), Are("M"), Windows::Bytes(1_024)),
    row(Family::Scanner, CLIENT, Some(255), Some(false), Are(""), Windows::Bytes(1_024)),
    row(Family::Scanner, CLIENT, Some(255), Some(false), Are(""), Windows::Bytes(u16::MAX)),
];

impl Row {
    /// `ttl`: whether the initial TTL counts.
    fn fits(&self, look: &Look<'_>, ttl: bool) -> bool {
        let options = match self.options {
            Begin(begin) => look.options.starts_with(begin),
            Are(all) => look.options == all,
        };
        let window = match (self.window, look.window) {
            (Windows::Any, _) => true,
            (Windows::Whole, Window::Segments(_) | Window::FullSegments(_)) => true,
            // The loopback's segments of 65,495 bytes, of which Linux before 4.19 takes two thirds.
            (Windows::Whole, Window::Bytes(n)) => n == 43_690,
            (Windows::Bytes(want), Window::Bytes(n)) => n == want,
            (Windows::Uneven, Window::Bytes(n)) => n != u16::MAX,
            _ => false,
        };
        options
            && window
            && self.role.is_none_or(|role| role == look.role)
            && (!ttl || self.ttl.is_none_or(|initial| initial == look.initial_ttl))
            && self.dont_fragment.is_none_or(|df| look.v6 || df == look.dont_fragment)
    }
}

/// Every family that sends such a packet, without doubles.
pub(super) fn families(look: &Look<'_>) -> Vec<Family> {
    let mut all: Vec<Family> = ROWS.iter().filter(|row| row.fits(look, true)).map(|row| row.family).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The TTL that a packet with these options began with, whatever is left of it, where all families that write them so
/// agree.
pub(super) fn initial_ttl(look: &Look<'_>) -> Option<u8> {
    let mut all = ROWS.iter().filter(|row| row.fits(look, false)).map(|row| row.ttl);
    let first = all.next()??;
    all.all(|ttl| ttl == Some(first)).then_some(first)
}
