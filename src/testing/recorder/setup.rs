//! What a recorded endpoint was made of: the first part of a recording.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{RECORDING, VERSION};
use crate::codec::{Get, Mode, Put, Reader, Writer, put_list};
use crate::error::RestoreError;
use crate::{
    Authentication, BadGateway, Config, ContactFlow, Delivery, Dialect, DialogSharing, Endpoint, FlowGone, Instant,
    KeepAlive, MissingState, NotifyTimeout, PackageConfig, Packages, Policy, Restart, Role, RouteSet, Seed, Timers,
    Undecided, UnknownResource, Unproven, ViaMaddr, machine,
};

tags!(Undecided { Pending = 0, Refuse = 1 });
tags!(UnknownResource { Refuse = 0, Ask = 1 });
tags!(NotifyTimeout { Remove = 0, Keep = 1 });
tags!(FlowGone { Reconnect = 0, Remove = 1 });
tags!(BadGateway { Keep = 0, EndDialog = 1 });
tags!(DialogSharing { Refuse = 0, Allow = 1 });
tags!(Delivery { RemoteTarget = 0, Flow = 1 });
tags!(Dialect { Rfc6665 = 0, Rfc3265 = 1 });
tags!(Role { Standalone = 0, Shared = 1 });
tags!(MissingState { Refuse = 0, Active = 1 });
tags!(RouteSet { Notify = 0, NotifyOrResponse = 1 });
tags!(Unproven { Limit = 0, Trust = 1 });
tags!(ViaMaddr { Follow = 0, Source = 1 });
tags!(KeepAlive { Off = 0, Send = 1, Expect = 2 });
tags!(ContactFlow { Any = 0, Same = 1 });
fields!(Policy {
    undecided,
    unknown_resource,
    notify_timeout,
    flow_gone,
    dialog_sharing,
    delivery,
    dialect,
    missing_state,
    route_set,
    bad_gateway,
    unproven,
    via_maddr,
    keep_alive,
    contact,
});
fields!(machine::Timers { t1, t2, t4 });
fields!(Timers { sip, decision, give_up, retry_floor, retry_cap, keep_alive });
fields!(PackageConfig { name, min_expires, max_expires, default_expires, min_interval });
fields!(Config { identity, timers, limits, policy, role, authentication, user_agent, packages, shard });

impl Put for Authentication {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::None => w.word(0),
            #[cfg(feature = "digest")]
            Self::Digest(settings) => {
                w.word(1);
                w.put(&**settings);
            }
        }
    }
}

impl Get for Authentication {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::None,
            #[cfg(feature = "digest")]
            1 => Self::Digest(Box::new(r.get()?)),
            _ => return Err(RestoreError::Malformed),
        })
    }
}

#[cfg(feature = "digest")]
mod digest {
    use alloc::sync::Arc;

    use super::{Get, Put, Reader, RestoreError, Writer};
    use crate::digest::{Algorithm, Secret, Settings, UriCheck, UserStore};

    /// Stands for a store until the one who replays gives it.
    #[derive(Debug)]
    struct Missing;

    impl UserStore for Missing {
        fn secret(&self, _: &[u8], _: bool, _: &str, _: Algorithm) -> Option<Secret> {
            None
        }
    }

    tags!(Algorithm { Md5 = 0, Md5Sess = 1, Sha256 = 2, Sha256Sess = 3, Sha512_256 = 4, Sha512_256Sess = 5 });
    tags!(UriCheck { Request = 0, RequestOrTo = 1 });

    impl Put for Settings {
        fn put(&self, w: &mut Writer<'_>) {
            let Self {
                realm,
                algorithms,
                integrity,
                life,
                reordering,
                without_qop,
                userhash,
                uri_check,
                users,
                notify,
            } = self;
            w.put(realm);
            w.put(algorithms);
            w.put(life);
            w.put(uri_check);
            w.put(&users.is_some());
            for flag in [integrity, reordering, without_qop, userhash, notify] {
                w.put(flag);
            }
        }
    }

    impl Get for Settings {
        fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
            let realm: alloc::string::String = r.get()?;
            let mut settings = Self::new(&realm).map_err(|_| RestoreError::Malformed)?;
            settings.algorithms = r.get()?;
            settings.life = r.get()?;
            settings.uri_check = r.get()?;
            if r.get()? {
                settings.users = Some(Arc::new(Missing));
            }
            settings.integrity = r.get()?;
            settings.reordering = r.get()?;
            settings.without_qop = r.get()?;
            settings.userhash = r.get()?;
            settings.notify = r.get()?;
            Ok(settings)
        }
    }
}

/// How the life of a recorded endpoint began.
pub(super) enum Origin {
    New(Seed),
    Restored(Box<[u8]>, Duration, Restart),
}

/// The first part of a recording.
pub(super) struct Setup {
    pub(super) start: Instant,
    config: Arc<Config>,
    pub(super) packages: Vec<String>,
    origin: Origin,
}

impl Put for Seed {
    fn put(&self, w: &mut Writer<'_>) {
        w.raw(&self.0);
    }
}

impl Get for Seed {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.raw(32)?.try_into().map(Self).map_err(|_| RestoreError::Malformed)
    }
}

impl Put for Restart {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Fresh(seed) => {
                w.word(0);
                w.put(seed);
            }
            Self::Continue(seed) => {
                w.word(1);
                w.put(seed);
            }
        }
    }
}

impl Get for Restart {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Fresh(r.get()?),
            1 => Self::Continue(r.get()?),
            _ => return Err(RestoreError::Malformed),
        })
    }
}

/// Appends the first part of a recording.
pub(super) fn put(out: &mut Vec<u8>, start: Instant, config: &Config, packages: &Packages, origin: &Origin) {
    let mut w = Writer::new(out, start, Mode::Exact);
    w.raw(RECORDING);
    w.raw(&VERSION.to_le_bytes());
    w.word(start.as_nanos());
    w.put(config);
    let names: Vec<&str> = packages.iter().map(|package| package.name()).collect();
    put_list(&mut w, names.into_iter());
    match origin {
        Origin::New(seed) => {
            w.word(0);
            w.put(seed);
        }
        Origin::Restored(snapshot, downtime, restart) => {
            w.word(1);
            w.put(snapshot);
            w.put(downtime);
            w.put(restart);
        }
    }
}

/// Reads it; `r` begins behind the version.
pub(super) fn get(r: &mut Reader<'_>) -> Result<Setup, RestoreError> {
    let start = Instant::from_nanos(r.word()?);
    let (config, packages) = (Arc::new(r.get()?), r.get()?);
    let origin = match r.word()? {
        0 => Origin::New(r.get()?),
        1 => Origin::Restored(r.get()?, r.get()?, r.get()?),
        _ => return Err(RestoreError::Malformed),
    };
    Ok(Setup { start, config, packages, origin })
}

impl Setup {
    /// Puts the store of users into its place.
    #[cfg(feature = "digest")]
    pub(super) fn set_users(&mut self, users: Arc<dyn crate::digest::UserStore>) {
        let config = Arc::make_mut(&mut self.config);
        if let Some(Authentication::Digest(settings)) = &mut config.authentication {
            settings.users = settings.users.take().map(|_| users);
        }
    }

    /// Whether users were looked up in a store.
    pub(super) fn has_users(&self) -> bool {
        match &self.config.authentication {
            #[cfg(feature = "digest")]
            Some(Authentication::Digest(settings)) => settings.users.is_some(),
            _ => false,
        }
    }

    /// The endpoint as it was when the recording began.
    pub(super) fn build(&self, packages: Packages) -> Result<Endpoint, RestoreError> {
        let names: Vec<String> = packages.iter().map(|package| package.name().to_string()).collect();
        if names != self.packages {
            return Err(RestoreError::UnknownPackage);
        }
        match &self.origin {
            Origin::New(seed) => Ok(Endpoint::new(self.config.clone(), packages, seed, self.start)),
            Origin::Restored(snapshot, downtime, restart) => {
                Endpoint::restore(self.config.clone(), packages, snapshot, self.start, *downtime, restart)
            }
        }
    }
}
