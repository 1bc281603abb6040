//! The messages of SOCKS 4, 4a and 5, and the header of its datagrams.
//!
//! Reads: bytes off the front. Does not: know who has sent what, or when.
//!
//! Reference: RFC 1928, Lee's "SOCKS: A protocol for TCP proxy across firewalls" and "SOCKS 4A", Tor's
//! socks-extensions.txt.

use super::text::printable;
use crate::base::Reader;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Version 5's method for everybody.
pub const NO_AUTH: u8 = 0;
/// GSSAPI (RFC 1961).
pub const GSSAPI: u8 = 1;
/// User name and password (RFC 1929).
pub const PASSWORD: u8 = 2;
/// The proxy wants none of the methods offered.
pub const NONE_ACCEPTABLE: u8 = 0xff;

/// Connect to that address.
pub const CONNECT: u8 = 1;
/// Wait for a connection from there.
pub const BIND: u8 = 2;
/// Relay datagrams.
pub const ASSOCIATE: u8 = 3;

/// A host name is at most so long in 4a and 5; user names as well (RFC 1929 has one byte for the length).
pub const TEXT_LIMIT: usize = 255;
/// Methods a client may offer: a few are assigned (IANA SOCKS Methods), no client is known to offer more.
const METHODS_LIMIT: u8 = 16;

/// Something read from bytes that may not be all there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<T> {
    /// It is this.
    Whole(T),
    /// It may be, once there is more of it.
    More,
    /// It is not, whatever follows.
    Wrong,
}

impl<T> Part<T> {
    /// Whether all of it is there.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

/// What a client of version 5 begins with.
#[derive(Debug, Clone, Copy)]
pub struct Greeting<'a> {
    /// The methods offered.
    pub methods: &'a [u8],
    /// Bytes of the greeting.
    pub size: usize,
}

impl<'a> Greeting<'a> {
    /// Reads it off the front.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Part<Self> {
        let (version, count) = (bytes.first().copied(), bytes.get(1).copied());
        if version.is_some_and(|v| v != 5) || count.is_some_and(|n| n == 0 || n > METHODS_LIMIT) {
            return Part::Wrong;
        }
        let held = bytes.get(2..).unwrap_or_default();
        let methods = held.get(..usize::from(count.unwrap_or(u8::MAX)));
        let shown = methods.unwrap_or(held);
        // IANA has assigned 0 to 9; 0x80 to 0xfe are for private use. Nobody offers one twice.
        let odd = |(i, m): (usize, &u8)| {
            matches!(m, 10..=0x7f | 0xff) || shown.get(..i).is_some_and(|before| before.contains(m))
        };
        match methods {
            _ if shown.iter().enumerate().any(odd) => Part::Wrong,
            Some(methods) => Part::Whole(Self { methods, size: methods.len() + 2 }),
            None => Part::More,
        }
    }

    /// Whether a proxy may answer this greeting with that method.
    #[must_use]
    pub fn allows(&self, method: u8) -> bool {
        method == NONE_ACCEPTABLE || self.methods.contains(&method)
    }
}

/// An address as version 5 writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Who.
    pub host: Host,
    /// At which port.
    pub port: u16,
}

/// Who is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// By address.
    Ip(IpAddr),
    /// By a name that the proxy resolves.
    Name(String),
}

impl Address {
    /// Reads on with an address and its port.
    pub fn read(reader: &mut Reader<'_>) -> Part<Self> {
        let host = match reader.u8() {
            None => return Part::More,
            Some(1) => reader.array::<4>().map(|ip| Host::Ip(IpAddr::from(ip))),
            Some(4) => reader.array::<16>().map(|ip| Host::Ip(IpAddr::from(ip))),
            Some(3) => match reader.rest().first() {
                Some(0) => return Part::Wrong,
                _ => reader.block_u8().map(|name| Host::Name(printable(name.rest(), TEXT_LIMIT))),
            },
            Some(_) => return Part::Wrong,
        };
        match (host, reader.u16()) {
            (Some(Host::Name(name)), _) if !name.bytes().all(|b| b.is_ascii_graphic()) => Part::Wrong,
            (Some(host), Some(port)) => Part::Whole(Self { host, port }),
            _ => Part::More,
        }
    }

    /// Whether a datagram from `other` may answer one sent to this: a name has been resolved by then.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        self.port == other.port && (self.host == other.host || matches!((&self.host, &other.host), (Host::Name(_), _)))
    }

    /// As address and port, unless it is a name.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A request or a reply of version 5: they have one form.
#[derive(Debug)]
pub struct Request {
    /// Command or reply code.
    pub code: u8,
    /// What is asked for, or what the proxy uses for it.
    pub address: Address,
    /// Bytes of the message.
    pub size: usize,
}

impl Request {
    /// Reads a request, or a reply.
    #[must_use]
    pub fn read(bytes: &[u8], asks: bool) -> Part<Self> {
        let known = |code: u8| {
            if asks { command_name(code).is_some() } else { matches!(code, 0..=8 | 0xf0..=0xf7) }
        };
        let mut reader = Reader::new(bytes);
        let head = [reader.u8(), reader.u8(), reader.u8()];
        if matches!(head[0], Some(v) if v != 5)
            || head[1].is_some_and(|code| !known(code))
            || matches!(head[2], Some(reserved) if reserved != 0)
        {
            return Part::Wrong;
        }
        match (head, Address::read(&mut reader)) {
            ([_, Some(code), Some(_)], Part::Whole(address)) => {
                Part::Whole(Self { code, address, size: bytes.len() - reader.len() })
            }
            (_, Part::Wrong) => Part::Wrong,
            _ => Part::More,
        }
    }
}

/// A request of version 4 or 4a.
#[derive(Debug)]
pub struct Request4 {
    /// Command.
    pub code: u8,
    /// What is asked for.
    pub address: Address,
    /// Who asks, as he says.
    pub user: String,
    /// The proxy is to resolve the name (4a).
    pub named: bool,
    /// Bytes of the message.
    pub size: usize,
}

/// Bytes of version 4's answer.
pub const ANSWER_4: usize = 8;

impl Request4 {
    /// Reads it off the front.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Part<Self> {
        let [version, code] = [bytes.first().copied(), bytes.get(1).copied()];
        if version.is_some_and(|v| v != 4) || code.is_some_and(|c| command_name(c).is_none() || c == ASSOCIATE) {
            return Part::Wrong;
        }
        let mut reader = Reader::new(bytes);
        let (Some(_), Some(port), Some(ip)) = (reader.u16(), reader.u16(), reader.array::<4>()) else {
            return Part::More;
        };
        let mut text = || text_to_nul(&mut reader);
        let user = match text() {
            Part::Whole(user) => user,
            Part::More => return Part::More,
            Part::Wrong => return Part::Wrong,
        };
        // 0.0.0.x stands for a name that follows.
        let named = matches!(ip, [0, 0, 0, last] if last > 0);
        let host = if named {
            match text() {
                Part::Whole(name) if !name.is_empty() => Host::Name(name),
                Part::Whole(_) | Part::Wrong => return Part::Wrong,
                Part::More => return Part::More,
            }
        } else {
            Host::Ip(IpAddr::V4(Ipv4Addr::from(ip)))
        };
        let address = Address { host, port };
        let size = bytes.len() - reader.len();
        Part::Whole(Self { code: code.unwrap_or_default(), address, user, named, size })
    }
}

/// Printable text up to a NUL.
fn text_to_nul(reader: &mut Reader<'_>) -> Part<String> {
    let window = reader.rest().get(..=TEXT_LIMIT).unwrap_or(reader.rest());
    let end = window.iter().position(|b| *b == 0);
    let text = window.get(..end.unwrap_or(window.len())).unwrap_or_default();
    if !text.iter().all(|b| matches!(b, 0x20..=0x7e | 0x80..)) || (end.is_none() && window.len() > TEXT_LIMIT) {
        return Part::Wrong;
    }
    let Some(end) = end else { return Part::More };
    let text = printable(text, TEXT_LIMIT);
    reader.take(end + 1);
    Part::Whole(text)
}

/// What stands before a relayed datagram (RFC 1928, 7).
#[derive(Debug)]
pub struct UdpHeader {
    /// Who is at the far end.
    pub far: Address,
}

impl UdpHeader {
    /// Reads it, if a datagram for somebody stands behind it.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        // Fragments are hardly ever supported, and a number other than zero would fit too much.
        let ([0, 0], 0) = (reader.array()?, reader.u8()?) else { return None };
        let Part::Whole(far) = Address::read(&mut reader) else { return None };
        let reachable = match far.host {
            // "This" network, loopback, multicast and what lies beyond are nobody's far end.
            Host::Ip(IpAddr::V4(ip)) => !ip.is_loopback() && (1..224).contains(&ip.octets()[0]),
            Host::Ip(IpAddr::V6(ip)) => !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast(),
            Host::Name(_) => true,
        };
        (reachable && far.port != 0 && !reader.is_empty()).then_some(Self { far })
    }
}

/// A command's name; `None` if there is no such command.
#[must_use]
pub const fn command_name(code: u8) -> Option<&'static str> {
    Some(match code {
        CONNECT => "connect",
        BIND => "bind",
        ASSOCIATE => "associate",
        0xf0 => "resolve",
        0xf1 => "resolve-ptr",
        _ => return None,
    })
}

/// A method's name (IANA SOCKS Methods).
#[must_use]
pub fn method_name(method: u8) -> Cow<'static, str> {
    Cow::Borrowed(match method {
        NO_AUTH => "none",
        GSSAPI => "gssapi",
        PASSWORD => "password",
        3 => "chap",
        5 => "cram",
        6 => "tls",
        7 => "nds",
        8 => "multi",
        9 => "json",
        NONE_ACCEPTABLE => "refused",
        _ => return Cow::Owned(format!("method-{method}")),
    })
}

/// A reply's name (RFC 1928, 6; from 0xf0 on Tor's extensions).
#[must_use]
pub fn reply_name(code: u8) -> Cow<'static, str> {
    Cow::Borrowed(match code {
        0 => "succeeded",
        1 => "failed",
        2 => "not-allowed",
        3 => "network-unreachable",
        4 => "host-unreachable",
        5 => "refused",
        6 => "expired",
        7 => "unknown-command",
        8 => "unknown-address-type",
        _ => return Cow::Owned(format!("reply-{code}")),
    })
}
