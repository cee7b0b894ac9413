//! Status codes of responses.

use core::fmt;

/// A status code, 100 to 699 (RFC 3261, section 7.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

macro_rules! codes {
    ($($name:ident = $code:literal, $doc:literal;)+) => {
        impl StatusCode {
            $(#[doc = $doc] pub const $name: Self = Self($code);)+
        }
    };
}

codes! {
    TRYING = 100, "100 Trying";
    RINGING = 180, "180 Ringing";
    SESSION_PROGRESS = 183, "183 Session Progress";
    OK = 200, "200 OK";
    ACCEPTED = 202, "202 Accepted";
    NO_NOTIFICATION = 204, "204 No Notification";
    MULTIPLE_CHOICES = 300, "300 Multiple Choices";
    MOVED_PERMANENTLY = 301, "301 Moved Permanently";
    MOVED_TEMPORARILY = 302, "302 Moved Temporarily";
    USE_PROXY = 305, "305 Use Proxy";
    BAD_REQUEST = 400, "400 Bad Request";
    UNAUTHORIZED = 401, "401 Unauthorized";
    FORBIDDEN = 403, "403 Forbidden";
    NOT_FOUND = 404, "404 Not Found";
    METHOD_NOT_ALLOWED = 405, "405 Method Not Allowed";
    NOT_ACCEPTABLE = 406, "406 Not Acceptable";
    PROXY_AUTHENTICATION_REQUIRED = 407, "407 Proxy Authentication Required";
    REQUEST_TIMEOUT = 408, "408 Request Timeout";
    GONE = 410, "410 Gone";
    CONDITIONAL_REQUEST_FAILED = 412, "412 Conditional Request Failed";
    REQUEST_ENTITY_TOO_LARGE = 413, "413 Request Entity Too Large";
    REQUEST_URI_TOO_LONG = 414, "414 Request-URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415, "415 Unsupported Media Type";
    UNSUPPORTED_URI_SCHEME = 416, "416 Unsupported URI Scheme";
    BAD_EXTENSION = 420, "420 Bad Extension";
    EXTENSION_REQUIRED = 421, "421 Extension Required";
    INTERVAL_TOO_BRIEF = 423, "423 Interval Too Brief";
    PROVIDE_REFERRER_IDENTITY = 429, "429 Provide Referrer Identity";
    FLOW_FAILED = 430, "430 Flow Failed";
    FIRST_HOP_LACKS_OUTBOUND = 439, "439 First Hop Lacks Outbound Support";
    TEMPORARILY_UNAVAILABLE = 480, "480 Temporarily Unavailable";
    NO_SUCH_SUBSCRIPTION = 481, "481 Call/Transaction Does Not Exist";
    LOOP_DETECTED = 482, "482 Loop Detected";
    TOO_MANY_HOPS = 483, "483 Too Many Hops";
    ADDRESS_INCOMPLETE = 484, "484 Address Incomplete";
    AMBIGUOUS = 485, "485 Ambiguous";
    BUSY_HERE = 486, "486 Busy Here";
    REQUEST_TERMINATED = 487, "487 Request Terminated";
    BAD_EVENT = 489, "489 Bad Event";
    REQUEST_PENDING = 491, "491 Request Pending";
    SERVER_INTERNAL_ERROR = 500, "500 Server Internal Error";
    NOT_IMPLEMENTED = 501, "501 Not Implemented";
    BAD_GATEWAY = 502, "502 Bad Gateway";
    SERVICE_UNAVAILABLE = 503, "503 Service Unavailable";
    SERVER_TIMEOUT = 504, "504 Server Time-out";
    VERSION_NOT_SUPPORTED = 505, "505 Version Not Supported";
    MESSAGE_TOO_LARGE = 513, "513 Message Too Large";
    BUSY_EVERYWHERE = 600, "600 Busy Everywhere";
    DECLINE = 603, "603 Decline";
    DOES_NOT_EXIST_ANYWHERE = 604, "604 Does Not Exist Anywhere";
}

impl StatusCode {
    /// `None` outside 100 to 699.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            100..=699 => Some(Self(code)),
            _ => None,
        }
    }

    /// Reads exactly three digits.
    pub const fn from_bytes(digits: &[u8]) -> Option<Self> {
        let [hundreds @ b'1'..=b'6', tens @ b'0'..=b'9', units @ b'0'..=b'9'] = digits else {
            return None;
        };
        let tens = (hundreds.wrapping_sub(b'0') as u16).wrapping_mul(10).wrapping_add(tens.wrapping_sub(b'0') as u16);
        Self::new(tens.wrapping_mul(10).wrapping_add(units.wrapping_sub(b'0') as u16))
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// The first digit, 1 to 6.
    pub const fn class(self) -> u8 {
        match self.0 {
            ..200 => 1,
            200..300 => 2,
            300..400 => 3,
            400..500 => 4,
            500..600 => 5,
            600.. => 6,
        }
    }

    /// Whether this is a 1xx.
    pub const fn is_provisional(self) -> bool {
        self.class() == 1
    }

    /// Whether this is a 2xx.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// The code a client that does not know this one acts upon: `x00` of its
    /// class, 183 for a provisional other than 100 (RFC 3261, section
    /// 8.1.3.2).
    pub const fn as_unknown(self) -> Self {
        match self.0 {
            100 => self,
            ..200 => Self::SESSION_PROGRESS,
            200..300 => Self::OK,
            300..400 => Self::MULTIPLE_CHOICES,
            400..500 => Self::BAD_REQUEST,
            500..600 => Self::SERVER_INTERNAL_ERROR,
            600.. => Self::BUSY_EVERYWHERE,
        }
    }

    /// The reason phrase its RFC registers; for an unregistered code that of
    /// [`StatusCode::as_unknown`].
    pub const fn default_reason(self) -> &'static str {
        match self.0 {
            100 => "Trying",
            180 => "Ringing",
            181 => "Call Is Being Forwarded",
            182 => "Queued",
            183 => "Session Progress",
            199 => "Early Dialog Terminated",
            200 => "OK",
            202 => "Accepted",
            204 => "No Notification",
            300 => "Multiple Choices",
            301 => "Moved Permanently",
            302 => "Moved Temporarily",
            305 => "Use Proxy",
            380 => "Alternative Service",
            400 => "Bad Request",
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            410 => "Gone",
            412 => "Conditional Request Failed",
            413 => "Request Entity Too Large",
            414 => "Request-URI Too Long",
            415 => "Unsupported Media Type",
            416 => "Unsupported URI Scheme",
            417 => "Unknown Resource-Priority",
            420 => "Bad Extension",
            421 => "Extension Required",
            422 => "Session Interval Too Small",
            423 => "Interval Too Brief",
            428 => "Use Identity Header",
            429 => "Provide Referrer Identity",
            430 => "Flow Failed",
            433 => "Anonymity Disallowed",
            436 => "Bad Identity Info",
            437 => "Unsupported Credential",
            438 => "Invalid Identity Header",
            439 => "First Hop Lacks Outbound Support",
            440 => "Max-Breadth Exceeded",
            469 => "Bad Info Package",
            470 => "Consent Needed",
            480 => "Temporarily Unavailable",
            481 => "Call/Transaction Does Not Exist",
            482 => "Loop Detected",
            483 => "Too Many Hops",
            484 => "Address Incomplete",
            485 => "Ambiguous",
            486 => "Busy Here",
            487 => "Request Terminated",
            488 => "Not Acceptable Here",
            489 => "Bad Event",
            491 => "Request Pending",
            493 => "Undecipherable",
            494 => "Security Agreement Required",
            500 => "Server Internal Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Server Time-out",
            505 => "Version Not Supported",
            513 => "Message Too Large",
            555 => "Push Notification Service Not Supported",
            580 => "Precondition Failure",
            600 => "Busy Everywhere",
            603 => "Decline",
            604 => "Does Not Exist Anywhere",
            606 => "Not Acceptable",
            607 => "Unwanted",
            608 => "Rejected",
            _ => self.as_unknown().default_reason(),
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    /// Covers: 3261-7.2-1
    #[test]
    fn only_three_digits_from_100_to_699_are_a_status() {
        for code in 0..=1100u16 {
            let text = format!("{code:03}");
            let read = StatusCode::from_bytes(text.as_bytes());
            assert_eq!(read, StatusCode::new(code).filter(|_| text.len() == 3), "{text}");
            assert_eq!(read.is_some(), (100..700).contains(&code));
        }
        for bad in [&b""[..], b"20", b"2000", b"20x", b"+20", b" 20", b"\xb2\xb0\xb0"] {
            assert_eq!(StatusCode::from_bytes(bad), None);
        }
    }

    /// Covers: 3261-8.1.3.2-1, 3261-8.1.3.2-2
    #[test]
    fn an_unknown_code_stands_for_its_class() {
        let as_unknown = |code| StatusCode::new(code).map(|c| c.as_unknown().as_u16());
        assert_eq!(as_unknown(499), Some(400));
        assert_eq!(as_unknown(599), Some(500));
        assert_eq!(as_unknown(699), Some(600));
        assert_eq!(as_unknown(299), Some(200));
        assert_eq!(as_unknown(399), Some(300));
        assert_eq!(as_unknown(198), Some(183));
        assert_eq!(as_unknown(100), Some(100));
    }

    #[test]
    fn every_code_has_a_class_and_a_reason() {
        for code in 100..700 {
            let status = StatusCode::new(code).unwrap();
            assert_eq!(u16::from(status.class()), code / 100);
            assert!(!status.default_reason().is_empty());
        }
        assert_eq!(StatusCode::BAD_EVENT.as_u16(), 489);
        assert_eq!(StatusCode::BAD_EVENT.default_reason(), "Bad Event");
        assert_eq!(StatusCode::new(499).unwrap().default_reason(), "Bad Request");
    }
}
