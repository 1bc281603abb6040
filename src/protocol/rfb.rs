//! RFB, the protocol of VNC: versions, how the viewer proves itself, and the desktop's name where it is in clear.
//!
//! Reads: the handshake of RFC 6143 up to ServerInit, an UltraVNC repeater's prelude, and the security types that are
//! public: Tight, VeNCrypt, SASL, XVP, RSA-AES, Apple's Diffie-Hellman and RSA, MS-Logon II. Emits: versions, security types
//! offered and chosen, whether the authentication succeeded, name and size of the desktop, whose program it is where
//! the bytes tell, and the round trips of the handshake, whose ends take turns; hands TLS over. Does not: read what is drawn or typed, keep passwords, or follow types whose format
//! is not public (RealVNC's own, Apple's 35 and 36) beyond their choice.
//!
//! Reference: RFC 6143; rfbproto.rst for Tight, VeNCrypt and RSA-AES; UltraVNC's and gtk-vnc's sources for MS-Logon II,
//! the repeater and Apple's Diffie-Hellman, asyncvnc's for Apple's RSA.

use crate::base::{Direction, Ends, Layer, Timestamp};
use crate::protocol::codec::rfb_security::{
    APPLE_DH, APPLE_RSA, CAPABILITY_LEN, MS_LOGON_2, NONE, RA2, RA2_256, RA2NE, RA2NE_256, SASL, TIGHT, TLS, ULTRA,
    VENCRYPT, VNC_AUTH, XVP, is_ultravncs_own, security_name, signatures, tight_auth_name, vencrypt_name,
};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol, Said, Shows, Sign};

/// The registry's entry.
pub(crate) static RFB: Protocol = Protocol {
    name: "rfb",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[5900, 5901, 5902, 5903, 5500],
    attributes: &[
        CLIENT_VERSION,
        SERVER_VERSION,
        OFFERED,
        CHOSEN,
        SUBTYPES,
        SUBTYPE,
        TARGET,
        RESULT,
        REASON,
        DESKTOP_NAME,
        DESKTOP_SIZE,
        CAPABILITIES,
        REPEATER,
    ],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Rfb::default()),
};

/// RealVNC through its cloud, where RFB is inside TLS or a UDP protocol of its own: known by the service's names.
pub(crate) static REALVNC: Protocol = Protocol::by_signs(
    "realvnc",
    Category::RemoteDesktop,
    &[
        // RealVNC's help, "firewall": both ends of a cloud connection keep in touch with these.
        Sign::new("tls.sni", Said::Domain("services.vnc.com"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("realvnc.com"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("vnc.com"), Shows::Mention),
        Sign::new("dns.query", Said::Domain("services.vnc.com"), Shows::Mention),
        Sign::new("http.host", Said::Domain("realvnc.com"), Shows::Mention),
    ],
);

const CLIENT_VERSION: Key = "rfb.client_version";
const SERVER_VERSION: Key = "rfb.server_version";
const OFFERED: Key = "rfb.security_types";
const CHOSEN: Key = "rfb.security_type";
const SUBTYPES: Key = "rfb.security_subtypes";
const SUBTYPE: Key = "rfb.security_subtype";
const TARGET: Key = "rfb.xvp_target";
const RESULT: Key = "rfb.auth_result";
const REASON: Key = "rfb.reason";
const DESKTOP_NAME: Key = "rfb.desktop_name";
const DESKTOP_SIZE: Key = "rfb.desktop_size";
const CAPABILITIES: Key = "rfb.capabilities";
const REPEATER: Key = "rfb.repeater_target";

/// `RFB xxx.yyy\n`.
const VERSION_LEN: usize = 12;
/// Whom to connect, as said to an `UltraVNC` repeater: text, filled up with zeros (its `MAX_HOST_NAME_LEN`).
const TARGET_LEN: usize = 250;
const CHALLENGE_LEN: usize = 16;
/// Name (64 bytes) and password (64), encrypted, before the public key.
const APPLE_CREDENTIALS_LEN: usize = 128;
/// Apple's RSA: what follows the length of the message that asks for the key.
const APPLE_RSA_REQUEST: usize = 10;
/// Generator, modulus and public value of eight bytes each.
const MS_LOGON_KEY_LEN: usize = 24;
/// Public value, name (256 bytes), password (64).
const MS_LOGON_RESPONSE_LEN: usize = 8 + 256 + 64;
/// What AES-EAX puts behind each message.
const MAC_LEN: usize = 16;
/// Width, height, pixel format and length of the name.
const INIT_LEN: usize = 24;
/// Longest name or reason that is believed.
const STRING_LIMIT: usize = 4096;
/// Capabilities in one list, and bits of an RSA key, that are believed.
const CAPABILITY_LIMIT: usize = 64;
const KEY_BITS_LIMIT: usize = 16_384;
/// Characters of a text that are kept.
const STRING_KEPT: usize = 256;
const INBOX_LIMIT: usize = 64 * 1024;
/// `UltraVNC`: the authentication goes on with another list of types (`rfbVncAuthContinue`).
const CONTINUES: u32 = 0xffff_ffff;
/// `UltraVNC`'s MS-Logon before it had a number in a byte.
const MS_LOGON_OLD: u32 = 0xffff_fffa;

/// The server speaks first, so a version anywhere but in the very first bytes is another protocol's cargo. A server
/// that calls a repeater says its number before.
fn probe(opening: &Opening<'_>) -> Probe {
    let begins = |bytes| match (version_line(bytes), repeater_id(bytes)) {
        (Probe::NoMatch, other) | (other, Probe::NoMatch) => other,
        _ => Probe::NeedMore,
    };
    match [opening.sent.orig, opening.sent.resp].map(begins) {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

fn version_line(bytes: &[u8]) -> Probe {
    const SHAPE: &[u8; VERSION_LEN] = b"RFB 000.000\n";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    match bytes.iter().zip(SHAPE).all(fits) {
        false => Probe::NoMatch,
        true if bytes.len() >= VERSION_LEN => Probe::Match,
        true => Probe::NeedMore,
    }
}

/// `ID:` and a number, filled up with zeros.
fn repeater_id(bytes: &[u8]) -> Probe {
    let message = bytes.get(..TARGET_LEN).unwrap_or(bytes);
    let text = message.split(|byte| *byte == 0).next().unwrap_or_default();
    let (head, digits) = text.split_at_checked(3).unwrap_or((text, &[]));
    let fits = b"ID:".starts_with(head)
        && digits.iter().all(u8::is_ascii_digit)
        && message.iter().skip(text.len()).all(|byte| *byte == 0)
        && (text.len() == message.len() || !digits.is_empty());
    match fits {
        true if message.len() == TARGET_LEN && text.len() < TARGET_LEN => Probe::Match,
        true if message.len() < TARGET_LEN => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

/// `xxx.yyy` as numbers.
type Version = (u16, u16);

fn version(line: &[u8]) -> Option<Version> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    (version_line(line) == Probe::Match).then_some(())?;
    Some((number(line.get(4..7)?)?, number(line.get(8..11)?)?))
}

/// Whose program says a version, where only one does. Of 4.0 both RealVNC and Intel AMT are told, so it tells nothing.
const fn program(version: Version) -> Option<&'static str> {
    match version {
        // UltraVNC's server and its Single Click (libvncserver's rfbserver.c tells them apart so).
        (3, 4 | 6 | 14 | 16) => Some("ultravnc"),
        (3, 889) => Some("apple-remote-desktop"),
        (4, 1) | (5, _) => Some("realvnc"),
        _ => None,
    }
}

/// What is read next, and of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server tells a repeater who it is.
    RepeaterId,
    /// The viewer tells a repeater whom it wants.
    RepeaterTarget,
    ServerVersion,
    ClientVersion,
    /// 3.3: the server decides.
    Decision,
    /// 3.7 on: the server offers.
    Offer,
    Choice,
    Challenge,
    Response,
    Result,
    /// Why there is no connection.
    Reason,
    ClientInit,
    ServerInit,
    /// Tight: tunnels, authentications, and behind ServerInit what both can do.
    TightTunnels,
    TightTunnel,
    TightAuths,
    TightAuth,
    TightInit,
    /// `VeNCrypt`: versions, acknowledgment, subtypes, choice, acknowledgment.
    VencryptServerVersion,
    VencryptClientVersion,
    VencryptAccepts,
    VencryptOffer,
    VencryptChoice,
    VencryptGo,
    /// A name and a password, in clear.
    Plain,
    SaslMechanisms,
    SaslStart,
    XvpTarget,
    AppleKey,
    AppleResponse,
    /// Apple's RSA: the viewer may ask for the key; its answer is acknowledged.
    AppleRsaRequest,
    AppleRsaKey,
    AppleRsaResponse,
    AppleRsaGo,
    MsLogonKey,
    MsLogonResponse,
    /// RSA-AES: keys, randoms, hashes of both, then what the server wants to know and the answer.
    RsaServerKey,
    RsaClientKey,
    RsaServerRandom,
    RsaClientRandom,
    RsaServerHash,
    RsaClientHash,
    RsaSubtype,
    RsaCredentials,
    /// TLS follows, and its client speaks first.
    Tls,
    Done,
}

impl Stage {
    /// Whether the viewer is to speak.
    const fn is_client(self) -> bool {
        matches!(
            self,
            Self::RepeaterTarget
                | Self::ClientVersion
                | Self::Choice
                | Self::Response
                | Self::ClientInit
                | Self::TightTunnel
                | Self::TightAuth
                | Self::VencryptClientVersion
                | Self::VencryptChoice
                | Self::Plain
                | Self::SaslStart
                | Self::XvpTarget
                | Self::AppleResponse
                | Self::AppleRsaRequest
                | Self::AppleRsaResponse
                | Self::MsLogonResponse
                | Self::RsaClientKey
                | Self::RsaClientRandom
                | Self::RsaClientHash
                | Self::RsaCredentials
        )
    }
}

/// The round trip that a message of this stage closes, if its sender cannot write it before it has read the message
/// of the other end that came before (RFC 6143, 7.1 to 7.3). Not told: the answer to a challenge, for which a person
/// may type a password, and ClientInit, before which viewers were seen to wait (84 ms in a TigerVNC of 1.12).
const fn loop_of(stage: Stage) -> Option<&'static str> {
    Some(match stage {
        Stage::ClientVersion => "version",
        Stage::Decision | Stage::Offer => "security-types",
        Stage::Choice => "security-choice",
        Stage::Challenge => "challenge",
        Stage::Result => "result",
        Stage::ServerInit => "server-init",
        _ => return None,
    })
}

#[derive(Debug)]
struct Rfb {
    inboxes: Ends<Inbox>,
    /// The stage whose message closes the loop that is open.
    asked: Option<Stage>,
    /// The end that acts as server: the one that spoke first, since a viewer may also listen.
    server: Option<Direction>,
    stage: Stage,
    /// The version both use: the client's.
    version: Version,
    security: u8,
    /// `UltraVNC`'s own type was chosen, so that types may be offered again.
    ultra: bool,
    /// Bytes of Apple's public keys.
    key_len: usize,
}

impl Default for Rfb {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            asked: None,
            server: None,
            stage: Stage::ServerVersion,
            version: (3, 3),
            security: 0,
            ultra: false,
            key_len: 0,
        }
    }
}

impl Analyzer for Rfb {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.stage == Stage::Done || pdu.bytes.is_empty() {
            return;
        }
        if self.server.is_none() && pdu.bytes.first() == Some(&b'I') {
            self.stage = Stage::RepeaterId;
        }
        let server = *self.server.get_or_insert(pdu.dir);
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.give_up(pdu.at, pdu.dir, "rfb.beyond-buffer", events);
        }
        while self.stage != Stage::Done {
            let dir = if self.stage.is_client() { server.flip() } else { server };
            let inbox = self.inboxes.of(dir);
            let bytes = inbox.bytes();
            let Some(read) = self.needed(bytes) else { return };
            let Some(message) = bytes.get(..read) else { return };
            let (first, at) = (inbox.time_of(0), inbox.time_of(read.saturating_sub(1)));
            let message = message.to_vec();
            if let Some(method) = self.asked.take().filter(|stage| *stage == self.stage).and_then(loop_of) {
                events.answer(first, dir, Layer::Rfb, method);
            }
            match self.on_message(at, dir, &message, events) {
                Some(next) => {
                    self.inboxes.of_mut(dir).consume(read);
                    self.enter(at, dir, next, events);
                    // What had come before the other end's message was whole waits for no answer to it.
                    if dir == pdu.dir {
                        self.ask(at, dir, events);
                    }
                }
                None => self.give_up(at, dir, "rfb.malformed-message", events),
            }
        }
    }
}

/// A number of four bytes at `at`.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}

/// A number of two bytes at `at`.
fn short(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk::<2>().map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
}

impl Rfb {
    /// `dir` has sent what the other end must read before it goes on, unless that has gone on already.
    fn ask(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let turns = self.server.is_some_and(|server| (dir == server) == self.stage.is_client());
        if let Some(method) = loop_of(self.stage).filter(|_| turns && self.inboxes.of(dir.flip()).bytes().is_empty()) {
            self.asked = Some(self.stage);
            events.ask(at, dir, Layer::Rfb, method);
        }
    }

    /// Bytes that the next message takes; `None` while that is not known. At least 1.
    fn needed(&self, bytes: &[u8]) -> Option<usize> {
        let long = |at: usize| Some(at + 4 + number(bytes, at)?.min(STRING_LIMIT));
        let list = |each: usize| Some(4 + each * number(bytes, 0)?.min(CAPABILITY_LIMIT));
        Some(match self.stage {
            Stage::RepeaterId | Stage::RepeaterTarget => TARGET_LEN,
            Stage::ServerVersion | Stage::ClientVersion => VERSION_LEN,
            Stage::Offer => 1 + usize::from(*bytes.first()?),
            Stage::VencryptOffer => 1 + 4 * usize::from(*bytes.first()?),
            Stage::Challenge | Stage::Response => CHALLENGE_LEN,
            Stage::Decision | Stage::Result | Stage::VencryptChoice | Stage::TightTunnel | Stage::TightAuth => 4,
            Stage::Reason
            | Stage::SaslMechanisms
            | Stage::SaslStart
            | Stage::AppleRsaRequest
            | Stage::AppleRsaKey
            | Stage::AppleRsaResponse
            | Stage::AppleRsaGo => long(0)?,
            Stage::ServerInit => long(INIT_LEN - 4)?,
            Stage::TightTunnels | Stage::TightAuths => list(CAPABILITY_LEN)?,
            Stage::TightInit => 8 + CAPABILITY_LEN * capabilities(bytes)?.iter().sum::<usize>(),
            Stage::VencryptServerVersion | Stage::VencryptClientVersion => 2,
            Stage::Choice | Stage::ClientInit | Stage::VencryptAccepts | Stage::VencryptGo => 1,
            Stage::Plain => 8 + number(bytes, 0)?.min(STRING_LIMIT) + number(bytes, 4)?.min(STRING_LIMIT),
            Stage::XvpTarget => 2 + usize::from(*bytes.first()?) + usize::from(*bytes.get(1)?),
            Stage::AppleKey => 4 + 2 * short(bytes, 2)?,
            Stage::AppleResponse => APPLE_CREDENTIALS_LEN + self.key_len,
            Stage::MsLogonKey => MS_LOGON_KEY_LEN,
            Stage::MsLogonResponse => MS_LOGON_RESPONSE_LEN,
            Stage::RsaServerKey | Stage::RsaClientKey => 4 + 2 * number(bytes, 0)?.min(KEY_BITS_LIMIT).div_ceil(8),
            Stage::RsaServerRandom | Stage::RsaClientRandom => 2 + short(bytes, 0)?,
            Stage::RsaServerHash | Stage::RsaClientHash | Stage::RsaSubtype | Stage::RsaCredentials => {
                2 + short(bytes, 0)? + MAC_LEN
            }
            Stage::Tls | Stage::Done => return None,
        })
    }

    /// Reads one message and tells what comes next; `None` if it is malformed.
    fn on_message(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) -> Option<Stage> {
        Some(match self.stage {
            Stage::RepeaterId | Stage::RepeaterTarget => {
                let text = message.split(|byte| *byte == 0).next().unwrap_or_default();
                events.application(at, dir, "vnc-repeater");
                events.attribute(at, dir, REPEATER, printable(text, TARGET_LEN));
                Stage::ServerVersion
            }
            Stage::ServerVersion => self.on_server_version(at, dir, message, events)?,
            Stage::ClientVersion => {
                self.version = version(message)?;
                events.attribute(at, dir, CLIENT_VERSION, printable(message.get(4..11)?, 7));
                events.confirmed(at, dir);
                // Only 3.3 lets the server decide; 3.5 never was, and is to be taken for 3.3 (RFC 6143, 7.1.1). So are
                // UltraVNC's 3.4 and 3.6.
                if self.version < (3, 7) { Stage::Decision } else { Stage::Offer }
            }
            Stage::Decision => self.on_decision(at, dir, message, events)?,
            Stage::Offer => self.on_offer(at, dir, message.get(1..)?, events),
            Stage::Choice => {
                self.security = *message.first()?;
                self.tell_choice(at, dir, events)
            }
            Stage::Challenge => Stage::Response,
            Stage::Result => self.on_result(at, dir, message, events)?,
            Stage::Reason => {
                events.attribute(at, dir, REASON, printable(message.get(4..)?, STRING_KEPT));
                Stage::Done
            }
            Stage::ClientInit => Stage::ServerInit,
            Stage::ServerInit => self.on_init(at, dir, message, events)?,
            Stage::TightInit => {
                let [server, client, _] = capabilities(message)?;
                let list = signatures(message.get(8..8 + CAPABILITY_LEN * (server + client))?);
                if !list.is_empty() {
                    events.attribute(at, dir, CAPABILITIES, list.join(","));
                }
                Stage::Done
            }
            Stage::TightTunnels | Stage::TightTunnel | Stage::TightAuths | Stage::TightAuth => {
                self.on_tight(at, dir, message, events)?
            }
            Stage::SaslMechanisms => {
                events.attribute(at, dir, SUBTYPES, printable(message.get(4..)?, STRING_KEPT));
                Stage::SaslStart
            }
            Stage::SaslStart => {
                events.attribute(at, dir, SUBTYPE, printable(message.get(4..)?, STRING_KEPT));
                // How many rounds follow is the mechanism's affair.
                Stage::Done
            }
            Stage::XvpTarget => {
                let target = message.get(2 + usize::from(*message.first()?)..)?;
                events.attribute(at, dir, TARGET, printable(target, STRING_KEPT));
                Stage::Challenge
            }
            Stage::AppleKey => {
                self.key_len = short(message, 2)?;
                Stage::AppleResponse
            }
            // Who knows the key already answers at once.
            Stage::AppleRsaRequest if number(message, 0)? == APPLE_RSA_REQUEST => Stage::AppleRsaKey,
            Stage::AppleRsaRequest | Stage::AppleRsaResponse => Stage::AppleRsaGo,
            Stage::AppleRsaKey => Stage::AppleRsaResponse,
            Stage::MsLogonKey => Stage::MsLogonResponse,
            Stage::Response | Stage::Plain | Stage::AppleResponse | Stage::AppleRsaGo | Stage::MsLogonResponse => {
                Stage::Result
            }
            Stage::Done | Stage::Tls => return None,
            stage => self.on_vencrypt(at, dir, message, events).or_else(|| self.after_rsa(stage))?,
        })
    }

    fn on_server_version(
        &mut self,
        at: Timestamp,
        dir: Direction,
        message: &[u8],
        events: &mut Events,
    ) -> Option<Stage> {
        let version = version(message)?;
        if version == (0, 0) {
            // Not the server: a repeater, that asks the viewer whom it wants. It may do so once.
            events.application(at, dir, "vnc-repeater");
            return (self.version != version).then(|| {
                self.version = version;
                Stage::RepeaterTarget
            });
        }
        events.attribute(at, dir, SERVER_VERSION, printable(message.get(4..11)?, 7));
        if let Some(program) = program(version) {
            events.application(at, dir, program);
        }
        Some(Stage::ClientVersion)
    }

    fn on_decision(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) -> Option<Stage> {
        let kind = u32::from_be_bytes(*message.first_chunk()?);
        if kind == MS_LOGON_OLD {
            events.attribute(at, dir, CHOSEN, "ms-logon-1");
            return Some(Stage::Done);
        }
        self.security = u8::try_from(kind).ok()?;
        Some(self.tell_choice(at, dir, events))
    }

    fn on_offer(&self, at: Timestamp, dir: Direction, kinds: &[u8], events: &mut Events) -> Stage {
        if kinds.is_empty() {
            return Stage::Reason;
        }
        let names: Vec<_> = kinds.iter().map(|kind| security_name(*kind)).collect();
        // UltraVNC offers twice; the second list is what is behind its own type.
        let key = if self.ultra { SUBTYPES } else { OFFERED };
        events.attribute(at, dir, key, names.join(","));
        if kinds.iter().any(|kind| is_ultravncs_own(*kind)) {
            events.application(at, dir, "ultravnc");
        }
        Stage::Choice
    }

    fn tell_choice(&mut self, at: Timestamp, dir: Direction, events: &mut Events) -> Stage {
        if self.security != 0 {
            let key = if self.ultra { SUBTYPE } else { CHOSEN };
            events.attribute(at, dir, key, security_name(self.security));
        }
        self.ultra |= self.security == ULTRA;
        let rsa = self.version < (4, 0);
        match self.security {
            0 => Stage::Reason,
            NONE if self.version < (3, 8) => Stage::ClientInit,
            NONE | ULTRA => Stage::Result,
            VNC_AUTH => Stage::Challenge,
            TIGHT => Stage::TightTunnels,
            VENCRYPT => Stage::VencryptServerVersion,
            TLS => Stage::Tls,
            SASL => Stage::SaslMechanisms,
            XVP => Stage::XvpTarget,
            APPLE_DH => Stage::AppleKey,
            APPLE_RSA => Stage::AppleRsaRequest,
            MS_LOGON_2 => Stage::MsLogonKey,
            // RealVNC's own versions have them otherwise.
            RA2 | RA2NE | RA2_256 | RA2NE_256 if rsa => Stage::RsaServerKey,
            _ => Stage::Done,
        }
    }

    fn on_tight(&self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) -> Option<Stage> {
        let none = if self.version < (3, 8) { Stage::ClientInit } else { Stage::Result };
        let count = number(message, 0)?;
        Some(match self.stage {
            Stage::TightTunnels | Stage::TightAuths if count > CAPABILITY_LIMIT => return None,
            Stage::TightTunnels if count == 0 => Stage::TightAuths,
            Stage::TightTunnels => Stage::TightTunnel,
            // Tunnel 0 is none; others may be anything.
            Stage::TightTunnel if count == 0 => Stage::TightAuths,
            Stage::TightAuths if count == 0 => none,
            Stage::TightAuths => {
                events.attribute(at, dir, SUBTYPES, signatures(message.get(4..)?).join(","));
                Stage::TightAuth
            }
            Stage::TightAuth => {
                let code = u32::from_be_bytes(*message.first_chunk()?);
                events.attribute(at, dir, SUBTYPE, tight_auth_name(code));
                match code {
                    1 => none,
                    2 => Stage::Challenge,
                    19 => Stage::VencryptServerVersion,
                    20 => Stage::SaslMechanisms,
                    129 => Stage::Plain,
                    _ => Stage::Done,
                }
            }
            _ => Stage::Done,
        })
    }

    /// `VeNCrypt`: a version of its own, then a choice of its own. `None` if the message is none of its.
    fn on_vencrypt(&self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) -> Option<Stage> {
        let kind = |bytes: &[u8]| bytes.first_chunk::<4>().map_or(0, |kind| u32::from_be_bytes(*kind));
        Some(match (self.stage, message) {
            (Stage::VencryptServerVersion, _) => Stage::VencryptClientVersion,
            (Stage::VencryptClientVersion, _) => Stage::VencryptAccepts,
            (Stage::VencryptAccepts, [0]) => Stage::VencryptOffer,
            (Stage::VencryptOffer, [_, kinds @ ..]) => {
                let names: Vec<_> = kinds.chunks_exact(4).map(|bytes| vencrypt_name(kind(bytes))).collect();
                events.attribute(at, dir, SUBTYPES, names.join(","));
                Stage::VencryptChoice
            }
            (Stage::VencryptChoice, _) => {
                events.attribute(at, dir, SUBTYPE, vencrypt_name(kind(message)));
                match kind(message) {
                    256 => Stage::Plain,
                    // With or without certificates; what proves the viewer is inside.
                    257..=264 | 266 | 267 => Stage::VencryptGo,
                    _ => Stage::Done,
                }
            }
            (Stage::VencryptGo, [1]) => Stage::Tls,
            (Stage::VencryptAccepts | Stage::VencryptGo, _) => Stage::Done,
            _ => return None,
        })
    }

    /// RSA-AES: every message is of a known size, and none is in clear.
    fn after_rsa(&self, stage: Stage) -> Option<Stage> {
        Some(match stage {
            Stage::RsaServerKey => Stage::RsaClientKey,
            Stage::RsaClientKey => Stage::RsaServerRandom,
            Stage::RsaServerRandom => Stage::RsaClientRandom,
            Stage::RsaClientRandom => Stage::RsaServerHash,
            Stage::RsaServerHash => Stage::RsaClientHash,
            Stage::RsaClientHash => Stage::RsaSubtype,
            Stage::RsaSubtype => Stage::RsaCredentials,
            // Two of the four encrypt the authentication only.
            Stage::RsaCredentials if matches!(self.security, RA2NE | RA2NE_256) => Stage::Result,
            Stage::RsaCredentials => Stage::Done,
            _ => return None,
        })
    }

    fn on_result(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) -> Option<Stage> {
        let word = match u32::from_be_bytes(*message.first_chunk()?) {
            0 => "ok",
            1 => "failed",
            2 => "too-many-tries",
            CONTINUES if self.ultra => return Some(Stage::Offer),
            _ => return None,
        };
        events.attribute(at, dir, RESULT, word);
        // Only from 3.8 on does a failure bring its reason.
        Some(match (word, self.version >= (3, 8)) {
            ("ok", _) => Stage::ClientInit,
            (_, true) => Stage::Reason,
            (_, false) => Stage::Done,
        })
    }

    fn on_init(&self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) -> Option<Stage> {
        let (width, height) = (short(message, 0)?, short(message, 2)?);
        let name = printable(message.get(INIT_LEN..)?, STRING_KEPT);
        events.attribute(at, dir, DESKTOP_SIZE, format!("{width}x{height}"));
        // The name that its server gives a desktop unless a person chose another.
        if name.starts_with("TurboVNC: ") {
            events.application(at, dir, "turbovnc");
        }
        events.attribute(at, dir, DESKTOP_NAME, name);
        Some(if self.security == TIGHT { Stage::TightInit } else { Stage::Done })
    }

    fn enter(&mut self, at: Timestamp, dir: Direction, next: Stage, events: &mut Events) {
        self.stage = next;
        if next == Stage::Tls {
            events.handover(at, dir, "tls", true, unused(&self.inboxes));
            self.stage = Stage::Done;
        }
        if self.stage == Stage::Done {
            events.settled(at, dir);
        }
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        self.enter(at, dir, Stage::Done, events);
    }
}

/// How many capabilities Tight's extension lists: the server's messages, the client's, encodings.
fn capabilities(bytes: &[u8]) -> Option<[usize; 3]> {
    Some([short(bytes, 0)?, short(bytes, 2)?, short(bytes, 4)?].map(|count| count.min(CAPABILITY_LIMIT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const INIT: &[u8] = b"\x05\x00\x03\x00................\x00\x00\x00\x04desk";

    fn attributes(events: &[Event]) -> Vec<String> {
        let pair = |e: &Event| match &e.kind {
            EventKind::Attribute { key, value } => Some(format!("{key}={value}")),
            _ => None,
        };
        events.iter().filter_map(pair).collect()
    }

    fn has(events: &[Event], wanted: &str) -> bool {
        attributes(events).iter().any(|a| a == wanted)
    }

    /// 3.8 with VNC authentication, the server in `server`'s direction.
    fn dialogue(server: Direction) -> Vec<Turn<'static>> {
        let client = server.flip();
        vec![
            (server, b"RFB 003.008\n"),
            (client, b"RFB 003.008\n"),
            (server, &[2, 2, 16]),
            (client, &[2]),
            (server, &[0x11; 16]),
            (client, &[0x22; 16]),
            (server, &[0, 0, 0, 0]),
            (client, &[1]),
            (server, INIT),
        ]
    }

    #[test]
    fn a_whole_handshake_is_told() {
        let expected = [
            "rfb.server_version=003.008",
            "rfb.client_version=003.008",
            "rfb.security_types=vnc-auth,tight",
            "rfb.security_type=vnc-auth",
            "rfb.auth_result=ok",
            "rfb.desktop_size=1280x768",
            "rfb.desktop_name=desk",
        ];
        for server in [Resp, Orig] {
            let events = testkit::stream(&RFB, &dialogue(server), 4096);
            assert_eq!(attributes(&events), expected);
            assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
            assert_eq!(events.last().map(|e| (&e.kind, e.dir)), Some((&EventKind::Settled, server)));
        }
    }

    #[test]
    fn older_versions_let_the_server_decide() {
        let turns: [Turn<'_>; 5] =
            [(Resp, b"RFB 003.003\n"), (Orig, b"RFB 003.003\n"), (Resp, &[0, 0, 0, 1]), (Orig, &[1]), (Resp, INIT)];
        let events = testkit::stream(&RFB, &turns, 4096);
        assert!(has(&events, "rfb.security_type=none") && has(&events, "rfb.desktop_name=desk"));
        // Apple's and RealVNC's own versions offer a list.
        for line in [&b"RFB 003.889\n"[..], b"RFB 004.001\n", b"RFB 005.000\n"] {
            let events = testkit::stream(&RFB, &[(Resp, line), (Orig, line), (Resp, &[2, 30, 129])], 4096);
            assert!(has(&events, "rfb.security_types=apple-dh,ra2-256"));
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let refuse: [Turn<'_>; 3] =
            [(Resp, b"RFB 003.008\n"), (Orig, b"RFB 003.008\n"), (Resp, b"\x00\x00\x00\x00\x04full")];
        assert!(has(&testkit::stream(&RFB, &refuse, 3), "rfb.reason=full"));
        let mut wrong = dialogue(Resp);
        wrong.truncate(6);
        wrong.push((Resp, b"\x00\x00\x00\x01\x00\x00\x00\x02no"));
        let events = testkit::stream(&RFB, &wrong, 4096);
        assert!(has(&events, "rfb.auth_result=failed") && has(&events, "rfb.reason=no"));
    }

    #[test]
    fn tls_inside_is_handed_over() {
        let mut turns: Vec<Turn<'_>> = vec![
            (Resp, b"RFB 003.008\n"),
            (Orig, b"RFB 003.008\n"),
            (Resp, &[1, 19]),
            (Orig, &[19]),
            (Resp, &[0, 2]),
            (Orig, &[0, 2]),
            (Resp, &[0]),
            (Resp, &[1, 0, 0, 1, 4]),
            (Orig, &[0, 0, 1, 4]),
            (Resp, &[1]),
        ];
        let handed = EventKind::Handover { to: "tls", as_carrier: true, rest: Vec::new() };
        assert!(testkit::stream(&RFB, &turns, 4096).iter().any(|e| e.kind == handed));
        // Bytes of TLS in the segments that end RFB, of both ends.
        let mut eager = turns.clone();
        (eager[8].1, eager[9].1) = (&[0, 0, 1, 4, 22], &[1, 21]);
        let kept = testkit::stream(&RFB, &eager, 4096).into_iter().find_map(|e| match e.kind {
            EventKind::Handover { rest, .. } => Some(rest.into_iter().map(|p| (p.dir, p.bytes)).collect::<Vec<_>>()),
            _ => None,
        });
        assert_eq!(kept, Some(vec![(Orig, vec![22]), (Resp, vec![21])]));
        turns[8].1 = &[0, 0, 1, 0];
        assert!(!testkit::stream(&RFB, &turns, 4096).iter().any(|e| e.kind == handed));
    }

    /// What follows the versions, 3.8 on both sides.
    fn after_versions(turns: &[Turn<'_>]) -> Vec<Event> {
        let versions: [Turn<'_>; 2] = [(Resp, b"RFB 003.008\n"), (Orig, b"RFB 003.008\n")];
        let turns = [&versions[..], turns].concat();
        let events = testkit::stream(&RFB, &turns, 4096);
        assert_eq!(events, testkit::stream(&RFB, &turns, 1));
        assert!(!events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))), "{events:?}");
        events
    }

    fn program(events: &[Event]) -> Option<&'static str> {
        events.iter().find_map(|e| match e.kind {
            EventKind::Application(name) => Some(name),
            _ => None,
        })
    }

    #[test]
    fn tight_lists_tunnels_authentications_and_capabilities() {
        let auths = b"\0\0\0\x02\0\0\0\x01STDVNOAUTH__\0\0\0\x02STDVVNCAUTH_";
        let tail = [&[0, 1, 0, 1, 0, 0, 0, 0][..], b"\0\0\0\x82TGHTFTS_LSDT\0\0\0\x82TGHTFTC_LSRQ"].concat();
        let init = [INIT, &tail].concat();
        let events = after_versions(&[
            (Resp, &[2, 2, 16]),
            (Orig, &[16]),
            (Resp, b"\0\0\0\x01\0\0\0\0TGHTNOTUNNEL"),
            (Orig, &[0, 0, 0, 0]),
            (Resp, auths),
            (Orig, &[0, 0, 0, 2]),
            (Resp, &[7; 16]),
            (Orig, &[8; 16]),
            (Resp, &[0, 0, 0, 0]),
            (Orig, &[1]),
            (Resp, &init),
        ]);
        for wanted in [
            "rfb.security_type=tight",
            "rfb.security_subtypes=noauth,vncauth",
            "rfb.security_subtype=vnc-auth",
            "rfb.auth_result=ok",
            "rfb.desktop_name=desk",
            "rfb.capabilities=fts_lsdt,ftc_lsrq",
        ] {
            assert!(has(&events, wanted), "{wanted} is not in {:?}", attributes(&events));
        }
        let open: [Turn<'_>; 6] =
            [(Resp, &[1, 16]), (Orig, &[16]), (Resp, &[0; 4]), (Resp, &[0; 4]), (Resp, &[0; 4]), (Orig, &[1])];
        assert!(has(&after_versions(&open), "rfb.auth_result=ok"));
    }

    #[test]
    fn ultravnc_offers_again_behind_its_own_type() {
        let events = after_versions(&[
            (Resp, &[3, 17, 2, 16]),
            (Orig, &[17]),
            (Resp, &[255, 255, 255, 255, 1, 113]),
            (Orig, &[113]),
            (Resp, &[3; 24]),
            (Orig, &[4; 328]),
            (Resp, b"\0\0\0\x01\0\0\0\x04nope"),
        ]);
        assert_eq!(program(&events), Some("ultravnc"));
        for wanted in ["rfb.security_type=ultra", "rfb.security_subtype=ms-logon-2", "rfb.reason=nope"] {
            assert!(has(&events, wanted), "{wanted} is not in {:?}", attributes(&events));
        }
        let old: [Turn<'_>; 3] = [(Resp, b"RFB 003.006\n"), (Orig, b"RFB 003.006\n"), (Resp, &[255, 255, 255, 250])];
        let events = testkit::stream(&RFB, &old, 4096);
        assert_eq!((program(&events), has(&events, "rfb.security_type=ms-logon-1")), (Some("ultravnc"), true));
    }

    #[test]
    fn apples_diffie_hellman_leaves_the_desktop_in_clear() {
        let key = [&[0, 2, 0, 8][..], &[9; 16]].concat();
        let turns: [Turn<'_>; 9] = [
            (Resp, b"RFB 003.889\n"),
            (Orig, b"RFB 003.008\n"),
            (Resp, &[4, 30, 33, 36, 35]),
            (Orig, &[30]),
            (Resp, &key),
            (Orig, &[5; 136]),
            (Resp, &[0; 4]),
            (Orig, &[1]),
            (Resp, INIT),
        ];
        let events = testkit::stream(&RFB, &turns, 4096);
        assert_eq!(program(&events), Some("apple-remote-desktop"));
        assert!(has(&events, "rfb.security_types=apple-dh,apple-rsa,apple-36,apple-35"));
        assert!(has(&events, "rfb.desktop_name=desk"));
        let request: Turn<'_> = (Orig, b"\0\0\0\x0a\x01\0RSA1\0\0\0\0");
        let rsa: [Turn<'_>; 8] = [
            (Resp, &[1, 33]),
            (Orig, &[33]),
            (Resp, b"\0\0\0\x03key"),
            (Orig, b"\0\0\0\x06sealed"),
            (Resp, &[0; 4]),
            (Resp, &[0; 4]),
            (Orig, &[1]),
            (Resp, INIT),
        ];
        let asking = [&rsa[..2], &[request], &rsa[2..]].concat();
        let knowing = [&rsa[..2], &rsa[3..]].concat();
        for turns in [asking, knowing] {
            assert!(has(&after_versions(&turns), "rfb.desktop_name=desk"));
        }
    }

    /// Found by fuzzing: a viewer that answers before the question is whole has not waited for it, however the stream is
    /// cut.
    #[test]
    fn an_answer_ahead_of_its_question_times_nothing() {
        let key = [&[0, 2, 0, 8][..], &[7; 16]].concat();
        let late = [&key[12..], &[0; 4]].concat();
        let turns: [Turn<'_>; 8] = [
            (Resp, b"RFB 003.889\n"),
            (Orig, b"RFB 003.008\n"),
            (Resp, &[1, 30]),
            (Orig, &[30]),
            (Resp, &key[..12]),
            (Orig, &[5; 136]),
            (Resp, &late),
            (Orig, &[1]),
        ];
        let whole = testkit::stream(&RFB, &turns, usize::MAX);
        assert!(!testkit::loops(&whole).iter().any(|(_, _, method)| *method == "result"));
        assert_eq!(testkit::stream(&RFB, &turns, 1), whole);
    }

    #[test]
    fn of_rsa_aes_the_kinds_that_encrypt_only_the_logon_show_the_desktop() {
        let key = [&[0, 0, 0, 16][..], &[1; 4]].concat();
        let random = [0, 2, 7, 7];
        let sealed = |len: u8| [&[0, len][..], &vec![9; usize::from(len) + 16]].concat();
        let (hash, subtype, credentials) = (sealed(32), sealed(1), sealed(10));
        for (kind, clear) in [(130, true), (129, false)] {
            let (offer, choice) = ([1, kind], [kind]);
            let mut turns: Vec<Turn<'_>> = vec![(Resp, &offer), (Orig, &choice)];
            for message in [&key[..], &random, &hash] {
                turns.extend([(Resp, message), (Orig, message)]);
            }
            turns.extend([(Resp, &subtype[..]), (Orig, &credentials[..])]);
            turns.extend([(Resp, &[0; 4][..]), (Orig, &[1]), (Resp, INIT)]);
            let events = after_versions(&turns);
            assert_eq!(has(&events, "rfb.desktop_name=desk"), clear, "{kind}");
            assert!(events.iter().any(|e| e.kind == EventKind::Settled));
        }
    }

    #[test]
    fn the_other_types_are_followed_as_far_as_they_are_public() {
        let sasl = after_versions(&[
            (Resp, &[1, 20]),
            (Orig, &[20]),
            (Resp, b"\0\0\0\x0bSCRAM,PLAIN"),
            (Orig, b"\0\0\0\x05PLAIN"),
        ]);
        assert!(has(&sasl, "rfb.security_subtypes=SCRAM,PLAIN") && has(&sasl, "rfb.security_subtype=PLAIN"));
        let xvp = after_versions(&[
            (Resp, &[1, 22]),
            (Orig, b"\x16\x04\x04rootdom7"),
            (Resp, &[1; 16]),
            (Orig, &[2; 16]),
            (Resp, &[0; 4]),
        ]);
        assert!(has(&xvp, "rfb.xvp_target=dom7") && has(&xvp, "rfb.auth_result=ok"));
        let plain = after_versions(&[
            (Resp, &[1, 19]),
            (Orig, &[19]),
            (Resp, &[0, 2]),
            (Orig, &[0, 2]),
            (Resp, &[0, 2, 0, 0, 1, 0, 0, 0, 1, 2]),
            (Orig, b"\0\0\x01\0\0\0\0\x02\0\0\0\x03mepwd"),
            (Resp, &[0; 4]),
            (Orig, &[0]),
            (Resp, INIT),
        ]);
        assert!(has(&plain, "rfb.security_subtypes=plain,tls-vnc") && has(&plain, "rfb.desktop_name=desk"));
        assert!(!attributes(&plain).iter().any(|a| a.contains("pwd")));
        let realvnc = after_versions(&[(Resp, &[2, 133, 13]), (Orig, &[13]), (Resp, &[0, 1, 2])]);
        assert!(has(&realvnc, "rfb.security_type=realvnc"));
    }

    fn target(text: &[u8]) -> Vec<u8> {
        let mut message = text.to_vec();
        message.resize(TARGET_LEN, 0);
        message
    }

    #[test]
    fn a_repeater_passes_on_what_it_is_asked_for() {
        let target = target(b"ID:1234");
        let viewer = [&[(Resp, &b"RFB 000.000\n"[..]), (Orig, &target)][..], &dialogue(Resp)].concat();
        let server = [&[(Orig, &target[..])][..], &dialogue(Orig)].concat();
        for turns in [viewer, server] {
            let events = testkit::stream(&RFB, &turns, 7);
            assert_eq!(program(&events), Some("vnc-repeater"));
            assert!(has(&events, "rfb.repeater_target=ID:1234") && has(&events, "rfb.desktop_name=desk"));
        }
        let twice: [Turn<'_>; 3] = [(Resp, b"RFB 000.000\n"), (Orig, &target), (Resp, b"RFB 000.000\n")];
        let events = testkit::stream(&RFB, &twice, 4096);
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    #[test]
    fn a_number_for_a_repeater_is_told_from_text() {
        let probe = |bytes: &[u8]| testkit::probe(&RFB, Carrier::Stream, bytes, b"");
        assert_eq!(probe(&target(b"ID:1234")), Probe::Match);
        assert_eq!(probe(b"ID:12"), Probe::NeedMore);
        assert_eq!(probe(b"ID:12\0\0"), Probe::NeedMore);
        for other in [&b"ID:\0"[..], b"ID:12a", b"ID: 12\r\n", b"ID:12\0x", b"IDENTIFY\r\n", &[b'1'; 250], &target(b"")]
        {
            assert_eq!(probe(other), Probe::NoMatch, "{other:?}");
        }
    }

    #[test]
    fn a_version_in_somebody_elses_bytes_is_not_one() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&RFB, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"", b"RFB 003.008\n"), Probe::Match);
        assert_eq!(probe(b"", b"RFB 00"), Probe::NeedMore);
        assert_eq!(probe(b"", b"RFB 00x"), Probe::NoMatch);
        assert_eq!(probe(b"GET /", b"RFB 003.008\n"), Probe::NoMatch);
        assert_eq!(probe(b"", b"HTTP/1.1 200 OK\r\n\r\nRFB 003.008\n"), Probe::NoMatch);
        assert_eq!(probe(b"", b"\nRFB 003.008\n"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40, repeated: bool) {
            let target = target(b"ID:1");
            let mut turns = dialogue(Orig);
            if repeated {
                turns.insert(0, (Orig, &target));
            }
            prop_assert_eq!(testkit::stream(&RFB, &turns, piece), testkit::stream(&RFB, &turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..9,
            kind: u8,
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..10),
        ) {
            let mut all = dialogue(Resp);
            let kind = [kind];
            if kept > 3 {
                all[3].1 = &kind;
            }
            all.truncate(kept);
            all.extend(turns.iter().map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.as_slice())));
            testkit::stream(&RFB, &all, 3);
        }
    }
}
