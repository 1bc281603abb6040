//! The scenarios: which topology, which line, which defaults.
//!
//! Reads: nothing. Emits: [`SCENARIOS`]. A new scenario is one static and its line there.

use crate::simulate::access::Line;
use crate::simulate::control::Tool;
use crate::simulate::homes::Residents;
use crate::simulate::leg::MS;
use crate::simulate::scenario::{Defaults, Scenario, Taps};
use crate::simulate::worker::{Asking, Corporate, Topology, Traffic};
use std::time::Duration;

/// Every scenario, in the order of the documentation, but that later ones stand at the end: a scenario's place chooses
/// its seeds in a matrix.
pub static SCENARIOS: &[&Scenario] = &[
    &HOME_DIRECT,
    &HOME_VPN,
    &HOME_OPENVPN,
    &HOME_IPSEC,
    &HOME_FULL_TUNNEL,
    &DISTANT_HONEST,
    &TRAVELLER,
    &GEO_SATELLITE,
    &LEO_SATELLITE,
    &MOBILE,
    &HOTSPOT,
    &PPPOE,
    &IPV6_TUNNEL,
    &BUFFERBLOAT,
    &WIFI_JITTER,
    &ACCELERATOR,
    &SASE,
    &PRIVATE_RELAY,
    &HOUSEHOLD,
    &COWORKING,
    &DORM,
    &CGNAT,
    &HELPDESK,
    &VIDEO_CALL,
    &JUMP_HOST,
    &REMOTE_DESKTOP,
    &REMOTE_DESKTOP_RMM,
    &REMOTE_DESKTOP_WEBRTC,
    &REMOTE_DESKTOP_UNSEEN,
    &IP_KVM,
    &HOME_PROXY,
    &HOME_EXIT,
    &EXIT_VPN,
    &EXIT_OPENVPN,
    &EXIT_IPSEC,
    &PROXY_CONNECT,
    &PROXY_EARLY,
    &PROXY_OPENVPN,
    &COMMERCIAL_VPN,
    &HOSTING_EXIT,
    &MANY_LAPTOPS,
    &MANY_LAPTOPS_PROXIED,
    &HOME_OPENVPN_TCP,
];

const DEFAULTS: Defaults = Defaults {
    home: "Omaha",
    operator: "Shenyang",
    last_mile_ms: 4.0,
    last_mile_jitter_ms: 1.0,
    sessions: 12,
    bystanders: 3,
    duration: Duration::from_secs(20 * 60),
};

static HOME_DIRECT: Scenario = Scenario {
    name: "home-direct",
    about: "an honest worker at home: every loop closes there, in the time the distance explains",
    label: "benign",
    kind: "b1",
    topology: Topology::Direct,
    traffic: Traffic::Office,
    line: Line::Quiet,
    trunk: None,
    clamp: None,
    hosts: 1,
    residents: Residents::OneHome,
    accounting: false,
    taps: Taps::Outside,
    notes: &[],
    defaults: DEFAULTS,
};

static HOME_VPN: Scenario = Scenario {
    name: "home-vpn",
    about: "an honest worker at home inside the corporate WireGuard tunnel",
    kind: "b2",
    traffic: Traffic::Tunnel(Corporate::WireGuard),
    ..HOME_DIRECT
};

static HOME_OPENVPN: Scenario = Scenario {
    name: "home-openvpn",
    about: "the same inside OpenVPN over UDP",
    traffic: Traffic::Tunnel(Corporate::OpenVpn),
    ..HOME_VPN
};

static HOME_OPENVPN_TCP: Scenario = Scenario {
    name: "home-openvpn-tcp",
    about: "the same inside OpenVPN over TCP: what the tunnel carries ends where its TCP does",
    traffic: Traffic::Tunnel(Corporate::OpenVpnTcp),
    ..HOME_VPN
};

static HOME_IPSEC: Scenario = Scenario {
    name: "home-ipsec",
    about: "the same inside IKEv2 and ESP in UDP",
    traffic: Traffic::Tunnel(Corporate::Ipsec),
    ..HOME_VPN
};

static HOME_FULL_TUNNEL: Scenario = Scenario {
    name: "home-full-tunnel",
    about: "an honest worker whose sessions are seen inside the corporate tunnel as well as outside",
    kind: "b2",
    taps: Taps::FullTunnel,
    ..HOME_DIRECT
};

static DISTANT_HONEST: Scenario = Scenario {
    name: "distant-honest",
    about: "a worker in Bengaluru who says so: long loops that the claimed place explains",
    kind: "b6",
    notes: &["far away and says so"],
    defaults: Defaults { home: "Bengaluru", ..DEFAULTS },
    ..HOME_DIRECT
};

static TRAVELLER: Scenario = Scenario {
    name: "traveller",
    about: "a worker whose sign-on is at home one day and in Berlin the next: the loops fit the new place",
    kind: "b6",
    accounting: true,
    notes: &["on the way: the same person signs on from Omaha on other days"],
    defaults: Defaults { home: "Berlin", ..DEFAULTS },
    ..HOME_DIRECT
};

static GEO_SATELLITE: Scenario = Scenario {
    name: "geo-satellite",
    about: "an honest worker on a geostationary satellite: TCP ends at the teleport, a gap of over 477 ms above it",
    kind: "b3",
    topology: Topology::Accelerated("satellite-pep"),
    notes: &["performance-enhancing proxy at the teleport; the address is registered there"],
    defaults: Defaults { home: "Germantown", last_mile_ms: 1.5, last_mile_jitter_ms: 0.5, ..DEFAULTS },
    ..HOME_DIRECT
};

static LEO_SATELLITE: Scenario = Scenario {
    name: "leo-satellite",
    about: "an honest worker on a low orbit: 20 to 40 ms more, another path each 15 s",
    kind: "b3",
    line: Line::LowOrbit,
    defaults: Defaults { home: "Salt Lake City", last_mile_ms: 11.0, last_mile_jitter_ms: 2.0, ..DEFAULTS },
    ..HOME_DIRECT
};

static MOBILE: Scenario = Scenario {
    name: "mobile",
    about: "an honest worker on a cellular network: a 10 ms grid, blocks sent again, MSS 1400",
    kind: "b3",
    line: Line::Cellular,
    clamp: Some(1_400),
    defaults: Defaults { home: "Houston", last_mile_ms: 16.0, last_mile_jitter_ms: 2.0, ..DEFAULTS },
    ..HOME_DIRECT
};

static HOTSPOT: Scenario =
    Scenario { name: "hotspot", about: "three computers behind a phone", hosts: 3, clamp: Some(1_360), ..MOBILE };

static PPPOE: Scenario = Scenario {
    name: "pppoe",
    about: "an honest worker on PPPoE: MSS 1452",
    kind: "b3",
    clamp: Some(1_452),
    defaults: Defaults { home: "Boise", last_mile_ms: 12.0, ..DEFAULTS },
    ..HOME_DIRECT
};

static IPV6_TUNNEL: Scenario = Scenario {
    name: "ipv6-tunnel",
    about: "an honest worker behind an IPv6 transition tunnel: MSS 1420",
    clamp: Some(1_420),
    ..PPPOE
};

static BUFFERBLOAT: Scenario = Scenario {
    name: "bufferbloat",
    about: "an honest worker behind a bloated upload buffer: hundreds of milliseconds that come and go at every layer",
    kind: "b3",
    line: Line::Bloated,
    notes: &["expected_* hold while the line is quiet"],
    ..HOME_DIRECT
};

static WIFI_JITTER: Scenario = Scenario {
    name: "wifi-jitter",
    about: "an honest worker on contended Wi-Fi: bursts of tens of milliseconds, clean minima",
    kind: "b3",
    line: Line::Radio,
    defaults: Defaults { last_mile_ms: 5.0, last_mile_jitter_ms: 2.5, ..DEFAULTS },
    ..HOME_DIRECT
};

static ACCELERATOR: Scenario = Scenario {
    name: "accelerator",
    about: "an honest worker whose mobile carrier ends TCP in its own network",
    kind: "b8",
    topology: Topology::Accelerated("provider-pep"),
    trunk: Some(9 * MS),
    line: Line::Cellular,
    defaults: Defaults { home: "Houston", last_mile_ms: 14.0, last_mile_jitter_ms: 2.0, ..DEFAULTS },
    ..HOME_DIRECT
};

static SASE: Scenario = Scenario {
    name: "sase",
    about: "an honest worker behind a security service that ends TCP at its nearest site: a small constant gap",
    kind: "b8",
    topology: Topology::Accelerated("sase-site"),
    trunk: Some(4 * MS),
    defaults: Defaults { home: "New York", ..DEFAULTS },
    ..HOME_DIRECT
};

static PRIVATE_RELAY: Scenario = Scenario {
    name: "private-relay",
    about: "an honest worker behind a privacy relay of two hops: the gap is the way to its egress",
    topology: Topology::Accelerated("private-relay"),
    trunk: Some(14 * MS),
    ..SASE
};

static HOUSEHOLD: Scenario = Scenario {
    name: "household",
    about: "two colleagues in one home",
    kind: "b7",
    hosts: 2,
    accounting: true,
    ..HOME_DIRECT
};

static COWORKING: Scenario = Scenario {
    name: "coworking",
    about: "twelve people of the company in one shared office",
    residents: Residents::Anywhere,
    hosts: 12,
    defaults: Defaults { home: "Austin", last_mile_ms: 2.0, sessions: 6, ..DEFAULTS },
    ..HOUSEHOLD
};

static DORM: Scenario = Scenario {
    name: "dorm",
    about: "eight people behind the one address of a campus",
    residents: Residents::Anywhere,
    hosts: 8,
    line: Line::Radio,
    defaults: Defaults { home: "Ann Arbor", last_mile_ms: 3.0, last_mile_jitter_ms: 2.0, sessions: 6, ..DEFAULTS },
    ..HOUSEHOLD
};

static CGNAT: Scenario = Scenario {
    name: "cgnat",
    about: "five people of the company behind one address of a carrier",
    residents: Residents::Region,
    hosts: 5,
    line: Line::Cellular,
    clamp: Some(1_400),
    defaults: Defaults { home: "Houston", last_mile_ms: 16.0, last_mile_jitter_ms: 2.0, sessions: 6, ..DEFAULTS },
    ..HOUSEHOLD
};

static HELPDESK: Scenario = Scenario {
    name: "helpdesk",
    about: "a laptop at home that a helper in Chicago drives for some minutes, seen inside the tunnel",
    kind: "b5",
    traffic: Traffic::Controlled { tool: Tool::Rfb, seen: true },
    taps: Taps::FullTunnel,
    notes: &["approved helpdesk, near"],
    defaults: Defaults { operator: "Chicago", duration: Duration::from_secs(240), ..DEFAULTS },
    ..HOME_DIRECT
};

static VIDEO_CALL: Scenario = Scenario {
    name: "video-call",
    about: "a call of sound and picture both ways with a colleague in Bengaluru, seen inside the tunnel",
    kind: "b9",
    traffic: Traffic::Call,
    taps: Taps::FullTunnel,
    defaults: Defaults { operator: "Bengaluru", duration: Duration::from_secs(120), ..DEFAULTS },
    ..HOME_DIRECT
};

static JUMP_HOST: Scenario = Scenario {
    name: "jump-host",
    about: "a developer at home whose shell goes on from a jump host to a server",
    kind: "b9",
    traffic: Traffic::Jump,
    defaults: Defaults { duration: Duration::from_secs(360), ..DEFAULTS },
    ..HOME_DIRECT
};

static HOME_PROXY: Scenario = Scenario {
    name: "home-proxy",
    about: "an operator abroad behind a SOCKS proxy in the home: TCP ends at home, TLS and SSH a hidden leg further",
    label: "relayed",
    kind: "r3",
    topology: Topology::Proxy(Asking::Socks),
    notes: &["the application's loops exceed TCP's by the hidden leg"],
    ..HOME_DIRECT
};

static REMOTE_DESKTOP: Scenario = Scenario {
    name: "remote-desktop",
    about: "a laptop at home, seen inside its full tunnel: VNC to a relay, an operator abroad types through it",
    kind: "r1",
    topology: Topology::Direct,
    traffic: Traffic::Controlled { tool: Tool::Rfb, seen: true },
    taps: Taps::FullTunnel,
    notes: &["round trips to the laptop are honest; only the control connection shows the operator"],
    defaults: Defaults { duration: Duration::from_secs(300), ..DEFAULTS },
    ..HOME_PROXY
};

static REMOTE_DESKTOP_RMM: Scenario = Scenario {
    name: "remote-desktop-rmm",
    about: "the same with a commercial tool inside TLS",
    traffic: Traffic::Controlled { tool: Tool::Rmm, seen: true },
    ..REMOTE_DESKTOP
};

static REMOTE_DESKTOP_WEBRTC: Scenario = Scenario {
    name: "remote-desktop-webrtc",
    about: "the same over WebRTC: each end asks for consent through the relay every five seconds",
    traffic: Traffic::Controlled { tool: Tool::WebRtc, seen: true },
    ..REMOTE_DESKTOP
};

static REMOTE_DESKTOP_UNSEEN: Scenario = Scenario {
    name: "remote-desktop-unseen",
    about: "a laptop at home driven from abroad; its control connection passes no tap",
    traffic: Traffic::Controlled { tool: Tool::Rmm, seen: false },
    taps: Taps::Outside,
    notes: &["the control connection passes no tap: only the company's own flows are seen"],
    ..REMOTE_DESKTOP
};

static IP_KVM: Scenario = Scenario {
    name: "ip-kvm",
    about: "a box on the laptop's own network sends its screen abroad by WebRTC; the tap is in that network",
    taps: Taps::Lan,
    notes: &["the tap is in the home; the address is the box's"],
    ..REMOTE_DESKTOP_WEBRTC
};

static HOME_EXIT: Scenario = Scenario {
    name: "home-exit",
    about: "an operator abroad with the home as tunnel exit: every loop is a hidden leg too long, MSS clamped to 1380",
    kind: "r2",
    topology: Topology::Exit,
    notes: &["one router more than the home's own computers show, MSS 1380"],
    ..HOME_PROXY
};

static EXIT_VPN: Scenario = Scenario {
    name: "exit-vpn",
    about: "the same operator inside the corporate WireGuard tunnel, which itself comes through the home's exit",
    traffic: Traffic::Tunnel(Corporate::WireGuard),
    notes: &["tunnel in tunnel: no TCP loop, smaller largest datagram"],
    ..HOME_EXIT
};

static EXIT_OPENVPN: Scenario = Scenario {
    name: "exit-openvpn",
    about: "the same inside OpenVPN over UDP",
    traffic: Traffic::Tunnel(Corporate::OpenVpn),
    ..EXIT_VPN
};

static EXIT_IPSEC: Scenario = Scenario {
    name: "exit-ipsec",
    about: "the same inside IKEv2 and ESP in UDP",
    traffic: Traffic::Tunnel(Corporate::Ipsec),
    ..EXIT_VPN
};

static PROXY_CONNECT: Scenario = Scenario {
    name: "proxy-connect",
    about: "an operator abroad behind an HTTP CONNECT proxy in the home",
    topology: Topology::Proxy(Asking::Connect),
    ..HOME_PROXY
};

static PROXY_EARLY: Scenario = Scenario {
    name: "proxy-early",
    about: "the same behind Shadowsocks, which waits for nothing: a gap, but no late ClientHello",
    topology: Topology::Proxy(Asking::Early),
    ..HOME_PROXY
};

static PROXY_OPENVPN: Scenario = Scenario {
    name: "proxy-openvpn",
    about: "a corporate OpenVPN tunnel over TCP through a SOCKS proxy in the home",
    traffic: Traffic::Tunnel(Corporate::OpenVpnTcp),
    ..HOME_PROXY
};

static COMMERCIAL_VPN: Scenario = Scenario {
    name: "commercial-vpn",
    about: "an operator abroad behind the exit of a VPN service",
    kind: "r5",
    defaults: Defaults { home: "Los Angeles", last_mile_ms: 0.5, last_mile_jitter_ms: 0.3, ..DEFAULTS },
    ..HOME_EXIT
};

static HOSTING_EXIT: Scenario = Scenario {
    name: "hosting-exit",
    about: "an operator abroad behind a rented server",
    defaults: Defaults { home: "Newark", last_mile_ms: 0.5, last_mile_jitter_ms: 0.3, ..DEFAULTS },
    ..COMMERCIAL_VPN
};

static MANY_LAPTOPS: Scenario = Scenario {
    name: "many-laptops",
    about: "five laptops of as many identities in one home; how they are driven is not seen",
    label: "relayed",
    kind: "r4",
    residents: Residents::Bought,
    hosts: 5,
    accounting: true,
    notes: &["round trips are honest; only the number of identities and computers tells"],
    defaults: Defaults { sessions: 6, ..DEFAULTS },
    ..HOME_DIRECT
};

static MANY_LAPTOPS_PROXIED: Scenario = Scenario {
    name: "many-laptops-proxied",
    about: "the same, each behind a SOCKS proxy in that home",
    kind: "r4",
    residents: Residents::Bought,
    hosts: 5,
    accounting: true,
    defaults: Defaults { sessions: 6, ..DEFAULTS },
    ..HOME_PROXY
};
