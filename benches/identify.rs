//! How long it takes to say what a flow speaks and to read its handshake.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, criterion_group, criterion_main};
use farmlight::base::{Direction, Ends, Timestamp};
use farmlight::protocol::{Carrier, Events, Opening, Pdu, Protocol, named};
use std::hint::black_box;

/// A handshake message in a record.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0];
    message.extend(len(body.len()));
    message.extend_from_slice(body);
    let mut out = vec![22, 3, 1];
    out.extend(len(message.len()));
    out.extend(message);
    out
}

fn len(n: usize) -> [u8; 2] {
    u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &len(content.len()), content].concat()
}

/// A ClientHello as a browser sends it: 16 suites, 17 extensions, a key share of 1,263 bytes.
fn client_hello() -> Vec<u8> {
    let suites: Vec<u8> = [
        0x0a0a_u16, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
        0x009d, 0x002f, 0x0035,
    ]
    .iter()
    .flat_map(|suite| suite.to_be_bytes())
    .collect();
    let extensions = [
        extension(0x1a1a, &[]),
        extension(0, b"\0\x12\0\0\x0fwww.example.org"),
        extension(23, &[]),
        extension(0xff01, &[0]),
        extension(10, &[0, 8, 0x2a, 0x2a, 0, 29, 0, 23, 0, 24]),
        extension(11, &[1, 0]),
        extension(35, &[]),
        extension(16, b"\0\x0c\x02h2\x08http/1.1"),
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &[0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1]),
        extension(18, &[]),
        extension(51, &[0xab; 1_263]),
        extension(45, &[1, 1]),
        extension(43, &[6, 0x3a, 0x3a, 3, 4, 3, 3]),
        extension(27, &[2, 0, 2]),
        extension(0x4469, &[0, 3, 2, b'h', b'2']),
        extension(0xfe0d, &[0xcd; 218]),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[32],
        &[8; 32],
        &len(suites.len()),
        &suites,
        &[1, 0],
        &len(extensions.len()),
        &extensions,
    ]
    .concat();
    record(1, &body)
}

fn server_hello() -> Vec<u8> {
    let extensions = [extension(51, &[0xab; 36]), extension(43, &[3, 4])].concat();
    let body = [&[3, 3][..], &[9; 32], &[32], &[8; 32], &[0x13, 1, 0], &len(extensions.len()), &extensions].concat();
    record(2, &body)
}

fn handshake(protocol: &Protocol, turns: &[(Direction, Vec<u8>)]) -> usize {
    let Some((_, first)) = turns.first() else { return 0 };
    let opening = Opening {
        carrier: Carrier::Stream,
        sent: Ends { orig: first, resp: &[] },
        newest: Direction::Orig,
        before: &[],
        ports: Ends { orig: 50_000, resp: 443 },
    };
    black_box((protocol.probe)(&opening));
    let mut analyzer = (protocol.analyzer)();
    let mut events = Events::default();
    for (dir, bytes) in turns {
        for segment in bytes.chunks(1_448) {
            let pdu = Pdu { at: Timestamp::default(), dir: *dir, bytes: segment, carrier: Carrier::Stream, missing: 0 };
            analyzer.on_pdu(&pdu, &mut events);
        }
    }
    events.drain().count()
}

fn tls(c: &mut Criterion) {
    let Some(protocol) = named("tls") else { return };
    let hidden = |n: usize| [&[23, 3, 3][..], &len(n), &vec![0xee; n]].concat();
    let turns = [
        (Direction::Orig, client_hello()),
        (Direction::Resp, [server_hello(), hidden(4_000)].concat()),
        (Direction::Orig, hidden(60)),
    ];
    c.bench_function("identify/tls13", |b| b.iter(|| handshake(protocol, black_box(&turns))));
}

criterion_group!(benches, tls);
criterion_main!(benches);
