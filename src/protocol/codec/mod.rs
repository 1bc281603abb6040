//! Formats that two protocols share, and the buffer their readers stand on.
//!
//! Imports base only. Does not: name a flow, but for what the four protocols of one call share (`multiplex`).

pub mod cipher_suite;
pub mod client_hello;
pub mod dtls;
pub mod dtls_record;
pub mod fields;
pub mod hello_attributes;
pub mod http_waits;
pub mod ice;
pub mod isakmp;
pub mod isakmp_names;
pub mod ja;
pub mod multiplex;
pub mod ntlm;
pub mod quic_crypto;
pub mod quic_google;
pub mod quic_initial;
pub mod quic_packet;
pub mod quic_parameters;
pub mod quic_spin;
pub mod rdp_negotiation;
pub mod rdp_settings;
pub mod rdp_udp_header;
pub mod rfb_security;
pub mod rtp;
pub mod server_hello;
pub mod sip_line;
pub mod socks_message;
pub mod stun;
pub mod stun_dialogue;
pub mod text;
pub mod tls_record;
pub mod tor_link;
pub mod tunnel_names;
pub mod websocket;
pub mod x509;

mod inbox;

pub use inbox::{Inbox, unused};
pub use text::{printable, push_printable, text_utf16le};
