//! Whose credentials an object of ours may show, and which of the sessions
//! that were begun with them it takes part in.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::Auth;
use super::client::MAX_REALMS;
use crate::agent::Agent;
use crate::agent::message::Subject;
use crate::agent::subscribe::Subscribe;
use crate::digest::{Credentials, SecretKind, Session};
use crate::entropy::Entropy;
use crate::wire::NameAddr;

/// The credentials of one object, and with whom it shares what came of them.
pub(super) struct Keys {
    intent: Option<Arc<Subscribe>>,
    common: Arc<Vec<Credentials>>,
    /// Nobody gets by a SUBSCRIBE of its own what our subscriptions have.
    of_watcher: bool,
    to: Box<[u8]>,
    call_id: Box<[u8]>,
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Credentials> {
        let own = self.intent.as_ref().map_or(&[][..], |intent| &intent.more().credentials);
        own.iter().chain(self.common.iter())
    }

    /// What a challenge of `realm` is answered with.
    pub(super) fn suiting(&self, realm: &[u8]) -> Option<&Credentials> {
        self.all().find(|credentials| credentials.suit(realm))
    }

    /// The sessions begun with `credentials`: those of a notifier for its To,
    /// those of proxies for the Call-ID (RFC 3261 section 22.2, 22.3).
    pub(super) fn scope(&self, entropy: &Entropy, proxy: bool, credentials: &Credentials) -> Vec<u8> {
        if proxy {
            return call_scope(self.of_watcher, &self.call_id);
        }
        let mut scope = Vec::with_capacity(64);
        scope.push(u8::from(self.of_watcher));
        scope.extend_from_slice(&mark(entropy, credentials).to_be_bytes());
        scope.extend_from_slice(&self.to);
        scope
    }
}

/// The scope of the proxies of a Call-ID.
pub(super) fn call_scope(of_watcher: bool, call_id: &[u8]) -> Vec<u8> {
    let mut scope = Vec::with_capacity(64);
    scope.push(2 | u8::from(of_watcher));
    scope.extend_from_slice(call_id);
    scope
}

/// Tells credentials from others, and nothing of them.
pub(super) fn mark(entropy: &Entropy, credentials: &Credentials) -> u64 {
    let Credentials { user, realm, secrets, md5 } = credentials;
    let first = [u8::from(*md5), u8::from(realm.is_some())];
    let first = entropy.hash(&[b"credentials", &first, user, realm.as_deref().unwrap_or_default()]);
    secrets.iter().fold(first, |sum, secret| {
        let sum = sum.to_be_bytes();
        match &secret.kind {
            SecretKind::Password(password) => entropy.hash(&[&sum, b"password", password]),
            SecretKind::Ha1(algorithm, digest) => {
                entropy.hash(&[&sum, algorithm.as_str().as_bytes(), digest.as_bytes()])
            }
        }
    })
}

impl Auth {
    /// The session that a challenge of `realm` is about, if it goes on.
    pub(super) fn known(&self, entropy: &Entropy, keys: &Keys, proxy: bool, realm: &[u8]) -> Option<u32> {
        let credentials = keys.suiting(realm)?;
        self.wallet.find(entropy, &keys.scope(entropy, proxy, credentials), mark(entropy, credentials), realm)
    }

    /// The sessions whose credentials a request carries, in slot order.
    pub(super) fn sessions(&self, entropy: &Entropy, keys: &Keys, proxy: bool) -> SmallVec<[u32; 2]> {
        let mut slots: SmallVec<[u32; 2]> = SmallVec::new();
        for credentials in keys.all() {
            let maker = mark(entropy, credentials);
            for slot in self.wallet.of_scope(entropy, &keys.scope(entropy, proxy, credentials), maker) {
                let chosen = |session: &Session| keys.suiting(session.realm()) == Some(credentials);
                if self.wallet.session(slot).is_some_and(chosen) && !slots.contains(&slot) {
                    slots.push(slot);
                }
            }
        }
        // Each lengthens every request.
        self.wallet.newest(&mut slots, MAX_REALMS);
        slots
    }

    pub(super) fn keep(&mut self, entropy: &Entropy, keys: &Keys, session: Session) {
        let Some(credentials) = keys.suiting(session.realm()) else { return };
        let scope = keys.scope(entropy, session.is_proxy(), credentials);
        self.wallet.keep(entropy, &scope, mark(entropy, credentials), session);
    }
}

impl Agent {
    /// What `whose` may show, and to whom it goes.
    pub(super) fn keys(&self, whose: Subject) -> Option<Keys> {
        let common = self.auth.credentials.clone();
        match whose {
            Subject::Subscription(id) => {
                let record = self.subscriptions.get(id)?;
                let attempt = self.attempts.at(record.attempt?)?;
                Some(Keys {
                    intent: Some(record.intent.clone()),
                    common,
                    of_watcher: false,
                    to: record.intent.resource.as_bytes().into(),
                    call_id: attempt.call_id().into(),
                })
            }
            Subject::Watcher(id) => {
                let dialog = &self.watchers.get(id)?.dialog;
                let to = NameAddr::parse(dialog.remote()).ok()?;
                Some(Keys {
                    intent: None,
                    common,
                    of_watcher: true,
                    to: to.uri().into(),
                    call_id: dialog.call_id().into(),
                })
            }
        }
    }
}
