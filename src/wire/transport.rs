//! The transports that Via and URIs name.

/// A transport protocol of SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Transport {
    /// UDP (RFC 3261).
    Udp,
    /// TCP (RFC 3261).
    Tcp,
    /// TLS over TCP (RFC 3261).
    Tls,
    /// WebSocket over TCP (RFC 7118).
    Ws,
    /// WebSocket over TLS (RFC 7118).
    Wss,
}

impl Transport {
    /// Reads a Via transport or a `transport` URI parameter, in any case.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|known| known.via_token().as_bytes().eq_ignore_ascii_case(token))
    }

    /// Whether it delivers reliably and in order, so that SIP does not
    /// retransmit over it.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether it encrypts.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The port meant where none is given (3261-18.1.1-4, RFC 7118 section 5).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// As it is written in Via.
    pub const fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// As it is written in the `transport` parameter of a URI.
    pub const fn param_token(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: 3261-18.1.1-4, 3261-19.1.1-3
    #[test]
    fn tokens_and_defaults() {
        for (transport, via, reliable, secure, port) in [
            (Transport::Udp, "UDP", false, false, 5060),
            (Transport::Tcp, "TCP", true, false, 5060),
            (Transport::Tls, "TLS", true, true, 5061),
            (Transport::Ws, "WS", true, false, 80),
            (Transport::Wss, "WSS", true, true, 443),
        ] {
            assert_eq!(transport.via_token(), via);
            assert_eq!(transport.param_token(), via.to_ascii_lowercase());
            assert_eq!(transport.is_reliable(), reliable);
            assert_eq!(transport.is_secure(), secure);
            assert_eq!(transport.default_port(), port);
            for spelling in [via, transport.param_token()] {
                assert_eq!(Transport::from_token(spelling.as_bytes()), Some(transport));
            }
        }
        for unknown in ["", "SCTP", "UD", "UDPX", "TLS-SCTP"] {
            assert_eq!(Transport::from_token(unknown.as_bytes()), None);
        }
    }
}
