//! The far end as text: no more than the notifier needs to be kept busy.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::package::{Expires, Opaque};
use sip_events::wire::Transport;
use sip_events::{Authentication, Body, Config, Endpoint, Instant, Limits, Packages, ResourceId, ResourceKey, Seed};

pub const PACKAGE: &str = "x-bench";
pub const BODY: usize = 1_000;

/// The value of a field of `message`; empty if it has none.
pub fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let mut lines = message.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

/// The 200 to a request.
pub fn ok(request: &str) -> String {
    let mut answer = String::from("SIP/2.0 200 OK\r\n");
    for line in request.split_inclusive("\r\n").take_while(|line| *line != "\r\n") {
        if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
            answer.push_str(line);
        }
    }
    answer.push_str("Content-Length: 0\r\n\r\n");
    answer
}

/// What is asked of the server at `server`.
pub struct Ask<'a> {
    pub transport: &'a str,
    pub local: SocketAddr,
    pub server: SocketAddr,
    pub package: &'a str,
}

impl Ask<'_> {
    /// The SUBSCRIBE with the number `cseq` of the dialog `number`, whose far
    /// end has given `tag`.
    pub fn subscribe(&self, number: u32, cseq: u32, tag: Option<&str>, expires: u32) -> String {
        let Self { transport, local, server, package } = self;
        let uri = format!("sip:bob@{server}");
        let parameter = if *transport == "UDP" { "" } else { ";transport=tcp" };
        let mut text = String::with_capacity(512);
        let _ = write!(
            text,
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK{number}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:w{number}@{local}>;tag=t{number}\r\nTo: <{uri}>",
        );
        if let Some(tag) = tag {
            let _ = write!(text, ";tag={tag}");
        }
        let _ = write!(
            text,
            "\r\nCall-ID: {number}@{local}\r\nCSeq: {cseq} SUBSCRIBE\r\nContact: <sip:w{number}@{local}{parameter}>\r\n\
             Event: {package}\r\nExpires: {expires}\r\nContent-Length: 0\r\n\r\n",
        );
        text
    }
}

/// An endpoint that serves one resource.
pub fn notifier(transport: Transport, local: SocketAddr) -> Result<(Endpoint, ResourceId), Box<dyn std::error::Error>> {
    let mut limits = Limits::default();
    limits.watchers = 200_000;
    limits.watchers_per_resource = 200_000;
    limits.watchers_per_source = 200_000;
    let config =
        Config::new(&format!("sip:bob@{local}"))?.with_limits(limits).with_authentication(Authentication::None);
    let mut packages = Packages::new();
    let durations = Expires::new(1, 86_400, 86_400);
    packages.register(Opaque::new(PACKAGE).with_duration(durations).with_rate(Duration::ZERO))?;
    let mut endpoint = Endpoint::new(Arc::new(config), packages, &Seed([3; 32]), Instant::ZERO);
    endpoint.add_local(transport, local, None, None)?;
    let resource = endpoint.add_resource(&ResourceKey::new(&format!("sip:bob@{local}"), PACKAGE)?)?;
    endpoint.set_state(Instant::ZERO, resource, body(0))?;
    Ok((endpoint, resource))
}

pub fn body(number: u32) -> Body {
    Body::new("text/plain", format!("{number:0BODY$}"))
}
