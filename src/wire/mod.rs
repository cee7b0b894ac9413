//! Text in, text out: parsing and writing of SIP messages, without state.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod error;
mod header;
mod method;
mod status;
mod view;

pub use error::{ParseError, ParseErrorKind};
pub use header::HeaderName;
pub use method::Method;
pub use status::StatusCode;
pub use view::MessageView;
