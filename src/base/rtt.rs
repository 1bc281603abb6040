//! One measured round trip between the capture point and one end of a flow.

use super::{Beat, FlowDigest, Timestamp};
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
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

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
    /// Data and its acknowledgment, as long as the connection lasts: answered by the same stack.
    TcpData,
    /// WireGuard handshake response to first data.
    WireGuard,
    /// OpenVPN control channel.
    OpenVpn,
    /// IKE exchanges.
    Ike,
    /// L2TP control connection.
    L2tp,
    /// PPTP: its control connection, and acknowledgments in its GRE.
    Pptp,
    /// The handshake of a mesh tunnel (tinc, Nebula, Tailscale's disco), and data of those and of tunnels in TLS.
    Overlay,
    /// QUIC handshake.
    Quic,
    /// RDP-UDP handshake.
    RdpUdp,
    /// RDP connection sequence.
    Rdp,
    /// STUN and TURN transactions, ICE's checks among them.
    Stun,
    /// DTLS handshake.
    Dtls,
    /// TLS handshake over TCP.
    Tls,
    /// SSH key exchange.
    Ssh,
    /// SPICE link and pings.
    Spice,
    /// X11 connection setup.
    X11,
    /// XDMCP question and answer.
    Xdmcp,
    /// Telnet option negotiation.
    Telnet,
    /// What a client of HTTP/1 does when the server tells it to.
    Http,
    /// Pings of a WebSocket.
    WebSocket,
    /// RustDesk: registration and key exchange.
    RustDesk,
    /// RFB handshake.
    Rfb,
    /// Whoever looks at a remote screen, whatever carries it.
    RemoteEcho,
}

impl Layer {
    /// Every layer, lowest first.
    pub const ALL: [Self; 24] = [
        Self::TcpHandshake,
        Self::TcpData,
        Self::WireGuard,
        Self::OpenVpn,
        Self::Ike,
        Self::L2tp,
        Self::Pptp,
        Self::Overlay,
        Self::Quic,
        Self::RdpUdp,
        Self::Rdp,
        Self::Stun,
        Self::Dtls,
        Self::Tls,
        Self::Ssh,
        Self::Spice,
        Self::X11,
        Self::Xdmcp,
        Self::Telnet,
        Self::Http,
        Self::WebSocket,
        Self::RustDesk,
        Self::Rfb,
        Self::RemoteEcho,
    ];

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcpHandshake => "tcp-handshake",
            Self::TcpData => "tcp-data",
            Self::WireGuard => "wireguard",
            Self::OpenVpn => "openvpn",
            Self::Ike => "ike",
            Self::L2tp => "l2tp",
            Self::Pptp => "pptp",
            Self::Overlay => "overlay",
            Self::Quic => "quic",
            Self::RdpUdp => "rdp-udp",
            Self::Rdp => "rdp",
            Self::Stun => "stun",
            Self::Dtls => "dtls",
            Self::Tls => "tls",
            Self::Ssh => "ssh",
            Self::Spice => "spice",
            Self::X11 => "x11",
            Self::Xdmcp => "xdmcp",
            Self::Telnet => "telnet",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::RustDesk => "rustdesk",
            Self::Rfb => "rfb",
            Self::RemoteEcho => "remote-echo",
        }
    }

    /// Who closes the loop (who answers), for a reader who is no specialist.
    #[must_use]
    pub const fn closed_by(self) -> &'static str {
        match self {
            Self::TcpHandshake | Self::TcpData => "whatever ends TCP (machine or proxy)",
            Self::WireGuard | Self::OpenVpn | Self::Ike | Self::L2tp | Self::Pptp | Self::Overlay => {
                "the far end of the tunnel"
            }
            Self::Quic => "the program that speaks QUIC",
            Self::RdpUdp | Self::Rdp | Self::Spice | Self::RustDesk | Self::Rfb => "the remote-desktop program",
            Self::Stun => "the program in the call",
            Self::Dtls => "the program that holds the DTLS keys",
            Self::Tls => "the program that holds the TLS keys",
            Self::Ssh => "the SSH program",
            Self::X11 | Self::Xdmcp => "the X display, or its program",
            Self::Telnet => "the terminal program",
            Self::Http => "the program that speaks HTTP",
            Self::WebSocket => "the program that speaks WebSocket",
            Self::RemoteEcho => "whoever looks at the remote screen",
        }
    }
}

/// By the word used in records: the order of the layers may change, and a word that is stored still means the same.
impl serde::Serialize for Layer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Layer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = super::words::one(deserializer)?;
        let layer = Self::ALL.into_iter().find(|layer| layer.name() == word);
        layer.ok_or_else(|| serde::de::Error::custom(format!("no layer is called {word}")))
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

/// What tells round trips apart that are summed up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RttKind {
    /// See [`RttSample::side`].
    pub side: Side,
    /// See [`RttSample::layer`].
    pub layer: Layer,
    /// See [`RttSample::method`].
    pub method: &'static str,
    /// See [`RttSample::ambiguous`].
    pub ambiguous: bool,
}

impl RttKind {
    /// Methods whose answer may have waited for a timer or for something to say. They count for minima, which waiting
    /// can't make too short, and stay out of quantiles.
    const WAITING: [&str; 2] = ["lone-ack", "timestamp"];

    /// Whether the answer may have waited.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        Self::WAITING.contains(&self.method)
    }

    /// Of data that go on: as many as there are data, and not of one moment as those of a handshake.
    #[must_use]
    pub fn is_of_data(&self) -> bool {
        self.layer == Layer::TcpData || self.method == Self::DATA_ECHO
    }

    /// The method that measures through the data of a tunnel.
    pub const DATA_ECHO: &'static str = "data-echo";

    /// Methods whose answer a program gives by itself, without asking a disk, a smart card, another server or a person:
    /// a cookie or a key share is sent back, an acknowledgment is due (`docs/meters.md`, "longer by").
    const UNTHINKING: [(Layer, &'static str); 10] = [
        (Layer::Tls, "hello-retry"),
        (Layer::Tls, "server-finished"),
        (Layer::Tls, "settings-ack"),
        (Layer::Ssh, "banner"),
        (Layer::Ssh, "service-accept"),
        (Layer::OpenVpn, "server-reset"),
        (Layer::OpenVpn, "control-ack"),
        (Layer::Spice, "ping"),
        (Layer::Spice, "set-ack"),
        (Layer::WebSocket, "ping"),
    ];

    /// Whether the answering program has nothing to think about.
    #[must_use]
    pub fn is_unthinking(&self) -> bool {
        Self::UNTHINKING.contains(&(self.layer, self.method))
    }
}

impl RttSample {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> RttKind {
        RttKind { side: self.side, layer: self.layer, method: self.method, ambiguous: self.ambiguous }
    }
}

/// Five minutes of capture time, counted from 1970. Queues forget themselves between windows and not within
/// (Allman and Paxson, SIGCOMM 1999: congestion is correlated over minutes), so windows tell independent samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Window(pub i32);

impl Window {
    const NANOS: i64 = 300_000_000_000;

    /// The window of a time.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(i32::try_from(at.nanos().div_euclid(Self::NANOS)).unwrap_or(i32::MAX))
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_nanos(i64::from(self.0).saturating_mul(Self::NANOS))
    }
}

/// Round trips of one kind and one flow, of one window.
#[derive(Debug, Clone, Copy)]
pub struct RttPart<'a> {
    /// What they are.
    pub kind: RttKind,
    /// The window.
    pub window: Window,
    /// The first and the last loop that closed.
    pub span: (Timestamp, Timestamp),
    /// Their lengths.
    pub digest: &'a FlowDigest,
    /// The shortest of each five seconds, ascending; empty for kinds that [`Beat::counts`] leaves out.
    pub beats: &'a [Beat],
}

/// What a meter counted of the data segments of one end of a TCP connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpTally {
    /// All with payload.
    pub data: u32,
    /// Sent again, and the first never came past: lost between the sender and the capture point.
    pub lost_before: u32,
    /// Sent again after it had come past: lost behind the capture point, or thought to be.
    pub lost_after: u32,
    /// Came past after what was sent later.
    pub out_of_order: u32,
    /// Copies made by a mirror, with payload or without; they count nowhere else.
    pub copies: u32,
}

impl TcpTally {
    /// All that were sent again.
    #[must_use]
    pub const fn retransmitted(&self) -> u32 {
        self.lost_before.saturating_add(self.lost_after)
    }

    /// Adds another's.
    pub const fn add(&mut self, other: &Self) {
        self.data = self.data.saturating_add(other.data);
        self.lost_before = self.lost_before.saturating_add(other.lost_before);
        self.lost_after = self.lost_after.saturating_add(other.lost_after);
        self.out_of_order = self.out_of_order.saturating_add(other.out_of_order);
        self.copies = self.copies.saturating_add(other.copies);
    }
}
