//! An interactive SSH session as a dialogue: banners, key exchange, login, a person typing, goodbye.
//!
//! Reads: a stream of chance. Emits: both ends' scripts (RFC 4253, RFC 8731, RFC 4252, RFC 4254). Does not: encrypt:
//! after NEWKEYS every packet is random bytes of the size chacha20-poly1305@openssh.com gives it. Typing: gaps are
//! gamma-distributed about 180 ms with pauses between words, each key echoed; the next command is typed only after the
//! output of the last has come, so the person's loop includes the whole path.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::{Dialogue, Step};

/// What kind of session to play.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    /// Commands typed.
    pub(super) commands: u32,
    /// The client is Windows' own OpenSSH.
    pub(super) windows: bool,
}

impl Session {
    /// Adds the session to a dialogue.
    pub(super) fn play(&self, talk: &mut Dialogue, chance: &mut Random) {
        self.open(talk, chance);
        for _ in 0..self.commands {
            type_command(talk, chance);
        }
        // "exit", then EOF, exit status and close from the shell, then the client leaves.
        talk.client_says(chance.between(400 * MS, 2_500 * MS), sealed(9 + 5, chance));
        let parting = [sealed(30, chance), sealed(5, chance), sealed(5, chance)].concat();
        talk.server_says(chance.between(2 * MS, 9 * MS), parting);
        talk.client_says(chance.between(MS / 10, MS), [sealed(5, chance), sealed(30, chance)].concat());
        talk.client_closes();
    }
}

impl Session {
    /// Adds all up to the first prompt.
    pub(super) fn open(&self, talk: &mut Dialogue, chance: &mut Random) {
        let banner = if self.windows { "SSH-2.0-OpenSSH_for_Windows_9.5\r\n" } else { "SSH-2.0-OpenSSH_9.6\r\n" };
        talk.both_say(banner.into(), b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec());
        talk.both_say(kexinit(CLIENT_LISTS, chance), kexinit(SERVER_LISTS, chance));
        exchange_keys(talk, chance);
        log_in(talk, chance);
    }
}

/// A key on its way to the shell, or its echo.
pub(super) fn key(chance: &mut Random) -> Vec<u8> {
    sealed(9 + 1, chance)
}

/// So many bytes of output.
pub(super) fn output(length: usize, chance: &mut Random) -> Vec<u8> {
    sealed(9 + length, chance)
}

/// The length of a key on the wire.
pub(super) const KEY: usize = 36;

fn exchange_keys(talk: &mut Dialogue, chance: &mut Random) {
    let public = chance.bytes(32);
    talk.client_says(
        chance.between(MS / 5, MS),
        packet(
            |o| {
                o.u8(30);
                o.block(4, |o| o.put(public));
            },
            chance,
        ),
    );
    let (key, ephemeral, signature) = (chance.bytes(32), chance.bytes(32), chance.bytes(64));
    let reply = packet(
        |o| {
            o.u8(31);
            for (kind, value) in [("ssh-ed25519", Some(key)), ("", None), ("ssh-ed25519", Some(signature))] {
                o.block(4, |o| match value {
                    Some(value) => {
                        o.block(4, |o| o.put(kind));
                        o.block(4, |o| o.put(value));
                    }
                    None => o.put(&ephemeral),
                });
            }
        },
        chance,
    );
    talk.server_says(chance.between(MS, 4 * MS), [reply, packet(|o| o.u8(21), chance)].concat());
    // NEWKEYS and the request for the authentication service leave together.
    let request = [packet(|o| o.u8(21), chance), sealed(17, chance)].concat();
    talk.client_says(chance.between(MS / 2, 3 * MS), request);
    talk.server_says(chance.between(MS / 10, MS), sealed(17, chance));
}

fn log_in(talk: &mut Dialogue, chance: &mut Random) {
    // "none" is refused, the public key accepted, a channel opened, a terminal and a shell asked for.
    talk.client_says(chance.between(MS / 10, MS), sealed(40, chance));
    talk.server_says(chance.between(MS, 6 * MS), sealed(15, chance));
    talk.client_says(chance.between(MS, 4 * MS), sealed(199, chance));
    talk.server_says(chance.between(MS, 8 * MS), sealed(1, chance));
    talk.client_says(chance.between(MS / 10, MS), sealed(24, chance));
    talk.server_says(chance.between(MS, 5 * MS), [sealed(590, chance), sealed(17, chance)].concat());
    talk.client_says(chance.between(MS / 10, MS), [sealed(360, chance), sealed(14, chance)].concat());
    talk.server_says(chance.between(MS, 5 * MS), [sealed(5, chance), sealed(5, chance)].concat());
    // Message of the day and the first prompt.
    talk.server_says(chance.between(15 * MS, 60 * MS), [sealed(420, chance), sealed(9 + 38, chance)].concat());
}

fn type_command(talk: &mut Dialogue, chance: &mut Random) {
    talk.client.push(Step::Pause(chance.between(500 * MS, 4_000 * MS)));
    let keys = chance.between(3, 14);
    let mut echoed = 0;
    for _ in 0..keys {
        let between_words = if chance.chance(0.15) { chance.erlang(400 * MS) } else { 0 };
        let gap = (45 * MS).saturating_add(chance.erlang(135 * MS)).saturating_add(between_words);
        let (key, echo) = (sealed(9 + 1, chance), sealed(9 + 1, chance));
        echoed += echo.len();
        talk.client.extend([Step::Pause(gap), Step::Send(key.clone())]);
        talk.server.extend([Step::Await(key.len()), Step::Pause(chance.between(MS / 5, 2 * MS)), Step::Send(echo)]);
    }
    talk.client.push(Step::Await(echoed));
    talk.client_says(chance.between(60 * MS, 350 * MS), sealed(9 + 1, chance));
    let output = 9 + usize::try_from(chance.between(30, 700)).unwrap_or(0);
    talk.server_says(chance.between(MS / 2, 3 * MS), sealed(9 + 2, chance));
    talk.server_says(chance.between(3 * MS, 60 * MS), [sealed(output, chance), sealed(9 + 38, chance)].concat());
}

/// KEXINIT: a cookie, ten name lists, no guess, reserved (RFC 4253 section 7.1).
fn kexinit(lists: [&str; 4], chance: &mut Random) -> Vec<u8> {
    let [kex, host_keys, ciphers, macs] = lists;
    let cookie: [u8; 16] = chance.array();
    packet(
        |o| {
            o.u8(20);
            o.put(cookie);
            let compression = "none,zlib@openssh.com";
            for list in [kex, host_keys, ciphers, ciphers, macs, macs, compression, compression, "", ""] {
                o.block(4, |o| o.put(list));
            }
            o.u8(0);
            o.u32(0);
        },
        chance,
    )
}

/// A packet in the clear: length, padding length, payload, at least four bytes of padding to a multiple of eight.
fn packet(payload: impl FnOnce(&mut Octets), chance: &mut Random) -> Vec<u8> {
    let payload = Octets::of(payload);
    let padding = 4 + (8 - (4 + 1 + payload.len() + 4) % 8) % 8;
    let padding = chance.bytes(padding);
    Octets::of(|o| {
        o.block(4, |o| {
            o.u8(padding.len() as u8);
            o.put(payload);
            o.put(padding);
        });
    })
}

/// What a payload of that length looks like under chacha20-poly1305: four bytes of hidden length, the padded rest, a tag.
fn sealed(payload: usize, chance: &mut Random) -> Vec<u8> {
    let padded = (1 + payload + 4).next_multiple_of(8);
    chance.bytes(4 + padded + 16)
}

/// Key exchanges, host keys, ciphers and MACs of OpenSSH 9.5/9.6 as a client.
const CLIENT_LISTS: [&str; 4] = [
    "sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,\
     ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,\
     diffie-hellman-group18-sha512,diffie-hellman-group14-sha256,ext-info-c,kex-strict-c-v00@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,\
     rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
     rsa-sha2-512,rsa-sha2-256",
    CIPHERS,
    MACS,
];

/// The same of an OpenSSH 9.2 server set to curve25519 only.
const SERVER_LISTS: [&str; 4] = [
    "curve25519-sha256,curve25519-sha256@libssh.org,kex-strict-s-v00@openssh.com",
    "rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256,ssh-ed25519",
    CIPHERS,
    MACS,
];
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,\
                       aes256-gcm@openssh.com";
const MACS: &str = "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
                    hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,\
                    hmac-sha2-256,hmac-sha2-512,hmac-sha1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reader;

    #[test]
    fn a_keystroke_is_36_bytes_and_a_service_request_44() {
        let mut chance = Random::stream(1, "ssh");
        assert_eq!(sealed(10, &mut chance).len(), 36);
        assert_eq!(sealed(17, &mut chance).len(), 44);
    }

    #[test]
    fn packets_in_the_clear_are_padded_as_the_rfc_asks() {
        let mut chance = Random::stream(1, "ssh");
        for length in 1..40 {
            let bytes = packet(|o| o.put(vec![9; length]), &mut chance);
            let mut r = Reader::new(&bytes);
            let rest = r.u32().unwrap();
            let padding = r.u8().unwrap();
            assert_eq!(bytes.len() % 8, 0);
            assert!(bytes.len() >= 16 && (4..12).contains(&padding));
            assert_eq!((rest as usize, 1 + length + usize::from(padding)), (bytes.len() - 4, bytes.len() - 4));
        }
    }

    #[test]
    fn kexinit_has_ten_lists() {
        let bytes = kexinit(CLIENT_LISTS, &mut Random::stream(1, "ssh"));
        let mut r = Reader::new(&bytes);
        r.take(4 + 1 + 1 + 16).unwrap();
        for _ in 0..10 {
            let n = r.u32().unwrap();
            r.take(n as usize).unwrap();
        }
        assert_eq!((r.u8(), r.u32()), (Some(0), Some(0)));
    }

    #[test]
    fn both_ends_wait_for_what_the_other_says() {
        let (mut talk, mut chance) = (Dialogue::default(), Random::stream(5, "ssh"));
        Session { commands: 4, windows: true }.play(&mut talk, &mut chance);
        let count = |steps: &[Step]| {
            steps.iter().fold((0, 0), |(said, heard), step| match step {
                Step::Send(bytes) => (said + bytes.len(), heard),
                Step::Await(n) => (said, heard + n),
                _ => (said, heard),
            })
        };
        let ((said, heard), (answered, listened)) = (count(&talk.client), count(&talk.server));
        assert_eq!((said, heard), (listened, answered));
    }
}
