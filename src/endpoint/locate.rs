//! From a URI to addresses (RFC 3263 section 4): each way to a next hop is a
//! stack of hops, worked off from the front.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use smallvec::SmallVec;

use super::down::Down;
use super::resolver::{Known, Look, Resolver};
use crate::Instant;
use crate::agent::Locals;
use crate::entropy::Entropy;
use crate::error::Failure;
use crate::io::{Io, Question, QuestionKind, Record};
use crate::wire::{Host, Transport, Uri};

/// Most ways that are kept for one request.
const MAX_HOPS: usize = 64;

/// One way to a next hop, more or less resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hop {
    Naptr {
        name: Bytes,
        secure: bool,
    },
    /// A `fallback` is dropped once service records are found.
    Srv {
        name: Bytes,
        transport: Transport,
        fallback: bool,
    },
    Name {
        name: Bytes,
        port: u16,
        transport: Transport,
        fallback: bool,
    },
    Address {
        remote: SocketAddr,
        transport: Transport,
        /// It was put behind the others: it failed lately.
        late: bool,
    },
}

/// The ways to one next hop that were not tried yet.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) hops: VecDeque<Hop>,
    /// The URI's host, which a certificate has to prove.
    pub(super) server_name: Bytes,
    /// An address was given out.
    pub(super) tried: bool,
    /// It began with a name.
    pub(super) named: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Go(Transport, SocketAddr),
    /// Until the entry of that slot is answered.
    Wait(u32),
    Fail(Failure),
}

/// What [`Plan::advance`] works with.
pub(super) struct Means<'a> {
    pub(super) locals: &'a Locals,
    pub(super) resolver: &'a mut Resolver,
    pub(super) entropy: &'a mut Entropy,
    pub(super) io: &'a mut VecDeque<Io>,
    pub(super) down: &'a Down,
}

impl Plan {
    /// The ways to `uri`; `None` if it is none that can be sent to. With
    /// `secure` it is taken as if it were a SIPS URI (3261-8.1.2-1).
    pub(super) fn new(uri: &[u8], secure: bool, locals: &Locals) -> Option<Self> {
        let uri = Uri::parse(uri).ok()?;
        let given = uri.param(b"transport").is_some();
        let asked = match uri.transport()? {
            Transport::Udp if secure && given => return None,
            Transport::Udp | Transport::Tcp if secure => Transport::Tls,
            Transport::Ws if secure => Transport::Wss,
            asked => asked,
        };
        let secure = secure || uri.is_sips();
        let maddr = uri.param(b"maddr").flatten().and_then(|maddr| Host::parse(maddr).ok());
        let host = uri.host()?;
        let target = maddr.unwrap_or(host);
        let mut server_name = Vec::new();
        // See `server_name`.
        if maddr.is_some() || !matches!(host, Host::V4(_)) {
            host.write(&mut server_name);
        }
        let mut hops = VecDeque::new();
        // The default may be a transport that we do not have.
        let transport = if given || locals.has(asked) { asked } else { preferred(secure, locals).next()? };
        let port = uri.port();
        match (target, port) {
            (Host::Name(name), None) => {
                let name = normal(name);
                if given {
                    hops.push_back(Hop::Srv { name: service(&name, transport), transport, fallback: true });
                } else {
                    hops.push_back(Hop::Naptr { name: name.clone(), secure });
                    let services = preferred(secure, locals);
                    hops.extend(services.map(|t| Hop::Srv { name: service(&name, t), transport: t, fallback: true }));
                }
                hops.push_back(Hop::Name { name, port: transport.default_port(), transport, fallback: true });
            }
            (Host::Name(name), Some(port)) => {
                hops.push_back(Hop::Name { name: normal(name), port, transport, fallback: true });
            }
            (numeric, port) => {
                let remote = SocketAddr::new(numeric.ip()?, port.unwrap_or(transport.default_port()));
                hops.push_back(Hop::Address { remote, transport, late: false });
            }
        }
        server_name.make_ascii_lowercase();
        let named = !hops.iter().all(|hop| matches!(hop, Hop::Address { .. }));
        Some(Self { hops, server_name: Bytes::from(server_name), tried: false, named })
    }

    /// Whether there may be several servers.
    pub(super) const fn is_named(&self) -> bool {
        self.named
    }

    /// The name that a server at `remote` has to prove: the host of the URI,
    /// which is not kept where it is that address.
    pub(super) fn server_name(&self, remote: SocketAddr) -> Bytes {
        if self.server_name.is_empty() {
            return Bytes::from(alloc::format!("{}", remote.ip().to_canonical()).into_bytes());
        }
        self.server_name.clone()
    }

    /// Whether something is left to try.
    pub(super) fn has_more(&self) -> bool {
        !self.hops.is_empty()
    }

    /// The next address to try.
    pub(super) fn advance(&mut self, now: Instant, means: &mut Means<'_>) -> Step {
        while let Some(hop) = self.hops.pop_front() {
            let question = match &hop {
                Hop::Address { remote, transport, late } => {
                    let usable = is_host(remote.ip()) && remote.port() != 0;
                    if let Some(remote) = means.locals.reach(*transport, *remote).filter(|_| usable) {
                        if !late && !self.hops.is_empty() && means.down.has(now, *transport, remote) {
                            self.hops.push_back(Hop::Address { remote, transport: *transport, late: true });
                            continue;
                        }
                        self.tried = true;
                        return Step::Go(*transport, remote);
                    }
                    continue;
                }
                Hop::Naptr { name, .. } => Question { name: name.clone(), kind: QuestionKind::Naptr },
                Hop::Srv { name, .. } => Question { name: name.clone(), kind: QuestionKind::Srv },
                Hop::Name { name, .. } => Question { name: name.clone(), kind: QuestionKind::Address },
            };
            match means.resolver.look(now, question, means.entropy, means.io) {
                Look::Known(known) => self.expand(&hop, known, means.locals, means.entropy),
                Look::Waiting(slot) => {
                    self.hops.push_front(hop);
                    return Step::Wait(slot);
                }
                Look::Full => break,
            }
        }
        self.hops.clear();
        Step::Fail(if self.tried { Failure::Transport } else { Failure::Unresolved })
    }

    /// Puts what `known` says in the place of `hop`.
    fn expand(&mut self, hop: &Hop, known: Known, locals: &Locals, entropy: &mut Entropy) {
        let mut found: SmallVec<[Hop; 8]> = SmallVec::new();
        match (hop, known) {
            (Hop::Naptr { secure, .. }, Known::Records(records)) => found.extend(services(&records, *secure, locals)),
            (Hop::Srv { transport, .. }, Known::Records(records)) => {
                found.extend(by_weight(&records, entropy).filter_map(|record| match record {
                    Record::Srv { port, target, .. } => {
                        Some(Hop::Name { name: normal(target), port: *port, transport: *transport, fallback: false })
                    }
                    _ => None,
                }));
            }
            (Hop::Name { port, transport, .. }, Known::Addresses(addresses)) => {
                found.extend(addresses.iter().map(|ip| Hop::Address {
                    remote: SocketAddr::new(*ip, *port),
                    transport: *transport,
                    late: false,
                }));
            }
            _ => {}
        }
        if matches!(hop, Hop::Srv { .. } | Hop::Naptr { .. }) && !found.is_empty() {
            let fallback =
                |hop: &Hop| matches!(hop, Hop::Srv { fallback: true, .. } | Hop::Name { fallback: true, .. });
            self.hops.retain(|hop| !fallback(hop));
        }
        // A lone "." says that there is no such service (RFC 2782).
        found.retain(|hop| !matches!(hop, Hop::Name { name, .. } if name.is_empty()));
        for hop in found.into_iter().rev() {
            self.hops.push_front(hop);
        }
        self.hops.truncate(MAX_HOPS);
    }
}

/// Whether `address` can be that of one host: no group, no wildcard.
pub(super) fn is_host(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !(address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST))
}

/// The transports that may be used where the URI names none, in our order.
fn preferred(secure: bool, locals: &Locals) -> impl Iterator<Item = Transport> {
    let order: &[Transport] =
        if secure { &[Transport::Tls] } else { &[Transport::Udp, Transport::Tcp, Transport::Tls] };
    order.iter().copied().filter(|transport| locals.has(*transport))
}

fn service(name: &[u8], transport: Transport) -> Bytes {
    let prefix: &[u8] = match transport {
        Transport::Udp => b"_sip._udp.",
        Transport::Tcp => b"_sip._tcp.",
        Transport::Tls => b"_sips._tcp.",
        Transport::Wss => b"_sips._ws.",
        _ => b"_sip._ws.",
    };
    Bytes::from([prefix, name].concat())
}

/// In lower case, without the final dot.
fn normal(name: &[u8]) -> Bytes {
    Bytes::from(name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase())
}

/// The services that we can use, the preferred ones first (RFC 3263 section
/// 4.1).
fn services(records: &[Record], secure: bool, locals: &Locals) -> impl Iterator<Item = Hop> {
    let mut usable: SmallVec<[((u16, u16), Hop); 8]> = SmallVec::new();
    for record in records {
        let Record::Naptr { order, preference, flags, service, replacement } = record else { continue };
        let transport = match service.to_ascii_uppercase().as_slice() {
            b"SIP+D2U" if !secure => Transport::Udp,
            b"SIP+D2T" if !secure => Transport::Tcp,
            b"SIPS+D2T" => Transport::Tls,
            _ => continue,
        };
        let name = normal(replacement);
        if !locals.has(transport) || name.is_empty() {
            continue;
        }
        let hop = match flags.to_ascii_lowercase().as_slice() {
            b"s" => Hop::Srv { name, transport, fallback: false },
            b"a" => Hop::Name { name, port: transport.default_port(), transport, fallback: false },
            _ => continue,
        };
        usable.push(((*order, *preference), hop));
    }
    usable.sort_by_key(|(rank, _)| *rank);
    usable.into_iter().map(|(_, hop)| hop)
}

/// Service records in the order of RFC 2782: by priority, within one priority
/// at random in the proportion of the weights.
fn by_weight<'r>(records: &'r [Record], entropy: &mut Entropy) -> impl Iterator<Item = &'r Record> {
    let rank = |record: &Record| match record {
        Record::Srv { priority, weight, .. } => (*priority, *weight),
        Record::Naptr { .. } => (u16::MAX, 0),
    };
    let mut rest: SmallVec<[&Record; 8]> = records.iter().filter(|r| matches!(r, Record::Srv { .. })).collect();
    rest.sort_by_key(|record| rank(record));
    let mut order: SmallVec<[&Record; 8]> = SmallVec::new();
    while let Some(first) = rest.first().map(|record| rank(record).0) {
        let peers = rest.iter().take_while(|record| rank(record).0 == first);
        let total: u64 = peers.clone().map(|record| u64::from(rank(record).1)).sum();
        let many = peers.clone().count() > 1;
        let mut draw = if many { entropy.next_u64().checked_rem(total.saturating_add(1)).unwrap_or(0) } else { 0 };
        let at = peers
            .clone()
            .position(|record| {
                let weight = u64::from(rank(record).1);
                let hit = draw <= weight;
                draw = draw.saturating_sub(weight);
                hit
            })
            .unwrap_or(0);
        order.push(rest.remove(at));
    }
    order.into_iter()
}
