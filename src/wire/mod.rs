//! Text in, text out: parsing and writing of SIP messages, without state.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod address;
mod error;
mod event;
mod header;
mod host;
pub mod lex;
mod method;
pub mod read;
mod status;
mod transport;
mod uri;
mod uri_buf;
mod uri_eq;
mod values;
mod via;
mod view;

pub use address::{ContactValue, NameAddr, write_name_addr};
pub use error::{ParseError, ParseErrorKind};
pub use event::{Event, Reason, SubscriptionState, Substate, is_event_type};
pub use header::HeaderName;
pub use host::{Host, HostPort};
pub use method::Method;
pub use status::StatusCode;
pub use transport::Transport;
pub use uri::{Scheme, Uri, UriHeaders, UriParams};
pub use uri_buf::{UriBuf, UriBuilder};
pub use uri_eq::resource_key;
pub use values::{AcceptRange, CSeq, MediaType, RetryAfter, parse_call_id, parse_max_forwards};
pub use via::Via;
pub use view::MessageView;
