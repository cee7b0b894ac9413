//! Text in, text out: parsing and writing of SIP messages, without state.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod check;
mod encode;
mod error;
mod frame;
mod header;
mod index;
mod message;
mod message_buf;
mod method;
mod scan;
mod status;
mod view;

pub use encode::{HeadWriter, push_u32, push_u64};
pub use error::{ParseError, ParseErrorKind};
pub use frame::{Frame, Framer, FramerLimits, FramingLost, FramingLostReason};
pub use header::HeaderName;
pub use index::MAX_HEADERS;
pub use message::{Field, MAX_MESSAGE, Message, StartLine};
pub use message_buf::MessageBuf;
pub use method::Method;
pub use status::StatusCode;
pub use view::MessageView;
