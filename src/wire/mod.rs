//! Text in, text out: parsing and writing of SIP messages, without state.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod address;
mod check;
mod encode;
mod error;
mod event;
mod frame;
mod header;
mod host;
mod index;
pub mod lex;
mod message;
mod message_buf;
mod method;
#[cfg(test)]
mod mutation_tests;
pub mod read;
mod scan;
mod status;
mod transport;
mod uri;
mod uri_buf;
mod uri_eq;
mod values;
mod via;
mod view;

pub use address::{ContactValue, NameAddr, write_name_addr};
pub use encode::{HeadWriter, push_field, push_u32, push_u64, push_value};
pub use error::{ParseError, ParseErrorKind};
pub use event::{Event, Reason, SubscriptionState, Substate, is_event_type};
pub use frame::{Frame, Framer, FramerLimits, FramingLost, FramingLostReason};
pub use header::HeaderName;
pub use host::{Host, HostPort};
pub use index::MAX_HEADERS;
pub use lex::is_token;
pub use message::{Field, MAX_MESSAGE, Message, StartLine};
pub use message_buf::MessageBuf;
pub use method::Method;
pub use status::StatusCode;
pub use transport::Transport;
pub use uri::{Scheme, Uri, UriHeaders, UriParams};
pub use uri_buf::{UriBuf, UriBuilder};
pub use uri_eq::resource_key;
pub use values::{AcceptRange, CSeq, MediaType, RetryAfter, parse_call_id, parse_max_forwards};
pub use via::Via;
pub use view::MessageView;
