//! One measured round trip between the capture point and one end of a flow.

use super::Timestamp;
use std::time::Duration;

/// Which end of the session a round trip goes to, seen from the capture point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// To the client and back.
    Client,
    /// To the server and back.
    Server,
}

impl Side {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The layer whose endpoints close the measured loop, lowest rung of the ladder first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Layer {
    /// SYN, SYN-ACK, ACK: answered by whatever stack ends the TCP connection.
    TcpHandshake,
    /// WireGuard handshake response to first data.
    WireGuard,
    /// OpenVPN control channel.
    OpenVpn,
    /// QUIC handshake.
    Quic,
    /// STUN and TURN transactions, ICE's checks among them.
    Stun,
    /// DTLS handshake.
    Dtls,
    /// TLS handshake over TCP.
    Tls,
    /// SSH key exchange.
    Ssh,
}

impl Layer {
    /// Every layer, lowest first.
    pub const ALL: [Self; 8] =
        [Self::TcpHandshake, Self::WireGuard, Self::OpenVpn, Self::Quic, Self::Stun, Self::Dtls, Self::Tls, Self::Ssh];

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcpHandshake => "tcp-handshake",
            Self::WireGuard => "wireguard",
            Self::OpenVpn => "openvpn",
            Self::Quic => "quic",
            Self::Stun => "stun",
            Self::Dtls => "dtls",
            Self::Tls => "tls",
            Self::Ssh => "ssh",
        }
    }
}

/// One round trip. It is never shorter than the path's true round trip; `method` says what may make it longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RttSample {
    /// When the loop closed.
    pub at: Timestamp,
    /// The end it goes to.
    pub side: Side,
    /// Its length.
    pub rtt: Duration,
    /// Where the loop is closed.
    pub layer: Layer,
    /// How it was taken; documented in `docs/meters.md`.
    pub method: &'static str,
    /// The asking packet was seen more than once, so the answer may belong to another copy (Karn's problem).
    /// Such a sample is told but never counts as evidence.
    pub ambiguous: bool,
}
