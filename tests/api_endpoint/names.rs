//! From a URI to addresses (RFC 3263).

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use sip_events::wire::{HeaderName, HostPort, Transport};
use sip_events::{
    Answer, Config, ConnectFailure, Flow, Io, Misuse, QueryId, QuestionKind, Record, ResolveFailure, StreamId,
    Subscribe,
};

use crate::kit::{Kit, LOCAL, Request, Sent, addr};
use crate::peer::watched;

const TTL: Duration = Duration::from_secs(60);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn srv(priority: u16, weight: u16, port: u16, target: &'static str) -> Record {
    Record::Srv { priority, weight, port, target: Bytes::from_static(target.as_bytes()) }
}

fn naptr(order: u16, service: &'static str, replacement: &'static str) -> Record {
    Record::Naptr {
        order,
        preference: 0,
        flags: Bytes::from_static(b"s"),
        service: Bytes::from_static(service.as_bytes()),
        replacement: Bytes::from_static(replacement.as_bytes()),
    }
}

fn start(uri: &str) -> (Kit, Vec<Sent>) {
    let mut kit = Kit::new();
    let sent = kit.subscribe(Subscribe::new(uri, "presence").unwrap());
    (kit, sent)
}

/// The one question that is open.
fn asked(kit: &mut Kit) -> (QueryId, String, QuestionKind) {
    match &kit.io()[..] {
        [Io::Resolve { query, question }] => {
            (*query, String::from_utf8(question.name.to_vec()).unwrap(), question.kind)
        }
        other => panic!("{other:?}"),
    }
}

/// Answers the next question, which has to be this one.
fn tell(kit: &mut Kit, name: &str, kind: QuestionKind, answer: Answer<'_>) -> Vec<Sent> {
    let (query, asked_name, asked_kind) = asked(kit);
    assert_eq!((asked_name.as_str(), asked_kind), (name, kind));
    kit.endpoint.handle_resolved(kit.now, query, answer).unwrap();
    kit.drain()
}

fn records(records: &[Record]) -> Answer<'_> {
    Answer::Records { records, ttl: TTL }
}

fn addresses(addresses: &[IpAddr]) -> Answer<'_> {
    Answer::Addresses { addresses, ttl: TTL }
}

fn none<'a>() -> Answer<'a> {
    Answer::Failed(ResolveFailure::NotFound)
}

use QuestionKind::{Address, Naptr, Srv};

#[test]
fn numeric_hosts_are_used_as_they_are() {
    for (uri, to) in [
        ("sip:bob@203.0.113.9", "203.0.113.9:5060"),
        ("sip:bob@203.0.113.9:5099", "203.0.113.9:5099"),
        ("sip:bob@example.com;maddr=203.0.113.8", "203.0.113.8:5060"),
        ("sip:bob@example.com:5098;maddr=203.0.113.8;transport=udp", "203.0.113.8:5098"),
    ] {
        let (mut kit, sent) = start(uri);
        assert_eq!(sent[0].flow, Flow::udp(addr(LOCAL), addr(to)), "{uri}");
        assert!(kit.io().is_empty());
    }
}

#[test]
fn sips_means_tls_only() {
    let (kit, sent) = start("sips:bob@203.0.113.9");
    assert!(sent.is_empty());
    assert_eq!(kit.endpoint.transactions(), (0, 0), "there is no TLS here");
    let mut kit = Kit::new();
    kit.endpoint.add_local(Transport::Tls, addr("192.0.2.1:5061"), None, None).unwrap();
    kit.subscribe(Subscribe::new("sips:bob@example.com:5071", "presence").unwrap());
    tell(&mut kit, "example.com", Address, addresses(&[ip("203.0.113.9")]));
    match &kit.io()[..] {
        [Io::Connect { transport: Transport::Tls, remote, server_name, .. }] => {
            assert_eq!((*remote, &server_name[..]), (addr("203.0.113.9:5071"), &b"example.com"[..]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_port_asks_for_addresses_alone() {
    let (mut kit, _) = start("sip:bob@Example.COM.:5070");
    let sent = tell(&mut kit, "example.com", Address, addresses(&[ip("203.0.113.1")]));
    assert_eq!(sent[0].flow, Flow::udp(addr(LOCAL), addr("203.0.113.1:5070")));
}

#[test]
fn the_whole_way_through_naptr_srv_and_addresses() {
    let (mut kit, _) = start("sip:bob@example.com");
    let found = [
        naptr(20, "SIP+D2U", "_sip._udp.example.com"),
        naptr(10, "SIP+D2T", "_sip._tcp.example.com"),
        naptr(5, "SIPS+D2T", "_sips._tcp.example.com"),
        naptr(1, "E2U+sip", "x.example.com"),
    ];
    tell(&mut kit, "example.com", Naptr, records(&found));
    // TLS is not ours; TCP comes first.
    tell(&mut kit, "_sip._tcp.example.com", Srv, records(&[srv(1, 0, 5065, "Host.Example.com.")]));
    assert!(tell(&mut kit, "host.example.com", Address, addresses(&[ip("203.0.113.2")])).is_empty());
    let [Io::Connect { connect, remote, .. }] = kit.io()[..] else { panic!() };
    assert_eq!(remote, addr("203.0.113.2:5065"));
    // It fails: on to UDP.
    kit.endpoint.handle_connect_failed(kit.now, connect, ConnectFailure::Unreachable).unwrap();
    kit.drain();
    let sent = tell(&mut kit, "_sip._udp.example.com", Srv, records(&[srv(1, 0, 5066, "203.0.113.3.example.com")]));
    assert!(sent.is_empty());
    let sent = tell(&mut kit, "203.0.113.3.example.com", Address, addresses(&[ip("203.0.113.3")]));
    assert_eq!(sent[0].flow, Flow::udp(addr(LOCAL), addr("203.0.113.3:5066")));
}

#[test]
fn a_driver_that_knows_addresses_only_is_asked_for_them_alone() {
    let unsupported = Answer::Failed(ResolveFailure::NotSupported);
    let (mut kit, _) = start("sip:bob@example.com");
    tell(&mut kit, "example.com", Naptr, unsupported);
    tell(&mut kit, "_sip._udp.example.com", Srv, unsupported);
    let sent = tell(&mut kit, "example.com", Address, addresses(&[ip("203.0.113.2")]));
    assert_eq!(sent[0].flow.remote, addr("203.0.113.2:5060"));
    kit.run_millis(100_000);
    kit.subscribe(Subscribe::new("sip:bob@other.example.com", "presence").unwrap());
    let questions: Vec<_> = kit
        .io()
        .into_iter()
        .filter_map(|io| match io {
            Io::Resolve { question, .. } => Some(question),
            _ => None,
        })
        .collect();
    assert!(questions.iter().any(|q| q.name == "other.example.com"), "{questions:?}");
    assert!(questions.iter().all(|q| q.kind == Address), "{questions:?}");
}

#[test]
fn without_service_records_the_name_itself_is_used() {
    let (mut kit, _) = start("sip:bob@example.com");
    tell(&mut kit, "example.com", Naptr, none());
    tell(&mut kit, "_sip._udp.example.com", Srv, none());
    tell(&mut kit, "_sip._tcp.example.com", Srv, records(&[]));
    let sent = tell(&mut kit, "example.com", Address, addresses(&[ip("203.0.113.2")]));
    assert_eq!(sent[0].flow, Flow::udp(addr(LOCAL), addr("203.0.113.2:5060")));
}

/// RFC 2782: a target of "." says that there is no such service.
#[test]
fn a_service_that_is_declared_absent_is_not_looked_for_elsewhere() {
    let (mut kit, _) = start("sip:bob@example.com;transport=udp");
    assert!(tell(&mut kit, "_sip._udp.example.com", Srv, records(&[srv(0, 0, 0, ".")])).is_empty());
    assert_eq!(kit.endpoint.transactions(), (0, 0));
}

#[test]
fn equal_questions_are_asked_once_and_answers_are_remembered() {
    let mut kit = Kit::new();
    let request = || Subscribe::new("sip:bob@example.com:5060", "presence").unwrap();
    kit.subscribe(request());
    kit.subscribe(request());
    let (query, ..) = asked(&mut kit);
    kit.endpoint.handle_resolved(kit.now, query, addresses(&[ip("203.0.113.2")])).unwrap();
    assert_eq!(kit.drain().len(), 2);
    assert_eq!(kit.endpoint.handle_resolved(kit.now, query, none()), Err(Misuse::StaleId));
    kit.run_millis(60_000 - 1);
    kit.io();
    assert_eq!(kit.subscribe(request()).len(), 1, "remembered");
    assert!(kit.io().is_empty());
    kit.run_millis(2);
    assert!(kit.subscribe(request()).is_empty(), "forgotten");
    assert_eq!(asked(&mut kit).1, "example.com");
}

/// An answer that may not be remembered serves whoever waits for it.
#[test]
fn a_ttl_of_zero_does_not_loop() {
    let (mut kit, _) = start("sip:bob@example.com:5060");
    let (query, ..) = asked(&mut kit);
    let answer = Answer::Addresses { addresses: &[ip("203.0.113.2")], ttl: Duration::ZERO };
    kit.endpoint.handle_resolved(kit.now, query, answer).unwrap();
    assert_eq!(kit.drain().len(), 1);
}

/// Covers: 3261-8.1.2-2
#[test]
fn each_address_is_a_transaction_of_its_own() {
    let (mut kit, _) = start("sip:bob@example.com:5060");
    let first = tell(&mut kit, "example.com", Address, addresses(&[ip("203.0.113.1"), ip("203.0.113.2")]));
    assert_eq!(first[0].flow.remote, addr("203.0.113.1:5060"));
    kit.endpoint.handle_transmit_failed(kit.now, first[0].id);
    let second = kit.drain();
    assert_eq!(second[0].flow.remote, addr("203.0.113.2:5060"));
    assert_ne!(first[0].branch(), second[0].branch());
    assert_eq!(first[0].field(HeaderName::CSeq), second[0].field(HeaderName::CSeq));
    // The first attempt is forgotten.
    kit.endpoint.handle_transmit_failed(kit.now, first[0].id);
    assert!(kit.drain().is_empty());
    assert_eq!(kit.endpoint.transactions(), (1, 0));
    kit.endpoint.handle_transmit_failed(kit.now, second[0].id);
    kit.drain();
    assert_eq!(kit.endpoint.transactions(), (0, 0), "no address is left");
}

#[test]
fn what_does_not_resolve_ends_and_what_is_never_answered_times_out() {
    let (mut kit, _) = start("sip:bob@example.com:5060");
    tell(&mut kit, "example.com", Address, none());
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    let (mut kit, _) = start("sip:bob@example.com:5060");
    let (query, ..) = asked(&mut kit);
    kit.run_millis(32_000);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    // A late answer serves the next one.
    kit.endpoint.handle_resolved(kit.now, query, addresses(&[ip("203.0.113.2")])).unwrap();
    kit.drain();
}

#[test]
fn names_under_way_are_bounded() {
    let mut limits = sip_events::Limits::default();
    limits.resolved = 1;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    let request = |host: &str| Subscribe::new(&format!("sip:bob@{host}:5060"), "presence").unwrap();
    kit.subscribe(request("a.example.com"));
    kit.subscribe(request("b.example.com"));
    assert_eq!(kit.endpoint.transactions(), (1, 0), "the second has no room");
    let sent = tell(&mut kit, "a.example.com", Address, addresses(&[ip("203.0.113.2")]));
    assert_eq!(sent.len(), 1);
    kit.subscribe(request("c.example.com"));
    assert_eq!(asked(&mut kit).1, "c.example.com", "the answered one makes room");
}

/// RFC 2782: priorities in order, weights in proportion.
#[test]
fn service_records_are_chosen_by_priority_and_weight() {
    let found = [srv(2, 0, 1, "backup.example.com"), srv(1, 30, 2, "a.example.com"), srv(1, 10, 3, "b.example.com")];
    let mut counts = [0u32; 3];
    let mut kit = Kit::new();
    for round in 0..400 {
        kit.subscribe(Subscribe::new(&format!("sip:bob@r{round}.example.com;transport=udp"), "presence").unwrap());
        let (query, _, kind) = asked(&mut kit);
        assert_eq!(kind, Srv);
        kit.endpoint.handle_resolved(kit.now, query, records(&found)).unwrap();
        let mut sent = kit.drain();
        // Targets are remembered after the first rounds.
        for io in kit.io() {
            let Io::Resolve { query, .. } = io else { continue };
            kit.endpoint.handle_resolved(kit.now, query, addresses(&[ip("203.0.113.2")])).unwrap();
        }
        sent.extend(kit.drain());
        for sent in sent {
            counts[usize::from(sent.flow.remote.port()) - 1] += 1;
        }
    }
    let [backup, a, b] = counts;
    assert_eq!(backup, 0);
    assert!(a > 2 * b && b > 40, "{counts:?}");
}

/// Addresses that no host has, named by a peer or by its name server, are
/// passed over; so is port 0.
#[test]
fn nothing_is_sent_to_where_no_host_is() {
    for host in ["0.0.0.0", "255.255.255.255", "224.0.1.75", "203.0.113.9:0", "example.com;maddr=239.1.1.1"] {
        let (mut kit, sent) = start(&format!("sip:bob@{host}"));
        assert!(sent.is_empty() && kit.io().is_empty(), "{host}");
        assert_eq!(kit.endpoint.transactions(), (0, 0), "{host}");
    }
    let (mut kit, _) = start("sip:bob@example.com:5070");
    let answer = [ip("0.0.0.0"), ip("224.0.1.75"), ip("203.0.113.1")];
    let sent = tell(&mut kit, "example.com", Address, addresses(&answer));
    assert_eq!(sent[0].flow.remote, addr("203.0.113.1:5070"));
}

/// Covers: 3261-8.1.1.8-1
///
/// Where a request leaves from is known when its next hop is located; Contact
/// says so then, not what was guessed before (PEER-C20, PEER-F04).
#[test]
fn contact_names_the_address_and_transport_that_a_request_leaves_by() {
    let mut kit = Kit::bare(Config::new("sip:me@example.com").unwrap());
    let locals = [
        (Transport::Udp, "192.0.2.1:5060", None),
        (Transport::Udp, "[2001:db8::1]:5070", None),
        (Transport::Tcp, "0.0.0.0:5060", Some("pbx4.example.com:5060")),
        (Transport::Tcp, "[::]:5060", Some("pbx6.example.com:5060")),
    ];
    for (transport, bind, outside) in locals {
        let outside = outside.map(|text| text.parse().unwrap());
        kit.endpoint.add_local(transport, addr(bind), outside, None).unwrap();
    }
    let contact = |sent: &Sent| sent.field(HeaderName::Contact).to_owned();
    let v6 = kit.subscribe(Subscribe::new("sip:bob@[2001:db8::9]", "presence").unwrap());
    assert_eq!(contact(&v6[0]), "<sip:me@[2001:db8::1]:5070>");
    // A name whose service says TCP.
    kit.subscribe(Subscribe::new("sip:bob@example.com", "presence").unwrap());
    tell(&mut kit, "example.com", Naptr, records(&[naptr(1, "SIP+D2T", "_sip._tcp.example.com")]));
    tell(&mut kit, "_sip._tcp.example.com", Srv, records(&[srv(1, 0, 5060, "h.example.com")]));
    tell(&mut kit, "h.example.com", Address, addresses(&[ip("2001:db8::7")]));
    let Io::Connect { connect, remote, .. } = kit.io()[0] else { panic!() };
    // The system chose port and address.
    let flow = Flow::stream(Transport::Tcp, addr("[2001:db8::1]:49152"), remote, StreamId(1));
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
    let sent = kit.drain();
    assert_eq!(contact(&sent[0]), "<sip:me@pbx6.example.com:5060;transport=tcp>");
    assert!(sent[0].field(HeaderName::Via).starts_with("SIP/2.0/TCP pbx6.example.com:5060;"));
}

/// Groups of hosts cannot be reached by what this crate sends, so `ttl` has no
/// use, and a zone (RFC 4007) means something on one host alone: both are
/// refused and never guessed at.
#[test]
fn groups_and_zones_are_refused() {
    for uri in [
        "sip:bob@example.com;maddr=224.0.1.75;ttl=16",
        "sip:bob@example.com;maddr=[ff02::1]",
        "sip:bob@224.0.1.75",
        "sip:bob@255.255.255.255",
        "sip:bob@[::]",
    ] {
        let (kit, sent) = start(uri);
        assert!(sent.is_empty(), "{uri}");
        let failed = |event: &sip_events::Event| {
            matches!(event, sip_events::Event::Terminated { why: sip_events::Ending::NoAnswer(_), .. })
        };
        assert!(kit.events.iter().any(failed), "{uri}: {:?}", kit.events);
    }
    for uri in ["sip:bob@[fe80::1%25eth0]", "sip:bob@[fe80::1%eth0]", "sip:bob@fe80::1"] {
        assert_eq!(Subscribe::new(uri, "presence"), Err(Misuse::BadValue), "{uri}");
    }
    // `ttl` stays in the Request-URI, where it means nothing to a host.
    let (_, sent) = start("sip:bob@203.0.113.9;ttl=16");
    assert!(sent[0].bytes.starts_with(b"SUBSCRIBE sip:bob@203.0.113.9;ttl=16 SIP/2.0\r\n"));
}

/// A link-local address of a driver keeps its zone, both ways.
#[test]
fn the_zone_of_a_flow_is_kept() {
    let mut kit = Kit::bare(Config::new("sip:me@[fe80::1]").unwrap());
    let zoned = |host: &str, port: u16| {
        std::net::SocketAddr::V6(std::net::SocketAddrV6::new(host.parse().unwrap(), port, 0, 3))
    };
    let flow = Flow::udp(zoned("fe80::1", 5060), zoned("fe80::2", 5080));
    kit.endpoint.add_local(Transport::Udp, flow.local, None, None).unwrap();
    kit.endpoint.add_resource(&sip_events::ResourceKey::new("sip:bob@[fe80::1]", "presence").unwrap()).unwrap();
    let mut request = crate::kit::Request::new("OPTIONS", "z1");
    request.uri = "sip:bob@[fe80::1]";
    request.via = "SIP/2.0/UDP [fe80::2]:5080;branch=z9hG4bKz1".to_owned();
    let sent = kit.answer(flow, request.bytes());
    assert_eq!(sent.flow, flow);
}

/// One socket for both families: IPv4 hosts are reached as they come.
#[test]
fn a_dual_stack_socket_reaches_ipv4() {
    let mut kit = Kit::bare(Config::new("sip:me@192.0.2.1").unwrap());
    let advertised = HostPort::from(addr(LOCAL));
    kit.endpoint.add_local(Transport::Udp, addr("[::]:5060"), Some(advertised), None).unwrap();
    kit.add_bob();
    let flow = Flow::udp(addr("[::]:5060"), addr("[::ffff:198.51.100.7]:5080"));
    assert_eq!(watched(&mut kit, &Request::subscribe("s1"), flow).flow, flow);
    let bob = || Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap();
    let sent = kit.subscribe(bob()).remove(0);
    assert_eq!(sent.flow.remote, addr("[::ffff:203.0.113.9]:5060"));
    assert!(sent.field(HeaderName::Via).contains(" 192.0.2.1:5060;"));
    // A socket for IPv4 comes first.
    kit.endpoint.add_local(Transport::Udp, addr(LOCAL), None, None).unwrap();
    assert_eq!(kit.subscribe(bob())[0].flow.remote, addr("203.0.113.9:5060"));
}

/// An answer that got lost keeps nobody from asking again.
#[test]
fn a_question_that_is_never_answered_is_asked_again() {
    let mut kit = Kit::new();
    let bob = || Subscribe::new("sip:bob@example.com:5070", "presence").unwrap().auto_resubscribe(false);
    let asked = |kit: &mut Kit| kit.io().iter().filter(|io| matches!(io, Io::Resolve { .. })).count();
    kit.subscribe(bob());
    kit.subscribe(bob());
    assert_eq!(asked(&mut kit), 1, "once for both");
    kit.run_millis(40_000);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    kit.subscribe(bob());
    let io = kit.io();
    let [Io::Resolve { query, .. }] = io[..] else { panic!("{io:?}") };
    let answer = Answer::Addresses { addresses: &[ip("203.0.113.1")], ttl: TTL };
    kit.endpoint.handle_resolved(kit.now, query, answer).unwrap();
    assert_eq!(kit.drain()[0].flow.remote, addr("203.0.113.1:5070"));
}
