//! A request that waits until its user's secret is known: what of it will be
//! read, copied.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::agent::message::{Origin, Token};
use crate::codec::Writer;
use crate::wire::{HeaderName, MessageView};

/// Most bytes of header fields that are kept of one request.
const MAX_HEAD: usize = 16_384;

#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(super) token: Token,
    pub(super) origin: Origin,
    /// A NOTIFY; else a SUBSCRIBE.
    pub(super) is_notify: bool,
    /// The nonce that it claims to answer.
    pub(super) stamp: u64,
    uri: Box<[u8]>,
    fields: Vec<(HeaderName<'static>, Box<[u8]>)>,
    body: Bytes,
}

impl Held {
    /// Copies `message`; `None` if its head is too large to wait.
    pub(super) fn new<V: MessageView + ?Sized>(
        message: &V,
        token: Token,
        origin: Origin,
        is_notify: bool,
        stamp: u64,
    ) -> Option<Self> {
        let uri: Box<[u8]> = message.request_uri().unwrap_or_default().into();
        let mut fields = Vec::new();
        let mut size = uri.len();
        for name in (0u8..).map_while(HeaderName::from_id) {
            for value in (0..).map_while(|nth| message.field(name, nth)) {
                size = size.saturating_add(value.len()).saturating_add(32);
                if size > MAX_HEAD {
                    return None;
                }
                fields.push((name, value.into()));
            }
        }
        let body = Bytes::copy_from_slice(message.body());
        Some(Self { token, origin, is_notify, stamp, uri, fields, body })
    }
}

impl Held {
    pub(super) fn put(&self, w: &mut Writer<'_>) {
        let Self { token, origin, is_notify, stamp: _, uri, fields, body } = self;
        w.ident(&token.0);
        w.put(&origin.flow);
        w.put(is_notify);
        w.put(&**uri);
        for (name, value) in fields {
            w.ident(name.as_bytes());
            w.ident(&**value);
        }
        w.put(&body[..]);
    }
}

impl MessageView for Held {
    fn request_uri(&self) -> Option<&[u8]> {
        Some(&self.uri)
    }

    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        self.fields.iter().filter(|(own, _)| *own == name).nth(nth).map(|(_, value)| &**value)
    }

    fn body(&self) -> &[u8] {
        &self.body
    }
}
