//! Digest values from peers: what is accepted can be answered, and only the
//! right answer is let in.

use std::sync::OnceLock;
use std::time::Duration;

use sip_events::digest::{
    Algorithm, Authorization, Challenge, Credentials, Info, Refusal, Request, Secret, Server, Session, Settings, choose,
};
use sip_events::{Instant, Seed};

const REALM: &str = "example.com";
const URI: &[u8] = b"sip:bob@example.com";

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let settings = Settings::new(REALM).unwrap().algorithms(&Algorithm::ALL).integrity(true).without_qop(true);
        Server::new(settings, &Seed([3; 32]), 16, Instant::ZERO)
    })
}

fn credentials() -> &'static Credentials {
    static CREDENTIALS: OnceLock<Credentials> = OnceLock::new();
    CREDENTIALS.get_or_init(|| Credentials::new("ann", Secret::password("secret")).unwrap())
}

/// One field value, read as a challenge, as an answer and as Authentication-Info.
pub(crate) fn digest(data: &[u8]) {
    let request = Request { method: b"SUBSCRIBE", uri: URI, body: &[] };
    let own = credentials();
    if let Ok(challenge) = Challenge::parse(data) {
        let realm = challenge.realm();
        let choice = choose(std::iter::once(data), |_| Some(own));
        assert!(choice.answers.len() <= 1);
        if let Some(mut session) = Session::new(false, &challenge, own, 7) {
            let mut line = Vec::new();
            session.write(&request, &mut line);
            assert!(line.ends_with(b"\r\n"));
            let value = line.strip_prefix(b"Authorization: ").and_then(|v| v.strip_suffix(b"\r\n")).unwrap();
            assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n')), "one line");
            // What we write we can read, and it says the same.
            let answer =
                Authorization::parse(value).unwrap_or_else(|error| panic!("{error:?} in {}", value.escape_ascii()));
            let plain = |text: &[u8]| !text.iter().any(u8::is_ascii_control);
            if plain(&realm) && plain(&challenge.nonce()) {
                assert_eq!((answer.realm(), answer.nonce()), (realm, challenge.nonce()));
            }
            if let Some(info) = Info::parse(data) {
                session.handle_info(&info, &[]);
            }
        }
    }
    if let Some(info) = Info::parse(data) {
        let _ = (info.next_nonce(), info.response_auth(), info.cnonce());
    }
    let now = Instant::from_secs(10);
    let mut state = server().clone();
    match state.check(now, std::iter::once(data), URI, URI) {
        Ok(claim) => {
            // Its nonce is forged or of another run, or it was made with the seed.
            let secret = Secret::password("not what anybody has");
            let refused = state.verify(now, &claim, Some(&secret), b"SUBSCRIBE", &[]);
            assert!(matches!(refused, Err(Refusal::Denied | Refusal::Stale)));
        }
        Err(Refusal::Missing | Refusal::Stale | Refusal::Malformed) => {}
        Err(other) => panic!("{other:?} before the secret is known"),
    }
    if data.first().is_some_and(|first| first % 16 == 0) {
        honest(now, data);
    }
}

/// The right answer is let in once, at any algorithm that `data` picks.
fn honest(now: Instant, data: &[u8]) {
    let mut state = server().clone();
    let mut lines = Vec::new();
    state.write_challenges(now, false, &mut lines);
    let values: Vec<&[u8]> = lines
        .split(|b| *b == b'\n')
        .filter_map(|l| l.strip_prefix(b"WWW-Authenticate: ")?.strip_suffix(b"\r"))
        .collect();
    let at = data.get(1).map_or(0, |b| usize::from(*b)) % values.len();
    let challenge = Challenge::parse(values[at]).expect("our own");
    let mut session = Session::new(false, &challenge, credentials(), 9).expect("any algorithm");
    let mut line = Vec::new();
    session.write(&Request { method: b"SUBSCRIBE", uri: URI, body: &[data] }, &mut line);
    let value = line.strip_prefix(b"Authorization: ").and_then(|v| v.strip_suffix(b"\r\n")).unwrap();
    let secret = Secret::password("secret");
    let mut once = |expected: Result<(), Refusal>| {
        let claim = state.check(now, std::iter::once(value), URI, URI);
        let verified = claim.and_then(|claim| state.verify(now, &claim, Some(&secret), b"SUBSCRIBE", &[data]));
        assert_eq!(verified.map(|_| ()), expected);
    };
    once(Ok(()));
    once(Err(Refusal::Stale));
    let later = now + Duration::from_secs(301);
    let claim = state.check(later, std::iter::once(value), URI, URI);
    assert!(matches!(claim, Err(Refusal::Stale)));
}
