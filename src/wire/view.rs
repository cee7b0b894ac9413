//! The smallest face of a SIP message that the layers above need.

use super::HeaderName;

/// Read access to one SIP message, whoever parsed it.
///
/// Implemented by the crate's own messages; implement it for the message type
/// of another SIP stack to use the `agent` layer under that stack.
pub trait MessageView {
    /// The Request-URI as it stood in the start line; `None` for a response.
    fn request_uri(&self) -> Option<&[u8]>;

    /// The value of the `nth` field *line* of that name, counted from 0 in
    /// message order, compact forms included.
    ///
    /// Blanks round the value are trimmed. The value may still be folded (a
    /// CRLF followed by a blank) and may hold a comma-separated list.
    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]>;

    /// The body, empty when there is none.
    fn body(&self) -> &[u8];
}

impl<V: MessageView + ?Sized> MessageView for &V {
    fn request_uri(&self) -> Option<&[u8]> {
        (**self).request_uri()
    }

    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        (**self).field(name, nth)
    }

    fn body(&self) -> &[u8] {
        (**self).body()
    }
}
