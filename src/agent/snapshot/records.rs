//! The records of the agent's tables. Each is taken apart in full, so that a
//! new field cannot be forgotten.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::super::Agent;
use super::super::auth::NO_KEYS;
use super::super::dialogs::{Dialog, DialogParts};
use super::super::flows::FlowId;
use super::super::forks::ForkWindow;
use super::super::list::{Link, Queue};
use super::super::resources::{Resource, ViewState};
use super::super::response_routes::ResponseRoutes;
use super::super::retry::Governor;
use super::super::sharing::Name;
use super::super::subscribe::{More, Subscribe};
use super::super::subscriptions::{Attempt, CALL_ID_LEN, Subscription};
use super::super::watchers::Watcher;
use crate::codec::{Get, Mode, Put, ReadPackage, Reader, Table, Writer, put_list};
use crate::error::RestoreError;
use crate::flow::Flow;
use crate::id::RawId;
use crate::machine::subscriber;
use crate::package::{Body, PackageIndex, Packages};
use crate::wire::NameAddr;

fields!(Governor { was_established, is_fork, streak, in_hour, hour_began, last });
fields!(ViewState { view, version: ident, body });

impl Put for Subscribe {
    /// Secrets are not written: a restored subscription is asked for them anew
    /// ([`Event::Challenge`](crate::Event::Challenge)), or uses the agent's.
    fn put(&self, w: &mut Writer<'_>) {
        let Self { resource, event, expires, auto_refresh, auto_resubscribe, user_data, .. } = self;
        let More { accept, from, route, body, fields, flow, within, credentials: _ } = self.more();
        w.put(resource);
        w.put(&**event);
        w.put(expires);
        w.put(accept);
        w.put(from);
        w.put(route);
        w.put(body);
        w.put(fields);
        w.put(flow);
        w.put(&within.is_some());
        w.ident(within);
        w.put(auto_refresh);
        w.put(auto_resubscribe);
        w.put(user_data);
    }
}

impl Get for Subscribe {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let (resource, event, expires) = (r.get()?, r.get::<String>()?.into(), r.get()?);
        let more = More {
            accept: r.get()?,
            from: r.get()?,
            route: r.get()?,
            body: r.get()?,
            fields: r.get()?,
            flow: r.get()?,
            within: {
                let _: bool = r.get()?;
                r.get()?
            },
            credentials: NO_KEYS,
        };
        Ok(Self::restored((resource, event, expires), more, (r.get()?, r.get()?, r.get()?)))
    }
}

/// A flow as it was written, and whether its connection had closed.
pub(super) type ReadFlow = (Flow, bool);

/// A watcher whose flows have not been counted yet.
pub(super) struct ReadWatcher {
    pub(super) watcher: Watcher,
    pub(super) flow: ReadFlow,
    pub(super) destination: Option<ReadFlow>,
}

/// A subscription whose flow has not been counted yet.
pub(super) struct ReadSubscription {
    pub(super) record: Subscription,
    pub(super) destination: Option<ReadFlow>,
}

/// The table of packages: their names and media types.
pub(crate) fn put_packages(w: &mut Writer<'_>, packages: &Packages, only: Option<PackageIndex>) {
    let wanted = (0u16..).zip(packages.iter()).filter(|(at, _)| only.is_none_or(|only| only.0 == *at));
    let wanted: Vec<_> = wanted.map(|(_, package)| package).collect();
    w.word(wanted.len() as u64);
    for package in wanted {
        w.put(package.name());
        put_list(w, package.notify_bodies().iter().map(|media| media.as_bytes()));
    }
    w.first_package = only.map_or(0, |only| only.0);
}

pub(crate) fn get_packages(r: &mut Reader<'_>, packages: &Packages) -> Result<(), RestoreError> {
    let count = r.word()?;
    if count > r.left() as u64 {
        return Err(RestoreError::Malformed);
    }
    let mut found = Vec::new();
    for _ in 0..count {
        let index = packages.index(r.bytes()?);
        let types = index.and_then(|index| packages.get(index)).map_or(&[][..], |package| package.notify_bodies());
        // A type that the package has no more becomes its usual one.
        let place = |old: Box<[u8]>| {
            let at = types.iter().position(|own| own.as_bytes() == &*old);
            at.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
        };
        let media = crate::codec::list(r)?.into_iter().map(place).collect();
        found.push(index.map(|index| ReadPackage { index: index.0, media }));
    }
    r.packages = found;
    Ok(())
}

fn put_package(w: &mut Writer<'_>, package: PackageIndex) {
    w.word(u64::from(package.0.saturating_sub(w.first_package)));
}

fn get_package<'r>(r: &'r mut Reader<'_>) -> Result<&'r ReadPackage, RestoreError> {
    let at: u16 = r.get()?;
    let known = r.packages.get(usize::from(at)).ok_or(RestoreError::Malformed)?;
    known.as_ref().ok_or(RestoreError::UnknownPackage)
}

pub(super) fn put_dialog(w: &mut Writer<'_>, dialog: &Dialog) {
    w.ident(dialog.call_id());
    w.put(dialog.local());
    match NameAddr::parse(dialog.remote()) {
        Ok(remote) if w.is(Mode::Behaviour) => w.put(remote.uri()),
        _ => w.put(dialog.remote()),
    }
    w.ident(dialog.remote_tag());
    w.put(dialog.target());
    w.put(dialog.routes());
    w.put(dialog.event());
}

fn get_dialog(r: &mut Reader<'_>, limit: u16) -> Result<Dialog, RestoreError> {
    let parts = DialogParts {
        call_id: r.bytes()?,
        local: r.bytes()?,
        remote: r.bytes()?,
        remote_tag: r.bytes()?,
        target: r.bytes()?.to_vec(),
        routes: r.bytes()?.to_vec(),
        event: r.bytes()?,
    };
    Dialog::new(&parts, limit).map_err(|_| RestoreError::Limit("dialog"))
}

impl Agent {
    fn put_flow(&self, w: &mut Writer<'_>, id: FlowId) {
        let Some(record) = self.flows.get(id) else { return };
        w.put(&record.flow());
        w.put(&record.gone);
        w.transient(&record.blocked);
    }

    fn put_flow_if_any(&self, w: &mut Writer<'_>, id: Option<FlowId>) {
        let id = id.filter(|id| self.flows.get(*id).is_some());
        w.put(&id.is_some());
        if let Some(id) = id {
            self.put_flow(w, id);
        }
    }

    pub(super) fn put_resource(&self, w: &mut Writer<'_>, resource: &Resource) {
        let Resource {
            package,
            uri,
            key,
            states,
            version,
            removed,
            watchers: _,
            cursor,
            walk_version,
            dirty,
            cache: _,
            user_data,
        } = resource;
        put_package(w, *package);
        w.put(uri);
        w.put(key);
        w.put(states);
        w.ident(version);
        w.put(removed);
        w.put(user_data);
        w.transient(dirty);
        if *dirty {
            w.transient(cursor);
            w.transient(&(version == walk_version));
        }
    }

    pub(super) fn get_resource(&self, r: &mut Reader<'_>) -> Result<Resource, RestoreError> {
        let package = PackageIndex(get_package(r)?.index);
        let resource = Resource {
            package,
            uri: r.get()?,
            key: r.get()?,
            states: r.get()?,
            version: r.get()?,
            removed: r.get()?,
            watchers: Vec::new(),
            cursor: 0,
            walk_version: 0,
            dirty: false,
            cache: SmallVec::new(),
            user_data: r.get()?,
        };
        self.check_bodies(resource.states.iter().map(|state| &state.body))?;
        Ok(resource)
    }

    fn check_bodies<'a>(&self, mut bodies: impl Iterator<Item = &'a Body>) -> Result<(), RestoreError> {
        let most = self.config.limits.body as usize;
        if bodies.any(|body| body.data.len() > most) { Err(RestoreError::Limit("body")) } else { Ok(()) }
    }

    pub(super) fn put_attempt(&self, w: &mut Writer<'_>, attempt: &Attempt) {
        let Attempt { root, call_id, nonce, intent, package, cseq, window, made_usage, subscriptions: _ } = attempt;
        w.ident(root);
        w.ident(&call_id[..]);
        w.ident(nonce);
        w.put(&**intent);
        put_package(w, *package);
        w.ident(cseq);
        w.put(made_usage);
        w.put(&window.is_some());
        let Some(ForkWindow { template, forks, tags, response_routes, older }) = window.as_deref() else { return };
        subscriber::put_as_it_is(template, w);
        w.put(forks);
        w.ident(tags);
        self.put_older(w, *older);
        w.put(&response_routes.is_some());
        if let Some(ResponseRoutes { tag, routes }) = response_routes.as_deref() {
            w.put(&tag[..]);
            w.put(&routes[..]);
        }
    }

    pub(super) fn get_attempt(r: &mut Reader<'_>) -> Result<Attempt, RestoreError> {
        let root = r.get()?;
        let call_id: [u8; CALL_ID_LEN] = r.bytes()?.try_into().map_err(|_| RestoreError::Malformed)?;
        let (nonce, intent) = (r.get()?, Arc::new(r.get()?));
        let package = PackageIndex(get_package(r)?.index);
        Ok(Attempt {
            root,
            call_id,
            nonce,
            intent,
            package,
            cseq: r.get()?,
            made_usage: r.get()?,
            window: match r.get()? {
                true => Some(Box::new(ForkWindow {
                    template: r.get()?,
                    forks: r.get()?,
                    tags: r.get()?,
                    older: r.get()?,
                    response_routes: match r.get()? {
                        true => Some(Box::new(ResponseRoutes { tag: r.get()?, routes: r.get()? })),
                        false => None,
                    },
                })),
                false => None,
            },
            subscriptions: SmallVec::new(),
        })
    }

    fn put_older(&self, w: &mut Writer<'_>, older: Option<RawId>) {
        if !w.is(Mode::Behaviour) {
            return w.put(&older);
        }
        let older = older.filter(|id| self.attempts.get(*id).is_some());
        w.put(&older.is_some());
        if let Some(older) = older {
            w.slot(Table::Attempts, older.slot);
        }
    }

    /// Which attempt a subscription belongs to, and its place among the forks.
    pub(super) fn put_attempt_of(&self, w: &mut Writer<'_>, id: RawId, subscription: &Subscription) {
        let attempt = subscription.attempt.and_then(|slot| Some((self.attempts.id_at(slot)?, self.attempts.at(slot)?)));
        w.put(&attempt.is_some());
        if let Some((id_of, attempt)) = attempt {
            w.slot(Table::Attempts, id_of.slot);
            w.ident(&id_of.generation);
            let place = attempt.subscriptions.iter().position(|slot| *slot == id.slot);
            w.put(&place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn get_attempt_of(r: &mut Reader<'_>) -> Result<Option<(RawId, u32)>, RestoreError> {
        r.get()
    }

    pub(super) fn put_subscription(&self, w: &mut Writer<'_>, subscription: &Subscription) {
        let Subscription {
            machine,
            attempt: _,
            intent,
            package,
            dialog,
            local_cseq,
            remote_cseq,
            seq,
            open,
            destination,
            document,
            last_reason,
            last_retry_after,
            retry_at,
            governor,
            user_data,
            queued,
            older,
            trial,
            detour,
        } = subscription;
        w.put(machine);
        w.put(&**intent);
        put_package(w, *package);
        w.put(&dialog.is_some());
        if let Some(dialog) = dialog {
            put_dialog(w, dialog);
        }
        w.ident(local_cseq);
        w.ident(remote_cseq);
        w.ident(seq);
        // A redirection is for one request, which no successor has.
        self.put_flow_if_any(w, destination.filter(|_| detour.is_none() || !w.is(Mode::Saved)));
        w.put(&document.is_some());
        if let Some(document) = document {
            w.put(&**document);
        }
        w.put(last_reason);
        w.put(last_retry_after);
        w.put(retry_at);
        w.put(governor);
        w.put(user_data);
        self.put_older(w, *older);
        if !w.is(Mode::Saved) {
            w.put(&open.is_some());
            w.ident(open);
            w.put(queued);
            w.put(&trial.is_some());
            w.put(&subscription.asking_until());
            w.put(detour);
        }
    }

    pub(super) fn get_subscription(&self, r: &mut Reader<'_>) -> Result<ReadSubscription, RestoreError> {
        let machine = r.get()?;
        let intent = Arc::new(r.get()?);
        let package = PackageIndex(get_package(r)?.index);
        let dialog = if r.get()? { Some(get_dialog(r, self.config.limits.dialog)?) } else { None };
        let (local_cseq, remote_cseq, seq) = (r.get()?, r.get()?, r.get()?);
        let destination = r.get()?;
        let document: Option<Body> = r.get()?;
        self.check_bodies(document.iter())?;
        let document = document.map(Box::new);
        let record = Subscription {
            machine,
            attempt: None,
            intent,
            package,
            dialog,
            local_cseq,
            remote_cseq,
            seq,
            open: None,
            destination: None,
            document,
            last_reason: r.get::<Option<_>>()?.map(Box::new),
            last_retry_after: r.get()?,
            retry_at: r.get()?,
            governor: r.get()?,
            user_data: r.get()?,
            queued: false,
            older: r.get()?,
            trial: None,
            detour: None,
        };
        Ok(ReadSubscription { record, destination })
    }

    /// Which resource a watcher watches, and its place in the resource's list.
    pub(super) fn put_resource_of(&self, w: &mut Writer<'_>, watcher: &Watcher) {
        w.slot(Table::Resources, watcher.resource);
        w.ident(&self.resources.id_at(watcher.resource).map_or(0, |id| id.generation.get()));
        w.put(&watcher.position);
    }

    pub(super) fn put_watcher(&self, w: &mut Writer<'_>, watcher: &Watcher) {
        let Watcher {
            machine,
            dialog,
            tag_slot,
            nonce,
            shared,
            user_data,
            resource,
            position: _,
            link,
            flow,
            destination,
            in_window,
            local_cseq,
            remote_cseq,
            open,
            told,
            numbered,
            open_numbered,
            view,
            media,
            owed,
            report,
            proven,
            authenticated,
            secure,
            direct,
            refusal,
            other_reason,
            identity,
            trial,
            detour,
            pinned,
        } = watcher;
        let resource = self.resources.at(*resource);
        put_package(w, resource.map_or(PackageIndex(0), |resource| resource.package));
        w.put(machine);
        put_dialog(w, dialog);
        w.ident(nonce);
        w.put(shared);
        w.ident(tag_slot);
        if w.is(Mode::Behaviour) {
            self.put_share(w, shared.then_some(watcher.dialog_name()));
        }
        w.put(user_data);
        self.put_flow_if_any(w, Some(*flow));
        self.put_flow_if_any(w, destination.filter(|_| detour.is_none() || !w.is(Mode::Saved)));
        w.ident(local_cseq);
        w.ident(remote_cseq);
        w.ident(told);
        w.ident(numbered);
        w.put(view);
        w.put(media);
        w.put(report);
        w.put(proven);
        w.put(authenticated);
        w.put(secure);
        w.put(direct);
        w.put(refusal);
        w.put(other_reason);
        w.put(identity);
        if !w.is(Mode::Saved) {
            w.put(&resource.is_some_and(|resource| resource.version_of(*view) != *told));
            w.put(&open.is_some());
            w.ident(open);
            w.put(owed);
            w.put(open_numbered);
            w.put(&trial.is_some());
            w.put(detour);
            w.put(&pinned.filter(|_| open.is_some()));
            w.put(&in_window.is_some());
            w.word(match link.queue {
                Queue::Idle => 0,
                Queue::Ready => 1,
                Queue::Waiting(_) => 2,
            });
        }
    }

    /// Whose dialog it is: that of the first who shares it.
    pub(super) fn put_share(&self, w: &mut Writer<'_>, name: Option<Name>) {
        let first = name.and_then(|name| self.members(name).first().copied());
        w.put(&first.is_some());
        if let Some(first) = first {
            w.slot(Table::Watchers, first);
        }
    }

    pub(super) fn get_watcher(&self, r: &mut Reader<'_>) -> Result<ReadWatcher, RestoreError> {
        let known = get_package(r)?;
        let media_types = known.media.clone();
        let machine = r.get()?;
        let dialog = get_dialog(r, self.config.limits.dialog)?;
        let (nonce, shared, tag_slot, user_data) = (r.get()?, r.get()?, r.get()?, r.get()?);
        let flow: Option<ReadFlow> = r.get()?;
        let destination = r.get()?;
        let (local_cseq, remote_cseq, told, numbered, view) = (r.get()?, r.get()?, r.get()?, r.get()?, r.get()?);
        let media: u8 = r.get()?;
        let watcher = Watcher {
            machine,
            dialog,
            tag_slot,
            nonce,
            shared,
            user_data,
            resource: u32::MAX,
            position: u32::MAX,
            link: Link::default(),
            flow: FlowId(u32::MAX),
            destination: None,
            in_window: None,
            local_cseq,
            remote_cseq,
            open: None,
            told,
            numbered,
            open_numbered: false,
            view,
            media: media_types.get(usize::from(media)).copied().unwrap_or(0),
            owed: false,
            report: r.get()?,
            proven: r.get()?,
            authenticated: r.get()?,
            secure: r.get()?,
            direct: r.get()?,
            refusal: r.get()?,
            other_reason: r.get()?,
            identity: r.get()?,
            trial: None,
            detour: None,
            pinned: None,
        };
        Ok(ReadWatcher { watcher, flow: flow.ok_or(RestoreError::Malformed)?, destination })
    }
}
