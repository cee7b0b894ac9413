//! Recorded runs with authentication, repeated.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::{Recorder, ReplayError, replay, replay_with_users};
use super::{ANN, BOB};
use crate::digest::{Algorithm, Credentials, Secret, Settings, UserStore};
use crate::wire::Transport;
use crate::{Body, Config, Decision, Event, Flow, Instant, Packages, ResourceKey, Scope, Seed, Subscribe};

#[derive(Debug)]
struct Users(&'static str);

impl UserStore for Users {
    fn secret(&self, user: &[u8], _: bool, _: &str, _: Algorithm) -> Option<Secret> {
        (user == b"ann").then(|| Secret::password(self.0))
    }
}

fn recorder(user: &str, address: &str, settings: Settings) -> Recorder {
    let config = Config::new(&alloc::format!("sip:{user}@192.0.2.9")).unwrap().with_authentication(settings.into());
    let mut recorder =
        Recorder::new(Arc::new(config), Packages::standard(), &Seed([user.len() as u8; 32]), Instant::ZERO);
    recorder.add_local(Transport::Udp, address.parse().unwrap(), None, None).unwrap();
    recorder
}

/// Carries what each has to say to the other; `answer` decides what happens.
fn exchange(
    now: Instant,
    ann: &mut Recorder,
    bob: &mut Recorder,
    answer: impl Fn(&mut Recorder, Instant, &Event),
) -> usize {
    let mut messages = 0;
    loop {
        let before = messages;
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut *ann, &mut *bob) } else { (&mut *bob, &mut *ann) };
            let mut bytes = Vec::new();
            while let Some(transmit) = from.poll_transmit(now, &mut bytes) {
                transmit.append_body(&mut bytes);
                let _ = to.handle_message(now, Flow::udp(transmit.flow.remote, transmit.flow.local), &bytes);
                bytes.clear();
                messages += 1;
            }
            while let Some(event) = from.poll_event() {
                answer(from, now, &event);
            }
        }
        if before == messages {
            return messages;
        }
    }
}

/// Ann has to prove who she is when she subscribes, and bob when he notifies.
fn run(settings: impl Fn() -> Settings) -> (Recorder, Recorder) {
    let mut now = Instant::from_secs(1);
    let (mut ann, mut bob) = (recorder("ann", ANN, settings().notify(true)), recorder("bob", BOB, settings()));
    let resource = bob.add_resource(&ResourceKey::new("sip:bob@192.0.2.2", "presence").unwrap()).unwrap();
    bob.set_state(now, resource, Body::new("application/pidf+xml", "<a/>")).unwrap();
    let ha1 = Secret::ha1(Algorithm::Sha256, &"5".repeat(64)).unwrap();
    let own = Credentials::new("ann", Secret::password("secret")).unwrap();
    bob.set_credentials(Vec::from([Credentials::new("x", ha1).unwrap().realm("elsewhere").allow_md5(false)])).unwrap();
    let request = Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap();
    ann.subscribe(now, request.clone().credentials(own.clone()).unwrap()).unwrap();
    let asked = ann.subscribe(now, request).unwrap();
    let answer = |endpoint: &mut Recorder, now: Instant, event: &Event| match event {
        Event::Subscribe(id) => _ = endpoint.accept(now, *id, Decision::ACCEPT),
        Event::Credentials { id, .. } => endpoint.supply(now, *id, Some(Secret::password("secret"))).unwrap(),
        Event::Challenge { subject, .. } => endpoint.authenticate(now, *subject, own.clone()).unwrap(),
        _ => {}
    };
    exchange(now, &mut ann, &mut bob, answer);
    let mut pass = |ann: &mut Recorder, bob: &mut Recorder| {
        for _ in 0..40 {
            now = now + Duration::from_secs(1);
            ann.handle_timeout(now);
            bob.handle_timeout(now);
            exchange(now, ann, bob, answer);
        }
        now
    };
    let now = pass(&mut ann, &mut bob);
    let told = |id| ann.subscription(id).unwrap().document.map(|body| body.data.clone());
    assert_eq!(told(asked).as_deref(), Some(&b"<a/>"[..]));
    ann.unsubscribe(now, asked, Scope::This).unwrap();
    pass(&mut ann, &mut bob);
    assert_eq!(bob.watchers().count(), 1, "the other stays");
    (ann, bob)
}

#[test]
fn credentials_and_answers_about_users_are_repeated() {
    let (ann, bob) = run(|| Settings::new("home").unwrap());
    for mut recorder in [ann, bob] {
        let again = replay(&recorder.take(), Packages::standard()).unwrap();
        assert_eq!(again.endpoint.digest_exact(), recorder.digest_exact());
        let ladder = again.log.ladder();
        assert!(ladder.contains("401") && ladder.contains("NOTIFY"), "{ladder}");
    }
}

#[test]
fn a_store_of_users_has_to_be_there_again() {
    let (ann, bob) = run(|| Settings::new("home").unwrap().users(Arc::new(Users("secret"))));
    for mut recorder in [ann, bob] {
        let recording = recorder.take();
        assert_eq!(replay(&recording, Packages::standard()).unwrap_err(), ReplayError::Users);
        let users = Arc::new(Users("secret"));
        let again = replay_with_users(&recording, Packages::standard(), users).unwrap();
        assert_eq!(again.endpoint.digest_exact(), recorder.digest_exact());
        let other = replay_with_users(&recording, Packages::standard(), Arc::new(Users("other"))).unwrap_err();
        assert!(matches!(other, ReplayError::Differs { .. }), "{other}");
    }
    // Where there was none, none is put.
    let (mut ann, _) = run(|| Settings::new("home").unwrap());
    replay_with_users(&ann.take(), Packages::standard(), Arc::new(Users("other"))).unwrap();
}
