//! Endpoints whose connections depend on one another while they go on: a driven laptop, a call, a jump host.
//!
//! Reads: a worker with its legs in the world. Emits: connections with scripts and reflexes. Does not: know what the
//! tools say; that is in `control`, `webrtc` and `ssh`.

use crate::simulate::control::{self, Ends, Tool};
use crate::simulate::frame::{Face, Faces, GATEWAY_HOPS};
use crate::simulate::leg::MS;
use crate::simulate::random::Random;
use crate::simulate::script::{Dialogue, Step};
use crate::simulate::stack::LINUX;
use crate::simulate::tls_hello::Program;
use crate::simulate::webrtc::{self, Kind, Stream};
use crate::simulate::worker::{MSS4, Paths, Traffic, Worker};
use crate::simulate::world::{Hop, Reflex, World};
use crate::simulate::{ssh, tls};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Lays the worker's connections out and names their protocols.
pub(super) fn lay(worker: &mut Worker, world: &mut World, paths: &Paths, port: u16) -> Vec<&'static str> {
    match worker.traffic {
        Traffic::Controlled { tool, seen } => driven(worker, world, paths, port, (tool, seen)),
        Traffic::Call => call(worker, world, paths, port),
        Traffic::Jump => jump(worker, world, paths, port),
        Traffic::Office | Traffic::Tunnel(_) => Vec::new(),
    }
}

/// A path past the tap and on over the legs that lead abroad, which `far` holds: to the relay first, then the operator.
fn abroad(paths: &Paths) -> Vec<Hop> {
    // Where the tap is in the home's own network, the access line comes behind it.
    let line = paths.beyond.len().saturating_sub(1).min(1);
    let onward = paths.beyond.iter().take(line).chain(&paths.far);
    paths.near.iter().chain(&paths.taps).chain(onward).copied().collect()
}

fn driven(
    worker: &mut Worker,
    world: &mut World,
    paths: &Paths,
    port: u16,
    (tool, seen): (Tool, bool),
) -> Vec<&'static str> {
    let (name, relay_port) = tool.name();
    let faces = worker.faces_to(port, RELAY, relay_port, RELAY_HOPS);
    let (laptop_at, operator_at) = (at(&faces.client), at(&faces.server));
    let begin = worker.begins.saturating_add(2_000 * MS);
    // Where the control connection does not pass the tap, it goes from the home straight abroad.
    let to_relay: Vec<Hop> = if seen {
        abroad(paths)
    } else {
        paths.near.first().copied().into_iter().chain(paths.far.iter().copied()).collect()
    };
    let (laptop, operator) = if tool == Tool::WebRtc {
        let ends = worker.datagrams();
        let [laptop, operator] = world.add_connection(to_relay, faces, ends);
        (laptop, operator)
    } else {
        let (first, last) = to_relay.split_at(to_relay.len().saturating_sub(1));
        let ends = [worker.tcp(worker.stack, MSS4), worker.tcp(&LINUX, MSS4)];
        let [laptop, relay] = world.add_connection(first.to_vec(), faces.clone(), ends);
        let ends = [worker.tcp(&LINUX, MSS4), worker.tcp(worker.stack, MSS4)];
        let [onward, operator] = world.add_connection(last.to_vec(), faces, ends);
        world.script(relay, vec![Step::Connect(onward), Step::Splice(onward)]);
        (laptop, operator)
    };
    let faces = shell_faces(worker, port);
    let ends = [worker.tcp(worker.stack, MSS4), worker.tcp(&LINUX, MSS4)];
    let [shell, server] = world.add_connection(paths.seen(), faces, ends);
    let ends = Ends { laptop, operator, shell, server, laptop_at, operator_at };
    let lasts = worker.duration.saturating_sub(30_000 * MS).max(30_000 * MS);
    control::wire(world, ends, tool, lasts, &mut worker.chance);
    world.open_at(laptop, begin);
    world.open_at(shell, begin.saturating_add(3_000 * MS));
    if paths.beyond.len() > 1 {
        signals(worker, world, paths, port.wrapping_add(2));
        return vec![name, "ssh", "tls1.3"];
    }
    if seen { vec![name, "ssh"] } else { vec!["ssh"] }
}

/// The box tells its maker's service where it is.
fn signals(worker: &mut Worker, world: &mut World, paths: &Paths, port: u16) {
    let faces = worker.faces_to(port, SERVICE, 443, RELAY_HOPS);
    let ends = [worker.tcp(worker.stack, MSS4), worker.tcp(&LINUX, MSS4)];
    let [client, server] = world.add_connection(paths.seen(), faces, ends);
    let mut talk = Dialogue::default();
    let (program, server_name) = (Program::Curl, "api.jetkvm.com");
    tls::Session { program, server_name, newest: true, retry: false, requests: 3 }.play(&mut talk, &mut worker.chance);
    world.script(client, talk.client);
    world.script(server, talk.server);
    world.open_at(client, worker.begins);
}

/// The shell is the laptop's, also where a box beside it carries the picture.
fn shell_faces(worker: &mut Worker, port: u16) -> Faces {
    let mut faces = worker.faces(port.wrapping_add(1), 22);
    if matches!(faces.client.ip, IpAddr::V4(ip) if ip.octets().starts_with(&[192, 168])) {
        faces.client.ip = LAPTOP_IN_LAN;
        faces.server.hops = RELAY_HOPS;
    }
    faces
}

/// Sound and picture both ways, and each end asks the other for consent.
fn call(worker: &mut Worker, world: &mut World, paths: &Paths, port: u16) -> Vec<&'static str> {
    let faces = worker.faces_to(port, RELAY, 3_478, RELAY_HOPS);
    let seen_as = [at(&faces.client), at(&faces.server)];
    let ends = worker.datagrams();
    let sockets = world.add_connection(abroad(paths), faces, ends);
    for ((socket, other), name) in sockets.into_iter().zip([seen_as[1], seen_as[0]]).zip(["caller", "called"]) {
        let mut chance = Random::stream(u64::from_be_bytes(worker.chance.array()), name);
        world.script(socket, speaks(worker.duration, &mut chance));
        let answer = Box::new(move |message: &[u8]| match webrtc::kind(message) {
            Kind::Check => {
                let after = chance.between(MS / 10, MS / 2);
                vec![(after, socket, webrtc::check_answer(message, other, &mut chance))]
            }
            _ => Vec::new(),
        });
        world.react(socket, Reflex { cut: |bytes| (!bytes.is_empty()).then_some(bytes.len()), answer });
    }
    world.open_at(sockets[0], worker.begins.saturating_add(1_000 * MS));
    vec!["rtp", "stun"]
}

/// Sound each 20 ms, a picture each 40 ms, a consent check each five seconds.
fn speaks(lasts: i64, chance: &mut Random) -> Vec<Step> {
    let (mut sound, mut picture) = (Stream::new(111, chance), Stream::new(96, chance));
    let mut steps = vec![Step::Send(webrtc::check(chance))];
    let mut next_check = chance.between(4_000 * MS, 6_000 * MS);
    let mut elapsed = 0;
    while elapsed < lasts {
        for with_picture in [true, false] {
            steps.push(Step::Pause(20 * MS));
            let length = usize::try_from(chance.between(60, 140)).unwrap_or(60);
            steps.extend(sound.frame(length, 960, chance).into_iter().map(Step::Send));
            if with_picture {
                let length = usize::try_from(chance.between(900, 3_000)).unwrap_or(900);
                steps.extend(picture.frame(length, 3_600, chance).into_iter().map(Step::Send));
            }
        }
        elapsed += 40 * MS;
        if elapsed > next_check {
            next_check += chance.between(4_000 * MS, 6_000 * MS);
            steps.push(Step::Send(webrtc::check(chance)));
        }
    }
    steps
}

/// The developer's keys go on from the jump host to a server, and the echo comes back the same way.
fn jump(worker: &mut Worker, world: &mut World, paths: &Paths, port: u16) -> Vec<&'static str> {
    let faces = worker.faces(port, 22);
    let ends = [worker.tcp(worker.stack, MSS4), worker.tcp(&LINUX, MSS4)];
    let [person, host] = world.add_connection(paths.seen(), faces.clone(), ends);
    let face =
        |ip: [u8; 4], port: u16, iss: u32| Face { ip: IpAddr::from(ip), port, stack: &LINUX, hops: GATEWAY_HOPS, iss };
    let inner = Faces {
        client: face([192, 0, 2, 22], port, faces.server.iss ^ 0x5555),
        server: face([192, 0, 2, 30], 22, faces.client.iss ^ 0x5555),
    };
    let ends = [worker.tcp(&LINUX, MSS4), worker.tcp(&LINUX, MSS4)];
    let edge = paths.beyond.iter().copied();
    let [onward, server] = world.add_connection([Hop::Tap].into_iter().chain(edge).collect(), inner, ends);
    let chance = &mut worker.chance;
    let (mut outer, mut inner) = (Dialogue::default(), Dialogue::default());
    ssh::Session { commands: 0, windows: worker.stack.name == "windows" }.open(&mut outer, chance);
    ssh::Session { commands: 0, windows: false }.open(&mut inner, chance);
    outer.client.extend(types(worker.duration, chance));
    inner.client.extend([Step::Pause(worker.duration.saturating_add(20_000 * MS)), Step::Close]);
    for (socket, script) in
        [(person, outer.client), (host, outer.server), (onward, inner.client), (server, inner.server)]
    {
        world.script(socket, script);
    }
    let mut branch = |name: &str| Random::stream(u64::from_be_bytes(chance.array()), name);
    let mut passing = branch("jump host");
    let mut pass = move |to: usize, message: &[u8]| {
        vec![(passing.between(MS / 10, MS), to, ssh::output(message.len().saturating_sub(20).max(1), &mut passing))]
    };
    let mut back = pass.clone();
    let whole: fn(&[u8]) -> Option<usize> = |bytes| (!bytes.is_empty()).then_some(bytes.len());
    world.react(host, Reflex { cut: whole, answer: Box::new(move |message| pass(onward, message)) });
    world.react(onward, Reflex { cut: whole, answer: Box::new(move |message| back(host, message)) });
    let mut echoing = branch("echo");
    let echo = move |_: &[u8]| vec![(echoing.between(MS / 5, 2 * MS), server, ssh::key(&mut echoing))];
    world.react(server, Reflex { cut: whole, answer: Box::new(echo) });
    world.react(person, Reflex { cut: whole, answer: Box::new(|_| Vec::new()) });
    let begin = worker.begins.saturating_add(1_000 * MS);
    world.open_at(person, begin);
    world.open_at(onward, begin.saturating_add(2_000 * MS));
    vec!["ssh"]
}

fn types(lasts: i64, chance: &mut Random) -> Vec<Step> {
    let mut steps = vec![Step::Pause(5_000 * MS)];
    let mut elapsed = 5_000 * MS;
    while elapsed < lasts {
        let pause = if chance.chance(0.1) { chance.between(500 * MS, 6_000 * MS) } else { 0 };
        let gap = (45 * MS).saturating_add(chance.erlang(135 * MS)).saturating_add(pause);
        elapsed += gap;
        steps.extend([Step::Pause(gap), Step::Send(ssh::key(chance))]);
    }
    steps.push(Step::Close);
    steps
}

const fn at(face: &Face) -> SocketAddr {
    SocketAddr::new(face.ip, face.port)
}

/// Where tools' relays are, in a hosting network of `geo.csv`.
const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 24, 77));
const RELAY_HOPS: u8 = 9;
/// An IP-KVM maker's service.
const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 24, 80));
/// The laptop beside an IP-KVM.
const LAPTOP_IN_LAN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 20));
