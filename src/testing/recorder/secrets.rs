//! The calls of authentication, and how secrets are written.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::put_debug;
use crate::codec::{Get, Mode, Put, Reader, Writer};
use crate::digest::{Credentials, HexDigest, Secret, SecretKind};
use crate::error::RestoreError;
use crate::id::{ClaimId, RawId};
use crate::{Endpoint, Instant, Misuse, ObjectId};

use super::Recorder;

fields!(Credentials { user, realm, secrets, md5 });
fields!(Secret { kind, user });

impl Put for SecretKind {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Password(password) => {
                w.word(0);
                w.put(password);
            }
            Self::Ha1(algorithm, digest) => {
                w.word(1);
                w.put(algorithm);
                w.put(digest.as_bytes());
            }
        }
    }
}

impl Get for SecretKind {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Password(r.get::<Box<[u8]>>()?),
            1 => {
                let algorithm = r.get()?;
                let digest = HexDigest::from_hex(algorithm, r.bytes()?).ok_or(RestoreError::Malformed)?;
                Self::Ha1(algorithm, digest)
            }
            _ => return Err(RestoreError::Malformed),
        })
    }
}

impl Put for ClaimId {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.0);
    }
}

impl Get for ClaimId {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.get::<RawId>().map(Self)
    }
}

call! { repeat:
    /// See [`Endpoint::set_credentials`].
    60 set_credentials(credentials: Vec<Credentials>) -> Result<(), Misuse>;
    /// See [`Endpoint::authenticate`].
    61 authenticate(now: Instant; object: ObjectId; credentials: Credentials) -> Result<(), Misuse>;
    /// See [`Endpoint::supply`].
    62 supply(now: Instant; id: ClaimId; secret: Option<Secret>) -> Result<(), Misuse>;
}
