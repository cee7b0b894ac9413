//! Flows: the path a message takes, in RFC 5626's word.

use core::fmt;
use core::net::SocketAddr;

use crate::wire::Transport;

/// A connection (TCP, TLS, WebSocket), named by the caller. The number is the
/// caller's own and is never reused while the crate may still name it: until
/// [`Endpoint::handle_stream_closed`](crate::Endpoint::handle_stream_closed) was called for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Where a message came from or goes to: transport, both addresses, and the
/// connection if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Flow {
    /// The transport protocol.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection, `None` for datagrams.
    pub stream: Option<StreamId>,
}

impl Flow {
    /// Datagrams between `local` and `remote`.
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, local, remote, stream: None }
    }

    /// The connection `stream` between `local` and `remote`.
    pub const fn stream(transport: Transport, local: SocketAddr, remote: SocketAddr, stream: StreamId) -> Self {
        Self { transport, local, remote, stream: Some(stream) }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} - {}", self.transport.via_token(), self.local, self.remote)?;
        match self.stream {
            Some(stream) => write!(f, " #{}", stream.0),
            None => Ok(()),
        }
    }
}
