//! A laptop driven by remote control: an operator's keys go to the laptop, the laptop's to the company, the echo to the
//! screen, the screen to the operator, and the operator's viewer confirms it.
//!
//! Reads: four sockets of the world and a tool. Emits: scripts and reflexes. Does not: lay out paths. Every packet of the
//! loop is caused by the one before it, so all of its delays follow from the legs. Encoding takes 10 to 40 ms, decoding 2
//! to 8 ms, a key through the laptop 4 to 20 ms: plausible, not measured.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::{Dialogue, Step};
use crate::simulate::tls_hello::Program;
use crate::simulate::webrtc::{self, Kind, Stream};
use crate::simulate::world::{Reflex, World};
use crate::simulate::{dtls, ssh, tls};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

/// What the operator uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    /// VNC in the clear, the laptop calling a listening viewer (RFC 6143).
    Rfb,
    /// A commercial tool inside TLS, through its maker's relay.
    Rmm,
    /// A WebRTC tool or KVM, through a relay of datagrams.
    WebRtc,
}

impl Tool {
    /// The name in `truth.json`, and the relay's port.
    pub(super) const fn name(self) -> (&'static str, u16) {
        match self {
            Self::Rfb => ("rfb", 5_500),
            Self::Rmm => ("anydesk", 443),
            Self::WebRtc => ("stun", 3_478),
        }
    }
}

/// The four ends of the loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) laptop: usize,
    pub(super) operator: usize,
    /// The laptop's shell at the company, and the company's end of it.
    pub(super) shell: usize,
    pub(super) server: usize,
    /// Each end of the control connection as the other sees it.
    pub(super) laptop_at: SocketAddr,
    pub(super) operator_at: SocketAddr,
}

/// The laptop's screen: what has changed, and how many pictures may be under way.
#[derive(Debug)]
struct Screen {
    tool: Tool,
    credit: u32,
    dirty: usize,
    video: Stream,
    chance: Random,
}

impl Screen {
    /// So many bytes of picture more; what may be sent now.
    fn changes(&mut self, bytes: usize) -> Vec<Vec<u8>> {
        self.dirty = self.dirty.saturating_add(bytes);
        if self.credit == 0 || self.dirty == 0 {
            return Vec::new();
        }
        self.credit = self.credit.saturating_sub(1);
        let size = std::mem::take(&mut self.dirty).min(14_000);
        self.picture(size)
    }

    /// The viewer has taken a picture in.
    fn confirmed(&mut self) -> Vec<Vec<u8>> {
        self.credit = self.credit.saturating_add(1).min(3);
        self.changes(0)
    }

    fn picture(&mut self, size: usize) -> Vec<Vec<u8>> {
        match self.tool {
            Tool::Rfb => vec![rfb_update(size, &mut self.chance)],
            Tool::Rmm => vec![tls::sealed_13(size, &mut self.chance)],
            Tool::WebRtc => self.video.frame(size, 3_000, &mut self.chance),
        }
    }
}

/// Sets the loop up; it lasts so long from when the control connection stands.
pub(super) fn wire(world: &mut World, ends: Ends, tool: Tool, lasts: i64, chance: &mut Random) {
    let mut branch = |name: &str| Random::stream(u64::from_be_bytes(chance.array()), name);
    let video = Stream::new(96, &mut branch("video"));
    let credit = if tool == Tool::Rfb { 0 } else { 2 };
    let screen = Screen { tool, credit, dirty: 0, video: video.clone(), chance: branch("screen") };
    let screen = Rc::new(RefCell::new(screen));
    let (mut laptop, mut acts) = greet(tool, ends.laptop_at, &mut branch("greeting"));
    if tool == Tool::WebRtc {
        laptop.extend(checks(lasts, &mut branch("checks")));
    }
    world.script(ends.laptop, laptop);
    acts.extend(works(tool, lasts, &mut branch("operator")));
    world.script(ends.operator, acts);
    world.react(ends.laptop, at_laptop(ends, tool, Rc::clone(&screen), branch("laptop")));
    world.react(ends.operator, at_operator(ends, tool, video, branch("viewer")));
    world.react(ends.shell, at_shell(ends, screen, branch("shell")));
    world.react(ends.server, at_server(ends.server, branch("server")));
    let mut talk = Dialogue::default();
    ssh::Session { commands: 0, windows: true }.open(&mut talk, &mut branch("login"));
    talk.client.extend([Step::Pause(lasts.saturating_add(30_000 * MS)), Step::Close]);
    world.script(ends.shell, talk.client);
    world.script(ends.server, talk.server);
}

/// An input from the operator goes to the shell; a confirmation lets the next picture out.
fn at_laptop(ends: Ends, tool: Tool, screen: Rc<RefCell<Screen>>, mut chance: Random) -> Reflex {
    Reflex {
        cut: cut(tool, true),
        answer: Box::new(move |message| {
            let pictures = |pictures: Vec<Vec<u8>>, after: i64| {
                pictures.into_iter().map(|p| (after, ends.laptop, p)).collect::<Vec<_>>()
            };
            let encoding = chance.between(10 * MS, 40 * MS);
            match heard(tool, message) {
                Heard::Key => vec![(chance.between(4 * MS, 20 * MS), ends.shell, ssh::key(&mut chance))],
                // The pointer is drawn by the viewer; what it hovers over changes now and then.
                Heard::Pointer if chance.chance(0.2) => pictures(screen.borrow_mut().changes(700), encoding),
                Heard::Confirmation => pictures(screen.borrow_mut().confirmed(), encoding),
                Heard::Check => {
                    let answer = webrtc::check_answer(message, ends.operator_at, &mut chance);
                    vec![(chance.between(MS / 10, MS / 2), ends.laptop, answer)]
                }
                Heard::Pointer | Heard::Nothing => Vec::new(),
            }
        }),
    }
}

/// The viewer confirms each picture.
fn at_operator(ends: Ends, tool: Tool, video: Stream, mut chance: Random) -> Reflex {
    Reflex {
        cut: cut(tool, false),
        answer: Box::new(move |message| {
            let decoding = chance.between(2 * MS, 8 * MS);
            let confirmation = match tool {
                Tool::Rfb => request(true),
                Tool::Rmm => tls::sealed_13(CONFIRMATION, &mut chance),
                Tool::WebRtc => match webrtc::kind(message) {
                    Kind::Picture => video.feedback(&mut chance),
                    Kind::Check => {
                        let answer = webrtc::check_answer(message, ends.laptop_at, &mut chance);
                        return vec![(chance.between(MS / 10, MS / 2), ends.operator, answer)];
                    }
                    _ => return Vec::new(),
                },
            };
            vec![(decoding, ends.operator, confirmation)]
        }),
    }
}

/// What comes from the company changes the screen.
fn at_shell(ends: Ends, screen: Rc<RefCell<Screen>>, mut chance: Random) -> Reflex {
    Reflex {
        cut: whole,
        answer: Box::new(move |message| {
            let changed = if message.len() <= ssh::KEY { 400 } else { message.len().saturating_mul(6) };
            let after = chance.between(10 * MS, 40 * MS);
            screen.borrow_mut().changes(changed).into_iter().map(|picture| (after, ends.laptop, picture)).collect()
        }),
    }
}

/// The shell echoes keys; one in nine ends a command, whose output follows.
fn at_server(server: usize, mut chance: Random) -> Reflex {
    Reflex {
        cut: |bytes| (bytes.len() >= ssh::KEY).then_some(ssh::KEY),
        answer: Box::new(move |_| {
            let after = chance.between(MS / 5, 2 * MS);
            let mut said = vec![(after, server, ssh::key(&mut chance))];
            if chance.chance(1.0 / 9.0) {
                let length = usize::try_from(chance.between(60, 900)).unwrap_or(60);
                said.push((after + chance.between(3 * MS, 60 * MS), server, ssh::output(length, &mut chance)));
            }
            said
        }),
    }
}

/// What a message to the laptop is.
enum Heard {
    Key,
    Pointer,
    Confirmation,
    Check,
    Nothing,
}

fn heard(tool: Tool, message: &[u8]) -> Heard {
    match (tool, message) {
        (Tool::Rfb, [4, 1, ..]) => Heard::Key,
        (Tool::Rfb, [5, ..]) => Heard::Pointer,
        (Tool::Rfb, [3, ..]) => Heard::Confirmation,
        (Tool::Rmm, _) => match message.len().saturating_sub(5 + 17) {
            KEY => Heard::Key,
            POINTER => Heard::Pointer,
            CONFIRMATION => Heard::Confirmation,
            _ => Heard::Nothing,
        },
        (Tool::WebRtc, _) => match (webrtc::kind(message), message.len().saturating_sub(13)) {
            (Kind::Data, KEY) => Heard::Key,
            (Kind::Data, POINTER) => Heard::Pointer,
            (Kind::Feedback, _) => Heard::Confirmation,
            (Kind::Check, _) => Heard::Check,
            _ => Heard::Nothing,
        },
        _ => Heard::Nothing,
    }
}

fn cut(tool: Tool, to_laptop: bool) -> fn(&[u8]) -> Option<usize> {
    match (tool, to_laptop) {
        (Tool::Rfb, true) => rfb_client_message,
        (Tool::Rfb, false) => rfb_server_message,
        (Tool::Rmm, _) => tls_record,
        (Tool::WebRtc, _) => whole,
    }
}

fn whole(bytes: &[u8]) -> Option<usize> {
    (!bytes.is_empty()).then_some(bytes.len())
}

fn within(bytes: &[u8], length: usize) -> Option<usize> {
    (bytes.len() >= length).then_some(length)
}

fn tls_record(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = bytes else { return None };
    within(bytes, 5 + usize::from(u16::from_be_bytes([*high, *low])))
}

/// RFC 6143, section 7.5.
fn rfb_client_message(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [3, ..] => within(bytes, 10),
        [4, ..] => within(bytes, 8),
        [5, ..] => within(bytes, 6),
        _ => None,
    }
}

/// RFC 6143, section 7.6.1, with one raw rectangle one pixel high.
fn rfb_server_message(bytes: &[u8]) -> Option<usize> {
    let [high, low] = bytes.get(8..10)? else { return None };
    within(bytes, 16 + 4 * usize::from(u16::from_be_bytes([*high, *low])))
}

fn rfb_update(size: usize, chance: &mut Random) -> Vec<u8> {
    let pixels = (size / 4).clamp(1, 4_000);
    let colours = chance.bytes(4 * pixels);
    Octets::of(|o| {
        o.put([0, 0, 0, 1]);
        o.u16(0);
        o.u16(chance.below(1_000) as u16);
        o.u16(pixels as u16);
        o.u16(1);
        o.u32(0);
        o.put(colours);
    })
}

fn request(incremental: bool) -> Vec<u8> {
    Octets::of(|o| {
        o.put([3, u8::from(incremental)]);
        [0, 0, 4_000, 1_080].into_iter().for_each(|at| o.u16(at));
    })
}

/// The handshake of the laptop and the operator.
fn greet(tool: Tool, laptop_at: SocketAddr, chance: &mut Random) -> (Vec<Step>, Vec<Step>) {
    let mut talk = Dialogue::default();
    match tool {
        Tool::Rfb => greet_rfb(&mut talk, chance),
        Tool::Rmm => tls::Session {
            program: Program::Curl,
            server_name: "relay-5f1c20aa.net.anydesk.com",
            newest: true,
            retry: false,
            requests: 0,
        }
        .shake(&mut talk, chance),
        Tool::WebRtc => {
            let check = webrtc::check(chance);
            let answer = webrtc::check_answer(&check, laptop_at, chance);
            talk.client_says(chance.between(MS / 5, MS), check);
            talk.server_says(chance.between(MS / 5, MS), answer);
            dtls::shake(&mut talk, chance);
        }
    }
    (talk.client, talk.server)
}

/// Version, no authentication, desktop of 4000 x 1080, raw encoding, a first full picture.
fn greet_rfb(talk: &mut Dialogue, chance: &mut Random) {
    let quick = |chance: &mut Random| chance.between(MS / 5, 2 * MS);
    talk.client_says(quick(chance), b"RFB 003.008\n".to_vec());
    talk.server_says(quick(chance), b"RFB 003.008\n".to_vec());
    talk.client_says(quick(chance), vec![1, 1]);
    talk.server_says(quick(chance), vec![1]);
    talk.client_says(quick(chance), vec![0; 4]);
    talk.server_says(quick(chance), vec![1]);
    let format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
    let desktop = Octets::of(|o| {
        o.u16(4_000);
        o.u16(1_080);
        o.put(format);
        o.block(4, |o| o.put("DESKTOP-7Q2K"));
    });
    talk.client_says(quick(chance), desktop);
    let set = Octets::of(|o| {
        o.put([0; 4]);
        o.put(format);
        o.put([2, 0, 0, 1, 0, 0, 0, 0]);
    });
    talk.server_says(quick(chance), [set, request(false)].concat());
    talk.client_says(chance.between(20 * MS, 60 * MS), rfb_update(16_000, chance));
    talk.server.extend([Step::Pause(chance.between(5 * MS, 20 * MS)), Step::Send(request(true))]);
}

/// The laptop asks every five seconds or so whether the operator still consents (RFC 7675, section 5.1).
fn checks(lasts: i64, chance: &mut Random) -> Vec<Step> {
    let mut steps = vec![Step::Send(webrtc::check(chance))];
    let mut at = 0;
    while at < lasts {
        let pause = chance.between(4_000 * MS, 6_000 * MS);
        at += pause;
        steps.extend([Step::Pause(pause), Step::Send(webrtc::check(chance))]);
    }
    steps
}

/// Typing in bursts, pointing between, then goodbye.
fn works(tool: Tool, lasts: i64, chance: &mut Random) -> Vec<Step> {
    let mut steps = vec![Step::Pause(FIRST_LOOK)];
    let (mut elapsed, mut number) = (FIRST_LOOK, 0_u64);
    let mut act = |steps: &mut Vec<Step>, pause: i64, input: Input, chance: &mut Random| {
        number += 1;
        steps.extend([Step::Pause(pause), Step::Send(input.message(tool, number, chance))]);
        elapsed += pause;
        elapsed
    };
    let (mut at, mut next_check) = (FIRST_LOOK, 0);
    while at <= lasts {
        if tool == Tool::WebRtc && at >= next_check {
            steps.push(Step::Send(webrtc::check(chance)));
            next_check = at.saturating_add(chance.between(4_000 * MS, 6_000 * MS));
        }
        for _ in 0..chance.between(0, 25) {
            act(&mut steps, chance.between(15 * MS, 18 * MS), Input::Pointer, chance);
        }
        for _ in 0..chance.between(4, 16) {
            let between_words = if chance.chance(0.15) { chance.erlang(400 * MS) } else { 0 };
            let gap = (45 * MS).saturating_add(chance.erlang(135 * MS)).saturating_add(between_words);
            act(&mut steps, gap, Input::Down, chance);
            if tool == Tool::Rfb {
                act(&mut steps, chance.between(30 * MS, 80 * MS), Input::Up, chance);
            }
        }
        at = act(&mut steps, chance.between(1_000 * MS, 9_000 * MS), Input::Pointer, chance);
    }
    if tool != Tool::WebRtc {
        steps.push(Step::Close);
    }
    steps
}

enum Input {
    Down,
    Up,
    Pointer,
}

impl Input {
    fn message(&self, tool: Tool, number: u64, chance: &mut Random) -> Vec<u8> {
        let length = if matches!(self, Self::Pointer) { POINTER } else { KEY };
        match (tool, self) {
            (Tool::Rfb, Self::Pointer) => Octets::of(|o| {
                o.put([5, 0]);
                o.u16(chance.below(1_900) as u16);
                o.u16(chance.below(1_080) as u16);
            }),
            (Tool::Rfb, _) => Octets::of(|o| {
                o.put([4, u8::from(matches!(self, Self::Down)), 0, 0]);
                o.u32(0x61 + chance.below(26) as u32);
            }),
            (Tool::Rmm, _) => tls::sealed_13(length, chance),
            (Tool::WebRtc, _) => webrtc::data(number, length, chance),
        }
    }
}

/// The operator looks before typing, and the laptop has opened its shell by then.
const FIRST_LOOK: i64 = 20_000 * MS;
/// Lengths of messages inside TLS or DTLS.
const KEY: usize = 64;
const POINTER: usize = 72;
const CONFIRMATION: usize = 36;
