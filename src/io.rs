//! What the endpoint asks of its driver, what the driver answers, and what it
//! is given to send.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;

use crate::Instant;
use crate::flow::{Flow, StreamId};
use crate::id::RawId;
use crate::wire::Transport;

macro_rules! io_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) RawId);

        impl $name {
            /// The id as a number, for maps and logs; no two of one endpoint are equal.
            pub fn as_u64(self) -> u64 {
                (u64::from(self.0.generation.get()) << 32) | u64::from(self.0.slot)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }
    };
}

io_id!(
    /// Names a question of the endpoint until [`Endpoint::handle_resolved`](crate::Endpoint::handle_resolved).
    QueryId
);
io_id!(
    /// Names a connection to be opened until [`Endpoint::handle_stream_opened`](crate::Endpoint::handle_stream_opened)
    /// or [`Endpoint::handle_connect_failed`](crate::Endpoint::handle_connect_failed).
    ConnectId
);

/// Work for the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Io {
    /// Look up a name and answer with [`Endpoint::handle_resolved`](crate::Endpoint::handle_resolved).
    Resolve {
        /// Name it in the answer.
        query: QueryId,
        /// What is asked.
        question: Question,
    },
    /// Open a connection, and tell how it went.
    Connect {
        /// Name it in the answer.
        connect: ConnectId,
        /// TCP, TLS or a WebSocket.
        transport: Transport,
        /// The address to connect from, port 0 standing for any; `None` leaves
        /// it to the system.
        local: Option<SocketAddr>,
        /// The address to connect to.
        remote: SocketAddr,
        /// For TLS: the host name or address that the certificate has to prove
        /// (RFC 5922 section 7.3). Empty when there is none.
        server_name: Bytes,
    },
    /// Close a connection; [`Endpoint::handle_stream_closed`](crate::Endpoint::handle_stream_closed)
    /// is still due.
    Close {
        /// The connection.
        stream: StreamId,
    },
    /// Send something along a datagram flow that keeps its path open, such as
    /// a STUN binding request (RFC 5626 section 4.4.2), as
    /// [`Endpoint::keep_alive`](crate::Endpoint::keep_alive) asked for. If
    /// nothing comes back, call
    /// [`Endpoint::handle_unreachable`](crate::Endpoint::handle_unreachable); if
    /// the mapped address is another one, `add_local` and
    /// [`Endpoint::rehome`](crate::Endpoint::rehome).
    KeepAlive {
        /// The flow.
        flow: Flow,
    },
    /// For information: a connection closed on which something depended; see
    /// [`FlowGone`](crate::FlowGone).
    FlowGone {
        /// What is gone.
        flow: Flow,
        /// Subscriptions of ours that used it.
        subscriptions: u32,
        /// Watchers that used it.
        watchers: u32,
    },
}

/// A question for the domain name system (RFC 3263).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// A domain name in lower case, without a final dot, service labels such
    /// as `_sip._udp.` included.
    pub name: Bytes,
    /// Which records are wanted.
    pub kind: QuestionKind,
}

/// Which records a [`Question`] wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QuestionKind {
    /// NAPTR records.
    Naptr,
    /// SRV records.
    Srv,
    /// A and AAAA records: answer with [`Answer::Addresses`].
    Address,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer<'a> {
    /// NAPTR or SRV records, in any order; the first 32 are used.
    Records {
        /// The records.
        records: &'a [Record],
        /// How long they may be remembered.
        ttl: Duration,
    },
    /// Addresses, the preferred ones first; the first 32 are used.
    Addresses {
        /// The addresses.
        addresses: &'a [IpAddr],
        /// How long they may be remembered.
        ttl: Duration,
    },
    /// There is no answer.
    Failed(ResolveFailure),
}

/// Why a [`Question`] has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolveFailure {
    /// The name or the record type does not exist.
    NotFound,
    /// The driver cannot look up such records. For NAPTR and SRV it will not be
    /// asked again: addresses are asked for instead.
    NotSupported,
    /// No server answered, or it failed.
    Unavailable,
}

/// A record of the domain name system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Record {
    /// A NAPTR record (RFC 3403); the regular expression is not used by SIP.
    Naptr {
        /// Lower ones are tried first.
        order: u16,
        /// Among equal orders lower ones are tried first.
        preference: u16,
        /// `s` when `replacement` has SRV records, `a` when it has addresses.
        flags: Bytes,
        /// Such as `SIP+D2U`.
        service: Bytes,
        /// The name to ask for next.
        replacement: Bytes,
    },
    /// An SRV record (RFC 2782).
    Srv {
        /// Lower ones are tried first.
        priority: u16,
        /// Among equal priorities, the share of the choices.
        weight: u16,
        /// The port.
        port: u16,
        /// The host's name; `.` says that there is no such service.
        target: Bytes,
    },
}

/// Why a connection was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The peer refused or reset it.
    Refused,
    /// No route to the peer.
    Unreachable,
    /// Nothing was heard in the driver's time.
    TimedOut,
    /// The TLS or WebSocket handshake failed.
    Handshake,
    /// The driver cannot: no such transport, no descriptors left.
    NotPossible,
}

/// Names what a [`Transmit`] belongs to, for
/// [`Endpoint::handle_transmit_failed`](crate::Endpoint::handle_transmit_failed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransmitId(pub(crate) Sent);

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    /// One attempt of a client transaction.
    Request { slot: u32, nonce: u64 },
    /// A response, or a pong.
    Response,
}

/// One message to send: the `head_len` bytes that
/// [`Endpoint::poll_transmit`](crate::Endpoint::poll_transmit) appended to its
/// buffer, followed by `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Transmit {
    /// For reporting that it could not be sent.
    pub id: TransmitId,
    /// Where to send it, and from which of our addresses.
    pub flow: Flow,
    /// Bytes appended to the buffer.
    pub head_len: usize,
    /// What follows them; often empty. It may be shared by many messages.
    pub body: Bytes,
}

impl Transmit {
    /// Appends the body, so that the buffer holds one contiguous message.
    pub fn append_body(&self, head: &mut Vec<u8>) {
        head.extend_from_slice(&self.body);
    }
}

/// What [`Endpoint::handle_stream`](crate::Endpoint::handle_stream) found in a
/// chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StreamSummary {
    /// Messages that took effect.
    pub consumed: u32,
    /// Messages that had none; the reasons are in [`Stats`](crate::Stats).
    pub dropped: u32,
    /// Messages of another stack ([`Role::Shared`](crate::Role)). They are
    /// lost: a driver in that role frames its streams itself and calls
    /// [`Endpoint::handle_message`](crate::Endpoint::handle_message).
    pub not_ours: u32,
    /// Keep-alive pings, each answered by a CRLF (RFC 5626 section 3.5.1).
    pub pings: u32,
}

/// How a stream does; see [`Endpoint::stream_info`](crate::Endpoint::stream_info).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// When bytes last came; `None` before the first.
    pub last_activity: Option<Instant>,
    /// Since when an unfinished message waits for its rest.
    pub unfinished_since: Option<Instant>,
    /// Requests of ours that are open on it.
    pub requests: u32,
}
