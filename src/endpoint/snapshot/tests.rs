//! The form of what the endpoint adds, pinned.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use super::super::connections::{Connection, Parked};
use super::super::down::Down;
use super::super::keep_alive::{Keeper, Kept};
use super::super::no_stream::NoStream;
use super::super::resolver::{Entry, Known};
use super::super::unproven::Unproven;
use super::records::{put_connection, put_entry};
use crate::Instant;
use crate::codec::{Mode, Writer};
use crate::entropy::{Entropy, Seed};
use crate::flow::{Flow, StreamId};
use crate::io::{Question, QuestionKind, Record};
use crate::snapshot::{VERSION, digest};
use crate::wire::{Framer, FramerLimits, Transport};

/// As in the agent's tests.
const FORMS: [(u16, u64); 1] = [(2, 0xc501_6d38_73cd_0b2e)];

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn connection(flow: Flow) -> Connection {
    let framer = Framer::resume(FramerLimits::default(), true, b"pending", [Some(at(901)), Some(at(902))]);
    Connection {
        transport: Transport::Tls,
        remote: flow.remote,
        server_name: bytes::Bytes::from_static(b"server.example"),
        flow: Some(flow),
        framer: Some(Box::new(framer)),
        closing: true,
        blocked: false,
        clients: vec![],
        servers: vec![],
        parked: Parked::default(),
        keeper: Some(Box::new(Keeper {
            interval: Duration::from_secs(3),
            expect: true,
            ping_at: at(1_004),
            pong_by: Some(at(1_005)),
        })),
    }
}

fn entry(name: &'static [u8], kind: QuestionKind, known: Known) -> Entry {
    let question = Question { name: bytes::Bytes::from_static(name), kind };
    Entry { question, answer: Some((known, at(1_006))), waiters: vec![] }
}

#[test]
fn form() {
    let entropy = Entropy::new(&Seed([1; 32]), 1);
    let (local, remote) = ("192.0.2.1:5060".parse().unwrap(), "[2001:db8::1]:5061".parse().unwrap());
    let connection = connection(Flow::stream(Transport::Tls, local, remote, StreamId(7)));
    let naptr = Record::Naptr {
        order: 8,
        preference: 9,
        flags: bytes::Bytes::from_static(b"s"),
        service: bytes::Bytes::from_static(b"SIP+D2U"),
        replacement: bytes::Bytes::from_static(b"a.example"),
    };
    let srv = Record::Srv { priority: 10, weight: 11, port: 12, target: bytes::Bytes::from_static(b"b.example") };
    let entries = [
        entry(b"c.example", QuestionKind::Naptr, Known::Records(vec![naptr, srv].into())),
        entry(b"d.example", QuestionKind::Address, Known::Addresses(vec![remote.ip()].into())),
        entry(b"e.example", QuestionKind::Srv, Known::Nothing),
    ];
    let mut unproven = Unproven::new(10);
    unproven.asked(&entropy, local.ip(), 100);
    assert!(unproven.admits(&entropy, local.ip(), 200, false));
    unproven.asked(&entropy, remote.ip(), 300);
    unproven.answered(&entropy, remote.ip());
    let mut down = Down::default();
    down.mark(at(1_000), Transport::Tcp, remote, Some(Duration::from_secs(13)));
    let mut no_stream = NoStream::default();
    no_stream.mark(at(1_000), &entropy, remote);
    let kept = vec![Kept { flow: Flow::udp(local, local), interval: Duration::from_secs(14), at: at(1_015) }];
    let put = |w: &mut Writer<'_>| {
        put_connection(w, &connection);
        for entry in &entries {
            put_entry(w, entry);
        }
        unproven.put(w, &entropy);
        down.put(w);
        no_stream.put(w, &entropy);
        w.put(&kept);
    };
    let written = digest(at(1_000), Mode::Saved, None, put);
    assert_eq!(FORMS.last(), Some(&(VERSION, written)), "{written:#018x}: a new form needs a new number");
    assert!(FORMS.is_sorted_by(|a, b| a.0 < b.0));
}
