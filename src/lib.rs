//! farmlight: who really sits behind a remote worker's connection, from the network alone.
//!
//! The crate is the way of a packet, one room a step:
//!
//! | room | takes | gives |
//! |---|---|---|
//! | [`source`] | files, standard input, a live interface | [`base::Frame`] |
//! | [`wire`] | frames | [`wire::Packet`] (link types, tunnels and fragments undone) |
//! | [`flow`] | packets | flows: 5-tuple, TCP order and gaps, expiry |
//! | [`protocol`] | the first bytes of a flow | which protocol it is, and [`protocol::Event`]s |
//! | [`meter`] | segments and events | [`base::RttSample`]s, each with method and bias |
//! | [`session`] | flows, events, samples | one [`session::Session`] record |
//! | [`fingerprint`] | sessions | comparable values: ladder, path |
//! | [`intel`] | databases and lists | places of addresses |
//! | [`evidence`] | all of it, per endpoint | hypotheses, evidence, verdict: the only room with opinions |
//! | [`state`] | accounts and claims of a run | those of earlier runs, from a file |
//! | [`sink`] | records | tables and JSON lines |
//! | [`pipeline`] | a source and a sink | the run: worker (pure), shards, engine |
//! | [`simulate`] | a scenario and a seed | a capture with known truth |
//!
//! **Layer rule**: imports only go down this table (`tests/architecture.rs` holds it as data).
//! The core does no IO and reads no clock: time comes in with the packet.
//! `docs/ARCHITECTURE.md` tells the rest.
#![forbid(unsafe_code)]

pub mod app;
pub mod base;
pub mod cli;
pub mod evidence;
pub mod fingerprint;
pub mod flow;
pub mod intel;
pub mod meter;
pub mod pipeline;
pub mod protocol;
pub mod session;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod state;
pub mod wire;
