//! Outside knowledge, read-only: where an address is, whose it is, who lives where, and which networks are ours.
//!
//! Reads: a user's CSV of networks and of homes, MaxMind City and ASN databases, lists of networks in CIDR notation.
//! Emits: [`Place`]s by address, distances, membership. Imports base only.
//! Does not: ask the network, judge a place, or guess: what no source says stays unknown.

mod allow;
mod gateway_log;
mod geo;
mod geo_csv;
mod homes;
mod kind;
mod lists;
mod mmdb;
mod nets;
mod place;
mod places;
mod premises;
mod pseudonym;
mod reach;
mod roll;
mod tools;

pub use allow::{AllowEntry, AllowList, AllowUse, Allowed};
pub use geo::{GeoPoint, GeoPointError, distance_km};
pub use homes::{Home, Homes, Towns};
pub use kind::{Kind, UnknownKind};
pub use lists::{Label, LeftOut, ListError, ListSource, Listed, Lists};
pub use mmdb::{DatabaseFacts, inspect};
pub use nets::{Networks, NetworksError};
pub use places::{Origin, Place, PlaceError, PlacePart, Places};
pub use premises::{Premises, is_not_public};
pub use pseudonym::{KeyError, Pseudonyms};
pub use reach::{Access, Distance, Expected};
pub use roll::{Roll, RollError, read_growing_roll, read_roll};
pub use tools::{Refused, Tool, ToolError, ToolHit, Tools};
