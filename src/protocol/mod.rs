//! Which protocol a flow speaks, and what its handshake says.
//!
//! A leaf room: one file a protocol, none imports another. Each declares one [`Protocol`] and stands in [`REGISTRY`].
//! Emits: [`Event`]s with an open vocabulary of attributes, so that no consumer changes when a protocol is added.
//! Does not: weigh, judge, keep state beyond the handshake, or fail: malformed bytes are [`EventKind::Violation`]s.
//!
//! To add one: the file, its `mod` line and its [`REGISTRY`] line here, a page in `docs/protocols/`.

mod amt;
mod anyconnect;
mod anydesk;
mod ard;
mod calls;
mod cloud_desktops;
pub mod codec;
mod dameware;
mod dhcp;
mod dns;
mod dns_tunnel;
mod dtls;
mod esp;
mod frp;
mod gamestream;
mod gre;
mod guacamole;
mod http;
mod ica;
mod icmp_tunnel;
mod ike;
mod ipmi;
mod kerberos;
mod kvm;
mod l2tp;
mod meshcentral;
mod nbns;
mod nebula;
mod nomachine;
mod nx;
mod obfuscated;
mod openvpn;
mod openvpn_scrambled;
mod pptp;
mod quic;
mod quic_proxies;
mod radius;
mod radmin;
mod rd_gateway;
mod rdp;
mod rdp_udp;
mod remote_tools;
mod rfb;
mod rlogin;
mod rtp;
mod rustdesk;
mod sip;
mod smb;
mod socks;
mod softether;
mod spice;
mod ssh;
mod sslvpn;
mod starttls;
mod stun;
mod teamviewer;
mod telnet;
mod teredo;
#[cfg(test)]
pub(crate) mod testkit;
mod tinc;
mod tls;
mod tls_in_tls;
mod tor;
mod tunnel_services;
mod vmware_authd;
mod vpn_services;
mod websocket;
mod wireguard;
mod x11;
mod xdmcp;
mod xpra;
mod zerotier;

use crate::base::{Direction, Ends, Layer, Timestamp};

pub use crate::base::{
    CARGO, CARGO_PROTOCOL, Claim, Event, EventKind, Events, Fault, Gait, Key, Link, Loop, Piece, Said, Shape, Shows,
    Sign,
};

/// All protocols, in the order they are tried when no port gives a hint: exact openings first.
pub static REGISTRY: &[&Protocol] = &[
    &ssh::SSH,
    &wireguard::TAILSCALE,
    &wireguard::WIREGUARD,
    &ike::IKE,
    &anyconnect::ANYCONNECT,
    &softether::SOFTETHER,
    &l2tp::L2TP,
    &pptp::PPTP,
    &gre::GRE,
    &gre::ERSPAN,
    &esp::AH,
    &nebula::NEBULA,
    &zerotier::ZEROTIER,
    &teredo::TEREDO,
    &quic::PROTOCOL,
    &openvpn::OPENVPN,
    &tinc::TINC,
    &rdp::RDP,
    &rdp_udp::RDP_UDP,
    &rfb::RFB,
    &spice::SPICE,
    &x11::X11,
    &xdmcp::XDMCP,
    &amt::AMT,
    &ipmi::IPMI,
    &ipmi::RMCP,
    &ard::ARD,
    &dhcp::DHCP,
    &nbns::NBNS,
    &ica::ICA,
    &ica::EDT,
    &nomachine::NOMACHINE,
    &radmin::RADMIN,
    &guacamole::GUACAMOLE,
    &gamestream::GAMESTREAM,
    &vmware_authd::VMWARE_AUTHD,
    &dameware::DAMEWARE,
    &xpra::XPRA,
    &tls::PROTOCOL,
    &nx::NX,
    &rd_gateway::RD_GATEWAY,
    &teamviewer::TEAMVIEWER,
    &meshcentral::MESHCENTRAL,
    &http::HTTP_CONNECT,
    &http::HTTP,
    &sip::SIP,
    &socks::SOCKS,
    &frp::FRP,
    &frp::BORE,
    &starttls::SMTP,
    &starttls::IMAP,
    &starttls::POP3,
    &starttls::FTP,
    &starttls::XMPP,
    &starttls::POSTGRESQL,
    &starttls::MYSQL,
    &smb::SMB,
    &kerberos::KERBEROS,
    &radius::RADIUS,
    &telnet::TELNET,
    &rlogin::RLOGIN,
    &rlogin::RSH,
    &rlogin::REXEC,
    &dns::DNS,
    &dns::MDNS,
    &dns::LLMNR,
    &rustdesk::RUSTDESK,
    &remote_tools::SCREENCONNECT,
    &remote_tools::REMOTE_UTILITIES,
    &remote_tools::AMMYY,
    &anydesk::ANYDESK,
    &icmp_tunnel::ICMP_TUNNEL,
    &websocket::WEBSOCKET,
    &rfb::REALVNC,
    &kvm::PIKVM,
    &kvm::GLINET_COMET,
    &kvm::JETKVM,
    &kvm::NANOKVM,
    &kvm::TINYPILOT,
    &kvm::BLIKVM,
    &kvm::IDRAC,
    &kvm::ILO,
    &kvm::SUPERMICRO,
    &openvpn_scrambled::OPENVPN_SCRAMBLED,
    &cloud_desktops::PCOIP,
    &cloud_desktops::DCV,
    &cloud_desktops::AZURE_VIRTUAL_DESKTOP,
    &cloud_desktops::BLAST,
    &stun::TURN,
    &stun::STUN,
    &dtls::DTLS,
    &rtp::RTP,
    &calls::WEBRTC,
    &calls::ZOOM,
    &calls::TEAMS,
    &calls::GOOGLE_MEET,
    &calls::WEBEX,
    &calls::GOTOMEETING,
    &calls::SLACK,
    &calls::DISCORD,
    &calls::WHATSAPP,
    &calls::SIGNAL,
    &calls::MESSENGER,
    // Looked for at its ports alone where it is in UDP, and late.
    &esp::ESP,
    // Last of the streams: it is what shows no other format.
    &obfuscated::OBFUSCATED,
    // Known by their signs alone: these need no place among the candidates, and stand last.
    &remote_tools::CHROME_REMOTE_DESKTOP,
    &remote_tools::PARSEC,
    &remote_tools::SPLASHTOP,
    &remote_tools::LOGMEIN_RESCUE,
    &remote_tools::LOGMEIN,
    &remote_tools::GOTOMYPC,
    &remote_tools::GOTOASSIST,
    &remote_tools::GOTO_RESOLVE,
    &remote_tools::ZOHO_ASSIST,
    &remote_tools::BEYONDTRUST,
    &remote_tools::DWSERVICE,
    &remote_tools::SUPREMO,
    &remote_tools::ANYVIEWER,
    &remote_tools::TODESK,
    &remote_tools::SUNLOGIN,
    &remote_tools::ULTRAVIEWER,
    &remote_tools::ISL_ONLINE,
    &remote_tools::REMOTEPC,
    &remote_tools::GETSCREEN,
    &remote_tools::HOPTODESK,
    &remote_tools::IPERIUS,
    &remote_tools::AEROADMIN,
    &remote_tools::GOTOHTTP,
    &remote_tools::JUMP_DESKTOP,
    &remote_tools::FIXME_IT,
    &remote_tools::PCVISIT,
    &remote_tools::SHOWMYPC,
    &remote_tools::SIMPLEHELP,
    &remote_tools::QUICK_ASSIST,
    &remote_tools::NETSUPPORT,
    &remote_tools::ATERA,
    &remote_tools::NINJAONE,
    &remote_tools::ACTION1,
    &remote_tools::LEVEL,
    &remote_tools::TACTICAL_RMM,
    &remote_tools::KASEYA,
    &remote_tools::TAKE_CONTROL,
    &remote_tools::DATTO_RMM,
    &remote_tools::CONNECTWISE_AUTOMATE,
    &remote_tools::PULSEWAY,
    &remote_tools::SYNCRO,
    &remote_tools::REMOTIX,
    &remote_tools::ALPEMIX,
    &remote_tools::DESKIN,
    &remote_tools::DISTANT_DESKTOP,
    &remote_tools::DESKROLL,
    &remote_tools::FASTVIEWER,
    &remote_tools::FLEETDECK,
    &remote_tools::HELPWIRE,
    &remote_tools::INSTANT_HOUSECALL,
    &remote_tools::JUMPCLOUD_ASSIST,
    &remote_tools::LITEMANAGER,
    &remote_tools::MIKOGO,
    &remote_tools::NETOP,
    &remote_tools::NTRSUPPORT,
    &remote_tools::REMOTECALL,
    &remote_tools::REMOTEVIEW,
    &remote_tools::RUDESKTOP,
    &remote_tools::SCREENMEET,
    &remote_tools::TRUSTCONNECT,
    &remote_tools::XEOX,
    &sslvpn::SSTP,
    &sslvpn::GLOBALPROTECT,
    &sslvpn::FORTINET,
    &sslvpn::PULSE,
    &sslvpn::NETEXTENDER,
    &sslvpn::CHECK_POINT,
    &dns_tunnel::DNS_TUNNEL,
    &tls_in_tls::TLS_IN_TLS,
    &tor::TOR,
    &quic_proxies::HYSTERIA2,
    &quic_proxies::TUIC,
    &tunnel_services::NGROK,
    &tunnel_services::CLOUDFLARED,
    &tunnel_services::DEV_TUNNELS,
    &tunnel_services::CHISEL,
    &tunnel_services::WSTUNNEL,
    &vpn_services::WARP,
    &vpn_services::NORDVPN,
    &vpn_services::PROTONVPN,
    &vpn_services::MULLVAD,
    &vpn_services::EXPRESSVPN,
    &vpn_services::SURFSHARK,
    &vpn_services::WINDSCRIBE,
    &vpn_services::TUNNELBEAR,
    &vpn_services::CYBERGHOST,
    &vpn_services::PIA,
    &vpn_services::HOTSPOT_SHIELD,
    &vpn_services::OPERA_VPN,
    &vpn_services::SHELLFIRE,
    &vpn_services::ASTRILL,
    &vpn_services::HOLA,
    &vpn_services::PSIPHON,
    &vpn_services::LANTERN,
    &vpn_services::PRIVATE_RELAY,
    &vpn_services::NORTON_VPN,
    &vpn_services::NETBIRD,
    &vpn_services::HAMACHI,
];

/// Attributes that name a person or a machine that is a person's: written as pseudonyms where those are asked for.
/// Names of servers stay as they are: they name a service. `tests/attributes.rs` wants each key that sounds like a name
/// to stand here or to be said harmless.
pub const IDENTITY_KEYS: &[Key] = &[
    "dhcp.client_hardware",
    "dhcp.client_id",
    "dhcp.fqdn",
    "dhcp.host_name",
    "dns.announced",
    "frp.user",
    "ike.identity",
    "ike.responder_identity",
    "ipmi.user",
    "l2tp.client_host",
    "nbns.name",
    "pptp.client_host",
    "rd_gateway.target",
    "rdp.client_name",
    "rdp.cookie",
    "rdp.preconnection",
    "rexec.user",
    "rfb.desktop_name",
    "rfb.repeater_target",
    "rfb.xvp_target",
    "rlogin.client_user",
    "rlogin.user",
    "rsh.client_user",
    "rsh.user",
    "rustdesk.client_id",
    "rustdesk.hostname",
    "rustdesk.id",
    "rustdesk.target",
    "socks.user",
    "softether.ddns_name",
    "softether.host_name",
    "spice.vm_name",
    "spice.vm_uuid",
    "stun.username",
    "telnet.user",
    "telnet.x_display",
    "tinc.client_name",
    "tinc.server_name",
    "tls.client_cert_subject",
    "turn.username",
    "xdmcp.display",
    "xdmcp.host",
    "zerotier.address",
    "zerotier.peer",
];

/// Whether an attribute of a session names a person or a person's machine. On one link machines ask for each other by
/// name, so there a question names one, too.
#[must_use]
pub fn names_somebody(protocol: Option<&str>, key: Key) -> bool {
    IDENTITY_KEYS.contains(&key) || key == "dns.query" && matches!(protocol, Some("mdns" | "llmnr"))
}

/// The protocols whose flows are watched after their handshake, and how each reads what was counted.
pub static GAITS: &[&Gait] = &[&ssh::GAIT, &tls_in_tls::GAIT];

/// Sessions that gather flows which can't tell by themselves that they are part of one: a flow of the second protocol
/// between the same two addresses, at the same server port, belongs to one of the first that is there at the same time
/// (AnyConnect's TLS beside its DTLS, the datagrams of a tinc node beside its connection).
pub static GATHERERS: &[(&str, &str)] = &[("anyconnect", "tls"), ("tinc", "obfuscated")];

/// Sessions that set up a call over a flow of their own, by name, and the link that tells so: the service of a remote
/// desktop, and boxes whose screen is a call between browser and box.
pub static SIGNALLERS: &[(&str, Link)] = &[
    ("chrome-remote-desktop", Link::Signals("webrtc")),
    ("jetkvm", Link::Signals("webrtc")),
    ("pikvm", Link::SignalsHere("webrtc")),
    ("glinet-comet", Link::SignalsHere("webrtc")),
    ("nanokvm", Link::SignalsHere("webrtc")),
    ("tinypilot", Link::SignalsHere("webrtc")),
    ("blikvm", Link::SignalsHere("webrtc")),
];

/// Protocols whose messages travel in those of a WebSocket, one in each, where a stream would need frames of its own:
/// they are read there as datagrams.
pub static IN_MESSAGES: &[&str] = &["rustdesk"];

/// Protocols whose data are whole encrypted packets of a network inside, by name, and the layer of round trips through
/// them. Not those whose data show them in clear, or are a web site's as well (the portals of TLS gateways).
pub static TUNNELS: &[(&str, Layer)] = &[
    ("wireguard", Layer::WireGuard),
    ("tailscale", Layer::WireGuard),
    ("openvpn", Layer::OpenVpn),
    ("openvpn-scrambled", Layer::OpenVpn),
    ("ike", Layer::Ike),
    ("esp", Layer::Ike),
    ("anyconnect", Layer::Overlay),
    ("sstp", Layer::Overlay),
    ("softether", Layer::Overlay),
    ("tinc", Layer::Overlay),
    ("nebula", Layer::Overlay),
    ("zerotier", Layer::Overlay),
];

/// The layer of round trips through a protocol's data, if those are packets.
#[must_use]
pub fn tunnels_at(protocol: &Protocol) -> Option<Layer> {
    TUNNELS.iter().find(|(name, _)| *name == protocol.name).map(|(_, layer)| *layer)
}

/// Entries that only the beginning of a flow can show, by name: from its middle on, any encrypted stream looks random.
pub static FROM_THE_START: &[&str] = &["obfuscated"];

/// How flows of a protocol are read by their shape, if they are.
#[must_use]
pub fn gait_of(protocol: &Protocol) -> Option<&'static Gait> {
    GAITS.iter().copied().find(|gait| gait.protocol == protocol.name)
}

/// The entry of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Protocol> {
    REGISTRY.iter().copied().find(|p| p.name == name)
}

/// One protocol: how to recognise it and who reads it.
#[derive(Debug)]
pub struct Protocol {
    /// Name in records, lower-case kebab.
    pub name: &'static str,
    /// What it is used for.
    pub category: Category,
    /// What carries it.
    pub carriers: &'static [Carrier],
    /// Ports that make it a candidate to try first; never a verdict.
    pub ports: &'static [u16],
    /// Every attribute key its analyzer may emit.
    pub attributes: &'static [Key],
    /// What gives it away inside another protocol (a name in TLS, an ALPN, a certificate): see [`Sign`].
    pub signs: &'static [Sign],
    /// Its analyzer stays for the whole flow instead of for the handshake, and costs next to nothing a piece: what it
    /// reads does not count against the budget.
    pub lasting: bool,
    /// Looks at the first bytes. Cheap: runs for each new flow.
    pub probe: fn(&Opening<'_>) -> Probe,
    /// Makes the reader of a flow that matched (or was handed over by another protocol).
    pub analyzer: fn() -> Box<dyn Analyzer>,
}

impl Protocol {
    /// An entry that no probe ever matches: it is known by its signs in what carries it, whose reader reads.
    pub(crate) const fn by_signs(name: &'static str, category: Category, signs: &'static [Sign]) -> Self {
        Self {
            name,
            category,
            carriers: &[],
            ports: &[],
            attributes: &[],
            signs,
            lasting: false,
            probe: |_| Probe::NoMatch,
            analyzer: || Box::new(Unread),
        }
    }
}

/// The reader of entries that are known by signs: there is nothing to read outside of the carrier.
#[derive(Debug)]
struct Unread;

impl Analyzer for Unread {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        events.settled(pdu.at, pdu.dir);
    }
}

/// What a session is used for (the contract's `category`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Category {
    /// A screen driven from afar.
    RemoteDesktop,
    /// A shell.
    RemoteShell,
    /// A keyboard-video-mouse box.
    Kvm,
    /// A tunnel for packets.
    Vpn,
    /// A relay for connections.
    Proxy,
    /// Calls.
    Conferencing,
    /// Who somebody is.
    Identity,
    /// The web.
    Web,
    /// Anything else.
    Other,
}

impl Category {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RemoteDesktop => "remote-desktop",
            Self::RemoteShell => "remote-shell",
            Self::Kvm => "kvm",
            Self::Vpn => "vpn",
            Self::Proxy => "proxy",
            Self::Conferencing => "conferencing",
            Self::Identity => "identity",
            Self::Web => "web",
            Self::Other => "other",
        }
    }
}

/// What carries a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// An ordered byte stream (TCP).
    Stream,
    /// Datagrams (UDP): one PDU is one whole datagram.
    Datagram,
    /// Packets of another IP protocol, by its number (ESP is 50): one PDU is what the IP packet carries. Of ICMP (1
    /// and 58) it is what follows the checksum; type and code of the flow's first packet are its ports.
    Ip(u8),
}

/// What of a flow a probe gets to see.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Stream or datagrams.
    pub carrier: Carrier,
    /// Stream: the first bytes each end sent, as far as seen. Datagrams and packets: the newest one of each end. Empty
    /// when none.
    pub sent: Ends<&'a [u8]>,
    /// Datagrams and packets: what the end of the newest one sent before it, where somebody wanted to see more then.
    /// Empty for streams.
    pub before: &'a [u8],
    /// The end that sent the newest bytes.
    pub newest: Direction,
    /// Originator's and responder's port.
    pub ports: Ends<u16>,
}

/// A probe's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It is this protocol: give the flow to its analyzer. Said on one direction alone only if the bytes are
    /// distinctive; the analyzer [confirms](EventKind::Confirmed) once both ends agree, or takes it back.
    Match,
    /// It may be; show more bytes.
    NeedMore,
    /// It is not, whatever follows.
    NoMatch,
}

/// A piece of what one end sent: the next bytes of a stream, or a whole datagram.
#[derive(Debug, Clone, Copy)]
pub struct Pdu<'a> {
    /// When it passed the capture point. For a stream: when the last missing byte before it had passed.
    pub at: Timestamp,
    /// Who sent it.
    pub dir: Direction,
    /// The bytes. A stream may be cut anywhere; analyzers must give the same events for any cut.
    pub bytes: &'a [u8],
    /// Stream or datagram.
    pub carrier: Carrier,
    /// Bytes of a datagram that the snap length cut off; 0 for streams.
    pub missing: u32,
}

/// Reads one flow of one protocol.
pub trait Analyzer: Send {
    /// The next piece.
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events);

    /// `len` bytes of the stream from `dir` were never captured. The default gives up.
    fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, events: &mut Events) {
        let _ = len;
        events.settled(at, dir);
    }

    /// The flow has ended.
    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        let _ = (at, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How the streams of some protocols begin, so that random bytes get past the first one.
    const BEGINNINGS: &[&[u8]] = &[
        b"",
        b"SSH-2.0-x\r\n",
        b"hello\r\nSSH-2.0-x\r\n",
        b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
        b"\x03\0\0\x0b\x06\xd0\0\0\x12\x34\0",
        b"RFB 003.008\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"CONNECT a:22 HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"\0\0\x12\x04\0\0\0\0\0",
        b"\0\x0e\x38abcdefgh\0\0\0\0\0",
        b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01",
        b"220 mail.example ESMTP\r\n",
        b"EHLO client.example\r\n",
        b"* OK ready\r\n",
        b"a1 CAPABILITY\r\n",
        b"+OK ready\r\n",
        b"CAPA\r\n",
        b"<?xml version='1.0'?><stream:stream to='example'>",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x4a\0\0\0\x0a8.0.36\0",
        b"REDQ\x02\0\0\0\x02\0\0\0\x16\0\0\0",
        b"l\0\x0b\0\0\0\0\0\0\0\0\0",
        b"\x01\0\x0b\0\0\0\0\0",
        b"\xff\xfd\x18\xff\xfb\x01",
        b"\xff\xfb\x18",
        b"\0ann\0root\0xterm/9600\0",
        b"1022\0ann\0root\0ls\0",
        b"NXPROXY-3.5.0 link=adsl ",
        b"RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\n",
        b"RPC_IN_DATA /rpc/rpcproxy.dll?localhost:3388 HTTP/1.1\r\n",
        b"\x14\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x16\x03",
        b"\x17\x24\x0a\x20\0",
        b"GET /din.aspx?s=0&client=DynGate",
        b"GET /agent.ashx HTTP/1.1\r\nUpgrade: websocket\r\n",
        b"\x0c\xa2\x01\0",
        b"\xa4\x92\x01\x26\x12\x24123e4567-e89b-12d3-a456-4266141740",
        b"\x48\x4a\x10\x0a\x06ab12cd\x12\x06zz99yy",
        b"\0\x9c\0\x01\x1a\x2b\x3c\x4d\0\x01",
        b"IKETCP\x01\x20\0\0\0\0",
        b"POST /vpnsvc/connect.cgi HTTP/1.1\r\n",
        b"\x05\x01\0\x05\x01\0\x01",
        b"\x05\0\x05\0\0\x01",
        b"\x04\x01\0\x16\xc6\x33\x64\x01me\0",
        b"word\x05\0\x05\0\0\x01",
        b"\x05\x01\0\x05\x01\0\x01\xc6\x33\x64\x01\0\x50",
        b"ID:1234\0\0\0\0",
        b"\x10\x01\0\0KVMR",
        b"0 alpha 17\n1 94 64 0 0 ",
        b"\x7f\x7fICA\0",
        b"\x1aCGP/01\xf8\0",
        b"NXSH-8.10.1\n",
        b"NXD-8.10.1\n",
        b"\x01\0\0\0\x01\0\0\0\x08\x08",
        b"P\x01\x01\0\0\0\x59\x23\x78\x01",
        b"6.select,3.rdp;",
        b"INVITE sip:bob@192.0.2.4 SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n",
        b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n",
        b"OPTIONS rtsp://192.0.2.9:48010 RTSP/1.0\r\nX-GS-ClientVersion: 14\r\n",
        b"220 VMware Authentication Daemon Version 1.10",
        b"\x30\x11\0\0\0\0\0\0\xc3\xf5\x28\x5c\x8f\xc2\x0d\x40",
        b"\x30\x11\0\0\0\0\0\0\xc3\xf5\x28\x5c\x8f\xc2\x0d\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"P\x01\0\0\0\0\0\x4a\xc2\x85hello\xa7",
        b"o\0\0\0\0\0\0\0\x11{\"version\":\"0.4\"}",
        b"{\"Hello\":0}\0",
        b"220 FTP server ready\r\n",
        b"AUTH TLS\r\n",
        b"\0\0\0\x40\xfeSMB\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\x0b\x6a\x09\x30\x07\xa1\x03\x02\x01\x05\0\0",
        b"\0\x2a\x29",
        b"\0\x36\x51",
        &NOISE,
        b"\0\x03\0\x08\x21\x12\xa4\x42transaction!",
        b"\0\x1c\0\x01\0\x08\x21\x12\xa4\x42transaction!",
    ];

    /// Bytes that look like nothing (xorshift).
    const NOISE: [u8; 512] = noise();

    const fn noise() -> [u8; 512] {
        let (mut out, mut state, mut i) = ([0; 512], 0x9e37_79b9_u32, 0);
        while i < out.len() {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            out[i] = state.to_le_bytes()[1];
            i += 1;
        }
        out
    }

    const PORTS: Ends<u16> = Ends { orig: 50_000, resp: 443 };

    fn asked(protocol: &Protocol, orig: &[u8], resp: &[u8]) -> Probe {
        let newest = if resp.is_empty() { Direction::Orig } else { Direction::Resp };
        let port = protocol.ports.first().copied().unwrap_or(PORTS.resp);
        let (sent, ports) = (Ends { orig, resp }, Ends { resp: port, ..PORTS });
        (protocol.probe)(&Opening { carrier: Carrier::Stream, sent, before: &[], newest, ports })
    }

    /// The protocols that read streams; those whose carrier is only there for a port to be guessed from read nothing.
    fn stream_readers() -> Vec<&'static Protocol> {
        let reads = |protocol: &&&Protocol| {
            let begins = |byte: u8| {
                asked(protocol, &[byte], &[]) != Probe::NoMatch || asked(protocol, &[], &[byte]) != Probe::NoMatch
            };
            protocol.carriers.contains(&Carrier::Stream) && (0..=u8::MAX).any(begins)
        };
        REGISTRY.iter().filter(reads).copied().collect()
    }

    /// The pairs of beginnings, of the originator and the responder, at which a protocol takes the flow.
    fn beginnings_of(protocol: &Protocol) -> Vec<Beginning> {
        let pairs = BEGINNINGS.iter().flat_map(|orig| BEGINNINGS.iter().map(move |resp| [*orig, *resp]));
        pairs.filter(|[orig, resp]| asked(protocol, orig, resp) == Probe::Match).collect()
    }

    /// What the originator begins with, and the responder.
    type Beginning = [&'static [u8]; 2];

    /// Each protocol that reads streams, and where its dialogues begin.
    static DIALOGUES: std::sync::LazyLock<Vec<(&'static Protocol, Vec<Beginning>)>> =
        std::sync::LazyLock::new(|| stream_readers().into_iter().map(|p| (p, beginnings_of(p))).collect());

    /// What an analyzer tells of a stream, up to where another one takes over: how much of the other's bytes came along
    /// depends on the cut, and is no part of it.
    fn told(protocol: &Protocol, turns: &[testkit::Turn<'_>], piece: usize) -> Vec<Event> {
        let mut events = testkit::stream(protocol, turns, piece);
        let ends = |e: &Event| matches!(e.kind, EventKind::Settled | EventKind::Handover { .. });
        if let Some(last) = events.iter().position(ends) {
            events.truncate(last + 1);
        }
        for event in &mut events {
            if let EventKind::Handover { rest, .. } = &mut event.kind {
                rest.clear();
            }
        }
        events
    }

    /// The properties below are worth nothing for a protocol whose flows never begin.
    #[test]
    fn every_protocol_over_streams_has_a_beginning_here() {
        let without: Vec<_> = DIALOGUES.iter().filter(|(_, own)| own.is_empty()).map(|(p, _)| p.name).collect();
        assert!(without.is_empty(), "add how their streams begin to BEGINNINGS: {without:?}");
        assert!(DIALOGUES.len() > 40, "{}", DIALOGUES.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_cut_of_a_stream_gives_the_same_events(
            which in any::<proptest::sample::Index>(),
            first in any::<proptest::sample::Index>(),
            more in proptest::collection::vec(
                (any::<bool>(), 0..BEGINNINGS.len(), proptest::collection::vec(any::<u8>(), 0..12)), 0..4),
            piece in 1usize..24,
        ) {
            let (protocol, own) = which.get(&DIALOGUES);
            let [orig, resp] = first.get(own);
            let mut all = vec![(Direction::Orig, orig.to_vec()), (Direction::Resp, resp.to_vec())];
            all.extend(more.iter().map(|(from_orig, i, tail)| {
                (if *from_orig { Direction::Orig } else { Direction::Resp }, [BEGINNINGS[*i], tail].concat())
            }));
            let turns: Vec<testkit::Turn<'_>> = all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
            prop_assert_eq!(told(protocol, &turns, piece), told(protocol, &turns, usize::MAX), "{}", protocol.name);
        }
    }

    proptest! {
        /// The reader of a flow asks a probe that said no never again, so it must not change its mind.
        #[test]
        fn a_probe_that_said_no_stays_with_it(
            begins in (0..BEGINNINGS.len(), 0..BEGINNINGS.len()),
            tails in (proptest::collection::vec(any::<u8>(), 0..12), proptest::collection::vec(any::<u8>(), 0..12)),
            order in proptest::collection::vec(any::<bool>(), 80),
        ) {
            let said = [[BEGINNINGS[begins.0], &tails.0].concat(), [BEGINNINGS[begins.1], &tails.1].concat()];
            let mut seen = [0, 0];
            let mut refused = vec![false; REGISTRY.len()];
            for from_resp in order {
                let newest = if from_resp { Direction::Resp } else { Direction::Orig };
                seen[newest.index()] = (seen[newest.index()] + 1).min(said[newest.index()].len());
                let sent = Ends { orig: &said[0][..seen[0]], resp: &said[1][..seen[1]] };
                let ports = Ends { orig: 50_000, resp: 443 };
                let opening = Opening { carrier: Carrier::Stream, sent, before: &[], newest, ports };
                for (protocol, refused) in REGISTRY.iter().zip(&mut refused) {
                    if !protocol.carriers.contains(&Carrier::Stream) {
                        continue;
                    }
                    let answer = (protocol.probe)(&opening);
                    prop_assert!(!*refused || answer == Probe::NoMatch, "{}: {:?} after no", protocol.name, answer);
                    *refused = answer == Probe::NoMatch;
                }
            }
        }
    }
}
