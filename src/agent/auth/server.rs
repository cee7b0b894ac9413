//! Who is let in: a SUBSCRIBE, or a NOTIFY where that is wanted, without valid
//! credentials is answered before anything is looked at, and forgotten (RFC
//! 3261 section 8.2.7, RFC 6665 section 6.3).

use alloc::boxed::Box;

use bytes::Bytes;

use super::held::Held;
use crate::Instant;
use crate::agent::message::{Names, Origin, Token};
use crate::agent::{Agent, Answer};
use crate::digest::{Refusal, Secret, Verified};
use crate::error::{DropReason, Handled, Misuse};
use crate::event::Event;
use crate::id::ClaimId;
use crate::wire::{HeaderName, MessageView, StatusCode, read};

/// The URI of To.
fn to_uri<V: MessageView + ?Sized>(message: &V) -> &[u8] {
    read::to(message).map(|to| to.uri()).unwrap_or_default()
}

fn lines<V: MessageView + ?Sized>(message: &V) -> impl Iterator<Item = &[u8]> {
    (0..).map_while(|nth| message.field(HeaderName::Authorization, nth))
}

impl Agent {
    /// Lets a request in, with whom it is from, or says what became of it.
    pub(in crate::agent) fn guard<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        is_notify: bool,
        token: Token,
        message: &V,
    ) -> Result<Origin, Handled> {
        // A stack that has verified somebody need not do it again.
        let Some(server) = self.auth.server.as_deref().filter(|_| from.identity.is_none()) else {
            return Ok(from.clone());
        };
        let settings = server.settings();
        if is_notify && !settings.notify {
            return Ok(from.clone());
        }
        let uri = message.request_uri().unwrap_or_default();
        let claim = match server.check(now, lines(message), uri, to_uri(message)) {
            Ok(claim) => claim,
            Err(refusal) => return Err(self.turn_away(now, token, refusal)),
        };
        if let Some(users) = settings.users.clone() {
            let secret = users.secret(claim.user(), claim.is_hashed(), settings.realm(), claim.algorithm());
            return match self.verify(now, message, is_notify, secret.as_ref()) {
                Ok(verified) => Ok(let_in(from, verified)),
                Err(refusal) => Err(self.turn_away(now, token, refusal)),
            };
        }
        // Whoever waits has not used its nonce yet: the next one gets another.
        if self.auth.claimed.contains(&claim.stamp()) {
            return Err(self.turn_away(now, token, Refusal::Stale));
        }
        let full = self.auth.claims.len() >= self.config.limits.incoming || self.events_full();
        let deadline = now + self.config.timers.decision;
        let held = Held::new(message, token, from.clone(), is_notify, claim.stamp()).filter(|_| !full);
        let (user, hashed, algorithm) = (Bytes::copy_from_slice(claim.user()), claim.is_hashed(), claim.algorithm());
        let realm = Bytes::copy_from_slice(settings.realm().as_bytes());
        let stamp = claim.stamp();
        let Some(id) = held.and_then(|held| self.auth.claims.insert_with(|_| Box::new(held))) else {
            let answer = self.overload();
            self.reply(token, Answer { stateless: true, ..answer });
            return Err(Handled::Dropped(DropReason::Overload));
        };
        self.auth.claimed.insert(stamp);
        self.auth.claim_timers.set(id.slot, Some(deadline));
        self.push_event(Event::Credentials { id: ClaimId(id), user, hashed, realm, algorithm });
        Err(Handled::Consumed)
    }

    fn verify<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        message: &V,
        is_notify: bool,
        secret: Option<&Secret>,
    ) -> Result<Verified, Refusal> {
        let Some(server) = self.auth.server.as_deref_mut() else { return Err(Refusal::Denied) };
        let uri = message.request_uri().unwrap_or_default();
        let claim = server.check(now, lines(message), uri, to_uri(message))?;
        let method: &[u8] = if is_notify { b"NOTIFY" } else { b"SUBSCRIBE" };
        server.verify(now, &claim, secret, method, &[message.body()])
    }

    /// Answers a request whose sender is not known, and keeps nothing of it.
    fn turn_away(&mut self, now: Instant, token: Token, refusal: Refusal) -> Handled {
        let mut answer = match refusal {
            Refusal::Malformed => Answer::new(StatusCode::BAD_REQUEST),
            Refusal::Missing | Refusal::Stale | Refusal::Denied => Answer::new(StatusCode::UNAUTHORIZED),
        };
        if answer.status == StatusCode::UNAUTHORIZED
            && let Some(server) = self.auth.server.as_deref_mut()
        {
            server.write_challenges(now, refusal == Refusal::Stale, &mut answer.fields);
        }
        answer.stateless = true;
        self.reply(token, answer);
        Handled::Dropped(DropReason::Unauthorized)
    }

    /// The answer to [`Event::Credentials`]: the user's secret, or `None` for
    /// one who is unknown. The answer to the request does not tell the one
    /// from a wrong password.
    ///
    /// # Errors
    /// [`Misuse::StaleId`] if it was answered already, or too late.
    pub fn supply(&mut self, now: Instant, id: ClaimId, secret: Option<Secret>) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.auth.claims.get(id.0).ok_or(Misuse::StaleId)?;
        let held = self.auth.drop_claim(id.0.slot).ok_or(Misuse::StaleId)?;
        let verified = match self.verify(now, &*held, held.is_notify, secret.as_ref()) {
            Ok(verified) => verified,
            Err(refusal) => {
                let Handled::Dropped(reason) = self.turn_away(now, held.token, refusal) else { return Ok(()) };
                self.stats.drop(reason);
                return Ok(());
            }
        };
        let from = let_in(&held.origin, verified);
        let handled = match held.is_notify {
            true => self.handle_notify(now, &from, held.token, (&*held, Names::of(&*held))),
            false => self.handle_subscribe(now, &from, held.token, (&*held, Names::of(&*held))),
        };
        if let Handled::Dropped(reason) = handled {
            self.stats.drop(reason);
        }
        Ok(())
    }

    /// Nobody told who the sender is: it may try again later.
    pub(in crate::agent) fn claim_timeout(&mut self, slot: u32) {
        let Some(held) = self.auth.drop_claim(slot) else { return };
        let mut answer = Answer::new(StatusCode::SERVER_INTERNAL_ERROR);
        answer.retry_after(5);
        self.reply(held.token, answer);
    }

    /// That request can no longer be answered.
    pub(in crate::agent) fn forget_claim(&mut self, token: Token) {
        let late = self.auth.claims.iter().find(|(_, held)| held.token == token).map(|(id, _)| id.slot);
        if let Some(slot) = late {
            self.auth.drop_claim(slot);
        }
    }

    /// The agent closes: whoever waits gets 503.
    pub(in crate::agent) fn drop_claims(&mut self) {
        let slots: alloc::vec::Vec<u32> = self.auth.claims.iter().map(|(id, _)| id.slot).collect();
        for slot in slots {
            if let Some(held) = self.auth.drop_claim(slot) {
                let answer = self.overload();
                self.reply(held.token, answer);
            }
        }
    }
}

fn let_in(from: &Origin, verified: Verified) -> Origin {
    Origin { identity: Some(verified.user.into()), info: verified.info, ..from.clone() }
}
