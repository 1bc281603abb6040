//! What a client of HTTP/1 does only because the server has told it to: the loops of its side.
//!
//! Reads: heads of requests and of answers, one after the other. Emits: question and answer of `continue` (a body that
//! waited for `100 Continue`), `challenge` (credentials made of what the server has sent) and `redirect` (a request for
//! the place that the answer names). Does not: read bodies, or tell nonces, places and names.
//! Bias: longer by what the client computes, and by the rest of the answer, which it reads before it asks again on the
//! same connection.
//!
//! Reference: RFC 9110 10.1.1 (Expect), 11 (challenges) and 15.4 (redirection), RFC 7616 3.3 (a nonce of Digest),
//! [MS-NTHT] 2.2 (NTLM).

use super::fields::fields;
use super::ntlm::{Ntlm, ntlm_in};
use crate::base::{Direction, Events, Layer, Timestamp};
use data_encoding::BASE64;
use std::time::Duration;

const CONTINUE: &str = "continue";
const CHALLENGE: &str = "challenge";
const REDIRECT: &str = "redirect";

/// No person does anything about an answer sooner: to get ready takes 1.35 s and a key 0.2 s (Card, Moran and Newell,
/// "The keystroke-level model", CACM 1980).
const PERSON: Duration = Duration::from_millis(1_500);
/// A client that hears nothing sends its body all the same, curl and Go after 1 s: a body that comes so late has
/// perhaps not waited for the answer.
const PATIENCE: Duration = Duration::from_millis(900);
/// The longest nonce that is looked at; Apache's has 52 characters.
const NONCE_LIMIT: usize = 256;

/// What stands in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    place: Option<Place>,
    nonce: Option<Vec<u8>>,
    /// It answers NTLM's challenge.
    authenticates: bool,
    /// It asks whether its body is wanted.
    expects: bool,
}

/// What an answer tells the client to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// To send the body.
    Continue,
    /// To make credentials of this nonce.
    Nonce(Vec<u8>),
    /// To answer NTLM's challenge.
    Ntlm,
    /// To ask for what is there: a `Location` as it stands.
    Location(Vec<u8>),
}

/// A host and a path on it, with what follows a `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    authority: Vec<u8>,
    path: Vec<u8>,
}

impl Asked {
    /// Of a request's head; `target` is that of its first line.
    #[must_use]
    pub fn read(target: &[u8], head: &[u8]) -> Self {
        let credentials = || ["authorization", "proxy-authorization"].into_iter().flat_map(|name| fields(head, name));
        let authority = fields(head, "host").next().map(authority);
        Self {
            place: Place::of(target, authority.as_deref()),
            nonce: credentials().find_map(nonce),
            authenticates: credentials().any(|value| matches!(ntlm(value), Some(Ntlm::Authenticate(_)))),
            expects: fields(head, "expect").any(|value| value.eq_ignore_ascii_case(b"100-continue")),
        }
    }
}

impl Told {
    /// Of an answer's head.
    #[must_use]
    pub fn read(status: u16, head: &[u8]) -> Option<Self> {
        match status {
            100 => Some(Self::Continue),
            301 | 302 | 303 | 307 | 308 => Some(Self::Location(fields(head, "location").next()?.to_vec())),
            401 | 407 => {
                let name = if status == 401 { "www-authenticate" } else { "proxy-authenticate" };
                if fields(head, name).any(|value| ntlm(value) == Some(Ntlm::Challenge)) {
                    return Some(Self::Ntlm);
                }
                fields(head, name).find_map(nonce).map(Self::Nonce)
            }
            _ => None,
        }
    }
}

impl Place {
    /// A request's target, or a `Location`, where nothing but a path stands for the same host. Another scheme is another
    /// connection; what is relative to the place at hand is left out.
    fn of(target: &[u8], host: Option<&[u8]>) -> Option<Self> {
        let target = target.split(|b| *b == b'#').next()?;
        let scheme = target.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case(b"http://"));
        if scheme {
            let rest = target.get(7..)?;
            let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
            let (named, path) = rest.split_at_checked(end)?;
            let path = if path.is_empty() { b"/" } else { path };
            return Some(Self { authority: authority(named), path: path.to_vec() });
        }
        let plain = target.first() == Some(&b'/') && target.get(1) != Some(&b'/');
        plain.then_some(Self { authority: host?.to_vec(), path: target.to_vec() })
    }
}

/// A host as it is compared: without case, and without the port that needs not be said.
fn authority(host: &[u8]) -> Vec<u8> {
    host.strip_suffix(b":80").unwrap_or(host).to_ascii_lowercase()
}

/// The nonce in a challenge, or in credentials, of Digest.
fn nonce(value: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"nonce=\"";
    let digest = value.windows(6).position(|window| window.eq_ignore_ascii_case(b"digest"))?;
    let behind = value.get(digest..)?;
    // `cnonce` is the client's own.
    let own = |window: &[u8]| {
        window.split_first().is_some_and(|(b, name)| matches!(b, b' ' | b',') && name.eq_ignore_ascii_case(NAME))
    };
    let at = behind.windows(NAME.len() + 1).position(own)?;
    let quoted = behind.get(at + 1 + NAME.len()..)?;
    let len = quoted.iter().take(NONCE_LIMIT + 1).position(|b| *b == b'"').filter(|len| *len > 0)?;
    quoted.get(..len).map(<[u8]>::to_vec)
}

/// The message in credentials of NTLM, alone or under Negotiate ([MS-NTHT] 2.2, RFC 4559).
#[must_use]
pub fn ntlm(credentials: &[u8]) -> Option<Ntlm> {
    let (scheme, token) = credentials.split_at_checked(credentials.iter().position(|b| *b == b' ')?)?;
    if !scheme.eq_ignore_ascii_case(b"ntlm") && !scheme.eq_ignore_ascii_case(b"negotiate") {
        return None;
    }
    ntlm_in(&BASE64.decode(token.trim_ascii()).ok()?)
}

/// The body of a request that asks whether it is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Body {
    #[default]
    Free,
    /// It has been asked for at this time, and none of it has passed.
    Held(Timestamp),
    /// The server wants it.
    Wanted(Timestamp),
}

/// What one client waits for.
#[derive(Debug, Default)]
pub struct Waits {
    body: Body,
    /// The latest request.
    asked: Asked,
    /// What its answer told.
    told: Option<(Timestamp, Next)>,
}

/// What the next request is, if the client does as it was told.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nonce(Vec<u8>),
    Ntlm,
    Place(Place),
}

impl Next {
    const fn method(&self) -> &'static str {
        match self {
            Self::Nonce(_) | Self::Ntlm => CHALLENGE,
            Self::Place(_) => REDIRECT,
        }
    }

    fn is(&self, asked: &Asked) -> bool {
        match self {
            Self::Nonce(nonce) => asked.nonce.as_ref() == Some(nonce),
            Self::Ntlm => asked.authenticates,
            Self::Place(place) => asked.place.as_ref() == Some(place),
        }
    }
}

impl Waits {
    /// A request, whose head's first byte passed at `began`, and whose last at `at`.
    pub fn on_request(&mut self, began: Timestamp, at: Timestamp, dir: Direction, asked: Asked, events: &mut Events) {
        if let Some((since, next)) = self.told.take()
            && next.is(&asked)
            && began.since(since).is_some_and(|took| took < PERSON)
        {
            events.answer(began, dir, Layer::Http, next.method());
        }
        self.body = if asked.expects { Body::Held(at) } else { Body::Free };
        self.asked = asked;
    }

    /// Bytes behind the request's head, the first of which passed at `at`.
    pub fn on_body(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if let Body::Wanted(asked) = std::mem::take(&mut self.body)
            && at.since(asked).is_some_and(|took| took < PATIENCE)
        {
            events.answer(at, dir, Layer::Http, CONTINUE);
        }
    }

    /// An answer, whose head's last byte passed at `at`; says whether the client is to ask again because of it.
    pub fn on_response(&mut self, at: Timestamp, dir: Direction, told: Option<Told>, events: &mut Events) -> bool {
        let next = match told {
            Some(Told::Continue) => {
                if let Body::Held(asked) = self.body {
                    self.body = Body::Wanted(asked);
                    events.ask(at, dir, Layer::Http, CONTINUE);
                }
                return false;
            }
            // A nonce that it has used already tells it nothing.
            Some(Told::Nonce(nonce)) => Some(Next::Nonce(nonce)),
            Some(Told::Ntlm) => Some(Next::Ntlm),
            Some(Told::Location(to)) => {
                let host = self.asked.place.as_ref().map(|place| place.authority.clone());
                let place = Place::of(&to, host.as_deref()).filter(|to| Some(&to.authority) == host.as_ref());
                place.map(Next::Place)
            }
            None => None,
        };
        // What it has asked for by itself it may ask for again by itself.
        let next = next.filter(|next| !next.is(&self.asked) || *next == Next::Ntlm);
        if let Some(next) = &next {
            events.ask(at, dir, Layer::Http, next.method());
        }
        self.told = next.map(|next| (at, next));
        self.told.is_some()
    }
}
