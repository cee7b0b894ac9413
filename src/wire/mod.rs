//! Text in, text out: parsing and writing of SIP messages, without state.
//!
//! [`Message`] borrows what it reads, [`read`] has the typed headers,
//! [`Framer`] cuts streams, [`HeadWriter`] writes.
//!
//! ```
//! use sip_events::wire::{Message, Substate, read};
//! let message = Message::parse(
//!     b"NOTIFY sip:ann@192.0.2.1 SIP/2.0\r\n\
//!       v: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2\r\n\
//!       f: <sip:bob@192.0.2.2>;tag=b\r\nt: <sip:ann@192.0.2.1>;tag=a\r\n\
//!       i: 1@192.0.2.1\r\nCSeq: 7 NOTIFY\r\nMax-Forwards: 70\r\no: presence\r\n\
//!       Subscription-State: active;expires=600\r\nl: 0\r\n\r\n",
//! )?;
//! assert_eq!(read::cseq(&message)?.number, 7);
//! assert_eq!(read::from(&message)?.tag(), Some(&b"b"[..]));
//! let state = read::subscription_state(&message)?.expect("it is there");
//! assert_eq!((state.substate, state.expires), (Substate::Active, Some(600)));
//! # Ok::<(), sip_events::wire::ParseError>(())
//! ```
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
pub(crate) mod name_filter;
mod push;
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
pub use encode::{HeadWriter, push_field, push_value};
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
pub use push::{push_u32, push_u64};
pub use status::StatusCode;
pub use transport::Transport;
pub(crate) use uri::is_sips;
pub use uri::{Scheme, Uri, UriHeaders, UriParams};
pub use uri_buf::{UriBuf, UriBuilder};
pub use uri_eq::resource_key;
pub use values::{AcceptRange, CSeq, MediaType, RetryAfter, parse_call_id, parse_max_forwards};
pub use via::Via;
pub use view::MessageView;
