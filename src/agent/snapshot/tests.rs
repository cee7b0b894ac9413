//! The form of the agent's records, pinned.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::num::NonZeroU32;

use smallvec::smallvec;

use super::super::Agent;
use super::super::dialogs::{Dialog, DialogParts};
use super::super::forks::ForkWindow;
use super::super::list::Link;
use super::super::moves::Sweep;
use super::super::resources::{Resource, ViewState};
use super::super::response_routes::ResponseRoutes;
use super::super::retry::Governor;
use super::super::subscribe::Subscribe;
use super::super::subscriptions::{Attempt, Subscription};
use super::super::watchers::Watcher;
use super::records::put_packages;
use crate::codec::{Mode, Writer};
use crate::config::Config;
use crate::event::Reason;
use crate::flow::{Flow, StreamId};
use crate::id::RawId;
use crate::machine::{notifier, subscriber};
use crate::package::{Body, Packages, View};
use crate::snapshot::{VERSION, digest};
use crate::wire::{StatusCode, Transport};
use crate::{Instant, Seed};

/// Each form that there was, and a digest of what was written in it. A new
/// form is appended, with a `VERSION` of its own.
const FORMS: [(u16, u64); 1] = [(2, 0xe271_c3d5_c784_ab22)];

fn id(slot: u32, generation: u32) -> RawId {
    RawId { slot, generation: NonZeroU32::new(generation).unwrap() }
}

fn body(text: &'static str) -> Body {
    Body::from_static("application/pidf+xml", text.as_bytes())
}

fn dialog(call_id: &str) -> Dialog {
    let parts = DialogParts {
        call_id: call_id.as_bytes(),
        local: b"<sip:local@h>",
        remote: b"<sip:remote@h>;tag=rt",
        remote_tag: b"rt",
        target: b"sip:target@h".to_vec(),
        routes: b"<sip:route@h;lr>".to_vec(),
        event: b"presence;id=1",
    };
    Dialog::new(&parts, 8_192).unwrap()
}

fn resource() -> Resource {
    Resource {
        package: crate::package::PackageIndex(0),
        uri: "sip:resource@h".into(),
        key: b"key".as_slice().into(),
        states: smallvec![ViewState { view: View(2), version: 3, body: body("a") }],
        version: 4,
        removed: true,
        watchers: vec![],
        cursor: 0,
        walk_version: 0,
        dirty: false,
        cache: smallvec![],
        user_data: 5,
    }
}

fn intent() -> Arc<Subscribe> {
    let request = Subscribe::new("sip:intent@h", "presence;id=1").unwrap().expires(601).accept("a/b").unwrap();
    let request = request.from("sip:from@h").unwrap().route("sip:first@h;lr").unwrap().field("X-A", "b").unwrap();
    let pinned = Flow::udp("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5061".parse().unwrap());
    let mut request = request.body(body("b")).on_flow(pinned).auto_refresh(false).user_data(6);
    request.more_mut().within = Some(id(7, 8));
    Arc::new(request)
}

fn attempt() -> Attempt {
    let routes = ResponseRoutes { tag: b"tag".as_slice().into(), routes: b"routes".as_slice().into() };
    let window = ForkWindow {
        template: subscriber::Subscription::with_all_fields(),
        forks: 9,
        tags: smallvec![10, 11],
        response_routes: Some(Box::new(routes)),
        older: Some(id(12, 13)),
    };
    Attempt {
        root: Some(id(14, 15)),
        call_id: *b"0123456789abcdefghijklmn",
        nonce: 16,
        intent: intent(),
        package: crate::package::PackageIndex(0),
        cseq: 17,
        window: Some(Box::new(window)),
        made_usage: true,
        subscriptions: smallvec![],
    }
}

fn subscription() -> Subscription {
    Subscription {
        machine: subscriber::Subscription::with_all_fields(),
        attempt: None,
        intent: intent(),
        package: crate::package::PackageIndex(0),
        dialog: Some(dialog("sub")),
        local_cseq: 18,
        remote_cseq: 19,
        seq: 20,
        open: None,
        destination: None,
        document: Some(Box::new(body("c"))),
        last_reason: Some(Box::new(Reason::Other(bytes::Bytes::from_static(b"odd")))),
        last_retry_after: Some(21),
        retry_at: Some(Instant::from_secs(2_022)),
        governor: Governor {
            was_established: true,
            is_fork: false,
            streak: 23,
            in_hour: 24,
            hour_began: Some(Instant::from_secs(925)),
            last: Some(Instant::from_secs(926)),
        },
        user_data: 27,
        queued: false,
        older: Some(id(28, 29)),
        trial: None,
        detour: None,
    }
}

fn watcher(agent: &mut Agent) -> Watcher {
    let [local, remote, other] =
        ["192.0.2.1:5060", "192.0.2.3:5062", "[2001:db8::4]:5063"].map(|text| text.parse().unwrap());
    let stream = Flow::stream(Transport::Tls, local, remote, StreamId(30));
    let [flow, destination] =
        [stream, Flow::udp(local, other)].map(|flow| agent.flows.intern(&agent.entropy, flow).unwrap());
    agent.flows.get_mut(flow).unwrap().gone = true;
    Watcher {
        machine: notifier::Subscription::with_all_fields(),
        dialog: dialog("watch"),
        tag_slot: 31,
        nonce: 32,
        shared: true,
        user_data: 33,
        resource: 0,
        position: 34,
        link: Link::default(),
        flow,
        destination: Some(destination),
        in_window: None,
        local_cseq: 35,
        remote_cseq: 36,
        open: None,
        told: 37,
        numbered: 38,
        open_numbered: false,
        view: View(39),
        media: 40,
        owed: false,
        report: true,
        proven: false,
        authenticated: true,
        secure: false,
        direct: true,
        refusal: Some(StatusCode::new(441).unwrap()),
        other_reason: Some(b"reason".as_slice().into()),
        identity: Some(b"identity".as_slice().into()),
        trial: None,
        detour: None,
        pinned: None,
    }
}

/// Fields that change places are read without complaint, as each other.
#[test]
fn form() {
    let config = Arc::new(Config::new("sip:me@192.0.2.1").unwrap());
    let now = Instant::from_secs(1_000);
    let mut packages = Packages::new();
    packages.register_opaque("presence").unwrap();
    let mut agent = Agent::new(config, packages, &Seed([1; 32]), now);
    let watcher = watcher(&mut agent);
    let resource_id = agent.resources.insert_with(|_| resource()).unwrap();
    agent.attempts.insert_with(|_| attempt()).unwrap();
    let (from, to) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.9:5060".parse().unwrap());
    agent.sweeps.push_back(Sweep::Move { from, to, subscriptions: 42, watchers: 43 });
    let users = vec![super::super::message::Subject::Watcher(id(44, 45))];
    agent.sweeps.push_back(Sweep::Gone { flow: watcher.flow, users });
    let mut seated = subscription();
    seated.attempt = Some(0);
    let put = |w: &mut Writer<'_>| {
        put_packages(w, &agent.packages, None);
        agent.put_resource(w, agent.resources.get(resource_id).unwrap());
        agent.put_attempt(w, agent.attempts.at(0).unwrap());
        agent.put_attempt_of(w, id(46, 47), &seated);
        agent.put_subscription(w, &seated);
        agent.put_resource_of(w, &watcher);
        agent.put_watcher(w, &watcher);
        agent.put_sweeps(w);
    };
    let written = digest(now, Mode::Saved, None, put);
    assert_eq!(FORMS.last(), Some(&(VERSION, written)), "{written:#018x}: a new form needs a new number");
    assert!(FORMS.is_sorted_by(|a, b| a.0 < b.0));
}
