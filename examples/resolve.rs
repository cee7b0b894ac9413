//! Where a SUBSCRIBE to a URI would go (RFC 3263), with a real resolver: prints
//! every question and answer, then the destinations in the order in which they
//! are tried. Nothing is sent but the questions.
// A driver is what reads the clock.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code)]
mod driver;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::base::iana::Rcode;
use domain::base::{Message, Name, Rtype};
use domain::rdata::{A, Aaaa, Naptr, Srv};
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport as Carrier};
use driver::cli;
use sip_events::wire::Transport;
use sip_events::{
    Answer, Clock, Config, ConnectFailure, Endpoint, Event, Io, Packages, Question, QuestionKind, Record,
    ResolveFailure, Seed, Subscribe,
};

const USAGE: &str = "\
usage: resolve URI [--server IP:PORT]
  --server IP:PORT   ask this name server (those of the system)";

/// What was found; `Answer` borrows from it.
#[derive(Debug)]
enum Found {
    Records(Vec<Record>, Duration),
    Addresses(Vec<IpAddr>, Duration),
    Failed(ResolveFailure),
}

impl Found {
    fn answer(&self) -> Answer<'_> {
        match self {
            Self::Records(records, ttl) => Answer::Records { records, ttl: *ttl },
            Self::Addresses(addresses, ttl) => Answer::Addresses { addresses, ttl: *ttl },
            Self::Failed(why) => Answer::Failed(*why),
        }
    }
}

/// Looks up what the endpoint asks for: this is the part to copy.
async fn look_up(resolver: &StubResolver, question: &Question) -> Found {
    let text = String::from_utf8_lossy(&question.name);
    let Ok(name) = text.parse::<Name<Vec<u8>>>() else { return Found::Failed(ResolveFailure::NotFound) };
    let types: &[Rtype] = match question.kind {
        QuestionKind::Naptr => &[Rtype::NAPTR],
        QuestionKind::Srv => &[Rtype::SRV],
        _ => &[Rtype::AAAA, Rtype::A],
    };
    let (mut records, mut addresses, mut ttl) = (Vec::new(), Vec::new(), u32::MAX);
    for rtype in types {
        let Ok(answer) = resolver.query((&name, *rtype)).await else {
            return Found::Failed(ResolveFailure::Unavailable);
        };
        let message = answer.into_message();
        match message.header().rcode() {
            Rcode::NOERROR => read(&message, &mut records, &mut addresses, &mut ttl),
            Rcode::NXDOMAIN => return Found::Failed(ResolveFailure::NotFound),
            _ => return Found::Failed(ResolveFailure::Unavailable),
        }
    }
    let ttl = Duration::from_secs(ttl.into());
    match (records.is_empty(), addresses.is_empty()) {
        (false, _) => Found::Records(records, ttl),
        (_, false) => Found::Addresses(addresses, ttl),
        _ => Found::Failed(ResolveFailure::NotFound),
    }
}

/// The records of the answer section; others, such as CNAME, are skipped.
fn read(message: &Message<Bytes>, records: &mut Vec<Record>, addresses: &mut Vec<IpAddr>, ttl: &mut u32) {
    let Ok(section) = message.answer() else { return };
    let lower = |name: &dyn std::fmt::Display| Bytes::from(name.to_string().to_ascii_lowercase());
    for record in section.limit_to::<Naptr<_, _>>().flatten() {
        let naptr = record.data();
        records.push(Record::Naptr {
            order: naptr.order(),
            preference: naptr.preference(),
            flags: Bytes::copy_from_slice(naptr.flags().as_slice()),
            service: Bytes::copy_from_slice(naptr.services().as_slice()),
            replacement: lower(naptr.replacement()),
        });
        *ttl = record.ttl().as_secs().min(*ttl);
    }
    for record in section.limit_to::<Srv<_>>().flatten() {
        let srv = record.data();
        let (priority, weight, port, target) = (srv.priority(), srv.weight(), srv.port(), lower(srv.target()));
        records.push(Record::Srv { priority, weight, port, target });
        *ttl = record.ttl().as_secs().min(*ttl);
    }
    for record in section.limit_to::<Aaaa>().flatten() {
        addresses.push(record.data().addr().into());
        *ttl = record.ttl().as_secs().min(*ttl);
    }
    for record in section.limit_to::<A>().flatten() {
        addresses.push(record.data().addr().into());
        *ttl = record.ttl().as_secs().min(*ttl);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut args = cli::Args::new(USAGE);
    let (mut uri, mut conf) = (None, ResolvConf::default());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--server" => conf.servers = vec![ServerConf::new(args.parsed(&arg), Carrier::UdpTcp)],
            other if !other.starts_with('-') && uri.is_none() => uri = Some(arg),
            other => cli::wrong(&format!("{other} is no option")),
        }
    }
    let uri = uri.unwrap_or_else(|| cli::wrong("a URI is needed"));
    let resolver = StubResolver::from_conf(conf);
    let clock = Clock::new(std::time::Instant::now());
    let now = || clock.convert(std::time::Instant::now());
    let config = Config::new("sip:resolve@127.0.0.1").map_err(io::Error::other)?;
    let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([1; 32]), now());
    for (transport, local) in [
        (Transport::Udp, "127.0.0.1:5060"),
        (Transport::Tcp, "127.0.0.1:5060"),
        (Transport::Tls, "127.0.0.1:5061"),
        (Transport::Udp, "[::1]:5060"),
        (Transport::Tcp, "[::1]:5060"),
        (Transport::Tls, "[::1]:5061"),
    ] {
        let local: SocketAddr = local.parse().map_err(io::Error::other)?;
        endpoint.add_local(transport, local, None, None).map_err(io::Error::other)?;
    }
    let request = Subscribe::new(&uri, "presence").unwrap_or_else(|error| cli::wrong(&format!("{uri}: {error}")));
    endpoint.subscribe(now(), request.auto_resubscribe(false)).map_err(io::Error::other)?;

    let mut message = Vec::new();
    loop {
        // Whatever would be sent fails, so that the next destination comes up.
        while let Some(transmit) = endpoint.poll_transmit(now(), &mut message) {
            println!("send to {} {}", transmit.flow.transport.via_token(), transmit.flow.remote);
            endpoint.handle_transmit_failed(now(), transmit.id);
            message.clear();
        }
        while let Some(event) = endpoint.poll_event() {
            match event {
                Event::Io(Io::Resolve { query, question }) => {
                    let found = look_up(&resolver, &question).await;
                    println!("{:?} {}: {found:?}", question.kind, String::from_utf8_lossy(&question.name));
                    let _ = endpoint.handle_resolved(now(), query, found.answer());
                }
                Event::Io(Io::Connect { connect, transport, remote, .. }) => {
                    println!("send to {} {remote}", transport.via_token());
                    let _ = endpoint.handle_connect_failed(now(), connect, ConnectFailure::Refused);
                }
                Event::Terminated { .. } => return Ok(()),
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        endpoint.handle_timeout(now());
    }
}
