//! Why the door itself answered, or ended, a request: one code per cause.
//!
//! The code is the contract: it is in the response body, the access log, the metrics and
//! `status`. The text for the client says nothing about the inside of the stack.

use serde::{Deserialize, Serialize};

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The request was at fault; repeating it unchanged fails again.
    Client,
    /// A server behind the door was at fault.
    Server,
    /// The door, or its configuration, was at fault.
    Door,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $status:literal, $fault:ident, $retry:literal, $proxy:literal, $detail:literal;)+) => {
        /// Why the door answered a request itself, or ended it before its end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)+ }

        impl Reason {
            /// Every reason, in declaration order; `ALL[reason.index()] == reason`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code, `snake_case`, at most 40 characters.
            #[must_use]
            pub const fn code(self) -> &'static str { match self { $(Self::$variant => $code,)+ } }

            /// The HTTP status of the door's own answer; 0 where the connection only closes.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$variant => $status,)+ } }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault { match self { $(Self::$variant => Fault::$fault,)+ } }

            /// True when the same request may succeed later.
            #[must_use]
            pub const fn retryable(self) -> bool { match self { $(Self::$variant => $retry,)+ } }

            /// The `error` parameter of `Proxy-Status` (RFC 9209, section 2.3).
            #[must_use]
            pub const fn proxy_error(self) -> &'static str { match self { $(Self::$variant => $proxy,)+ } }

            /// One sentence for the client: what was wrong and what to do.
            #[must_use]
            pub const fn detail(self) -> &'static str { match self { $(Self::$variant => $detail,)+ } }
        }
    };
}

reasons! {
    /// The request line cannot be read.
    BadRequestLine = "bad_request_line", 400, Client, false, "http_request_error", "The request line is malformed.";
    /// The protocol version is neither HTTP/1.0 nor HTTP/1.1.
    BadVersion = "bad_version", 505, Client, false, "http_request_error", "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
    /// A header field is malformed: its name, its value or its line end.
    BadHeader = "bad_header", 400, Client, false, "http_request_error", "A header field is malformed.";
    /// A line ended in a bare LF or held a bare CR.
    BareLineEnd = "bare_line_end", 400, Client, false, "http_request_error", "Lines must end in CRLF; a bare CR or LF was found.";
    /// `Host` is missing, repeated, malformed, or contradicts the target.
    BadHost = "bad_host", 400, Client, false, "http_request_error", "The Host header is missing, repeated, malformed or contradicts the request target.";
    /// The host is none that the certificate of this connection is for.
    Misdirected = "misdirected", 421, Client, true, "http_request_denied", "This connection is not, or no more, for this request: ask again on a new one.";
    /// The target is not a valid path or absolute URI.
    BadTarget = "bad_target", 400, Client, false, "http_request_error", "The request target is malformed or ambiguous.";
    /// `Content-Length` is malformed or repeated.
    BadContentLength = "bad_content_length", 400, Client, false, "http_request_error", "Content-Length must be one decimal number, sent once.";
    /// `Transfer-Encoding` is not exactly one final `chunked`.
    BadTransferEncoding = "bad_transfer_encoding", 400, Client, false, "http_request_error", "Transfer-Encoding must be exactly chunked, sent once, on HTTP/1.1.";
    /// Both `Content-Length` and `Transfer-Encoding` were sent.
    AmbiguousFraming = "ambiguous_framing", 400, Client, false, "http_request_error", "Content-Length and Transfer-Encoding were both sent.";
    /// The chunked body is malformed.
    BadChunk = "bad_chunk", 400, Client, false, "http_request_error", "The chunked body is malformed.";
    /// A trailer field that may not be a trailer, or a malformed one.
    BadTrailer = "bad_trailer", 400, Client, false, "http_request_error", "A trailer field is malformed or not allowed there.";
    /// `Expect` holds something other than `100-continue`.
    BadExpectation = "bad_expectation", 417, Client, false, "http_request_error", "Only the expectation 100-continue is supported.";
    /// `Connection` nominates a header that must reach the server.
    BadConnectionHeader = "bad_connection_header", 400, Client, false, "http_request_error", "Connection names a header field that may not be removed.";
    /// `CONNECT` and `TRACE` are not served.
    MethodNotServed = "method_not_served", 405, Client, false, "http_request_denied", "This method is not served here.";
    /// The request head is larger than the limit.
    HeadTooLarge = "head_too_large", 431, Client, false, "http_request_error", "The request head is larger than this server accepts.";
    /// More header fields than the limit.
    TooManyHeaders = "too_many_headers", 431, Client, false, "http_request_error", "The request has more header fields than this server accepts.";
    /// The target is longer than the limit.
    TargetTooLong = "target_too_long", 414, Client, false, "http_request_error", "The request target is longer than this server accepts.";
    /// The body is larger than the limit.
    BodyTooLarge = "body_too_large", 413, Client, false, "http_request_error", "The request body is larger than this server accepts.";
    /// The head did not arrive in time.
    HeadTimeout = "head_timeout", 408, Client, true, "http_request_error", "The request head did not arrive in time.";
    /// The body made no progress in time.
    BodyTimeout = "body_timeout", 408, Client, true, "http_request_error", "The request body made no progress in time.";
    /// The connection limit of the door or of this address is reached.
    TooManyConnections = "too_many_connections", 503, Client, true, "connection_limit_reached", "Too many connections are open; try again later.";
    /// The buffers of all connections hold as much as they may.
    BuffersFull = "buffers_full", 503, Door, true, "connection_limit_reached", "Too much is being sent at the moment; try again later.";
    /// The client is disabled.
    ClientDisabled = "client_disabled", 403, Client, false, "http_request_denied", "This client is disabled; ask whoever runs this server.";
    /// What the connection was opened with is nothing that its client is known by any more.
    ClientUnknown = "client_unknown", 403, Client, false, "http_request_denied", "What this connection showed when it was opened identifies its client no more; open another one.";
    /// The client may not use this route.
    ClientRoute = "client_route", 403, Client, false, "http_request_denied", "This client may not use this path.";
    /// The route asks who it is, and the request does not show it.
    Unauthenticated = "unauthenticated", 401, Client, false, "http_request_denied", "Who sends this request is not known; authenticate and ask again.";
    /// The request shows who sends it, and that is nobody who may use the route.
    Forbidden = "forbidden", 403, Client, false, "http_request_denied", "Who sends this request may not use this path.";
    /// Whether the request may be let in could not be found out in time.
    AuthenticationUnavailable = "authentication_unavailable", 503, Server, true, "destination_unavailable", "Whether this request is allowed could not be found out; try again later.";
    /// The client, or another key of a limit, sent more than its rate.
    RateLimited = "rate_limited", 429, Client, true, "http_request_denied", "Too many requests; try again after the time that Retry-After says.";
    /// The client has as many requests in flight as it may.
    TooManyInFlight = "too_many_in_flight", 429, Client, true, "http_request_denied", "Too many requests of this client are in flight; wait for some to end.";
    /// The client repeats more requests than its share of retries.
    TooManyRetries = "too_many_retries", 503, Client, false, "http_request_denied", "Too many of this client's requests are retries; do not try again.";
    /// The servers are overloaded, and more important requests come first.
    Shed = "shed", 503, Server, true, "http_request_denied", "The service is overloaded; try again later.";
    /// The servers are overloaded, and as many requests wait as may.
    QueueFull = "queue_full", 503, Server, true, "http_request_denied", "The service is overloaded; try again later.";
    /// The servers are overloaded: no place became free in time.
    QueueTimeout = "queue_timeout", 503, Server, true, "http_request_denied", "The service is overloaded; try again later.";
    /// It could not be answered before its deadline, so it was not begun.
    TooLate = "too_late", 503, Server, true, "http_response_timeout", "The service is overloaded and could not answer in time; try again later.";
    /// No route matches the host and path.
    NoRoute = "no_route", 404, Client, false, "destination_not_found", "No route matches this host and path.";
    /// A route matches the host and path, but not with this method.
    MethodNotAllowed = "method_not_allowed", 405, Client, false, "http_request_denied", "This method is not allowed for this path.";
    /// No server of the pool may take the request.
    NoServer = "no_server", 503, Server, true, "destination_unavailable", "No server is available; try again later.";
    /// The server refused or did not accept the connection.
    ConnectFailed = "connect_failed", 502, Server, true, "connection_refused", "The server could not be reached.";
    /// The server did not accept the connection in time.
    ConnectTimeout = "connect_timeout", 504, Server, true, "connection_timeout", "The server could not be reached in time.";
    /// TLS to the server failed, or its certificate was not accepted.
    ServerTls = "server_tls", 502, Server, false, "tls_certificate_error", "The server could not be reached securely.";
    /// The server closed or reset the connection before its response was complete.
    ServerClosed = "server_closed", 502, Server, true, "connection_terminated", "The server closed the connection before its response was complete.";
    /// The server answered 502, 503 or 504 and another one was asked instead.
    ServerError = "server_error", 502, Server, true, "http_request_denied", "The server could not serve the request.";
    /// The server's response is malformed or larger than the limit.
    BadResponse = "bad_response", 502, Server, false, "http_protocol_error", "The server's response is malformed.";
    /// The server's response did not begin in time.
    FirstByteTimeout = "first_byte_timeout", 504, Server, true, "http_response_timeout", "The server did not answer in time.";
    /// The server's response body made no progress in time.
    ResponseTimeout = "response_timeout", 504, Server, true, "http_response_timeout", "The server stopped sending its response.";
    /// The request took longer than its total limit.
    TotalTimeout = "total_timeout", 504, Server, true, "http_response_timeout", "The request took longer than allowed.";
    /// The client closed its connection before the response was complete.
    ClientClosed = "client_closed", 499, Client, true, "connection_terminated", "The client closed the connection.";
    /// The client read its response too slowly.
    ClientTooSlow = "client_too_slow", 499, Client, true, "connection_write_timeout", "The client read the response too slowly.";
    /// A connection must begin with a PROXY header, and its peer is not trusted to send one.
    ProxyUntrusted = "proxy_untrusted", 403, Client, false, "http_request_denied", "Connections are accepted from known proxies only.";
    /// A PROXY header is missing, malformed or cut short.
    BadProxyHeader = "bad_proxy_header", 400, Client, false, "http_request_error", "The connection does not begin with a valid PROXY header.";
    /// The PROXY header, or the TLS ClientHello that tells where a connection goes, did not come in time.
    HelloTimeout = "hello_timeout", 408, Client, true, "http_request_error", "The connection's first bytes did not arrive in time.";
    /// A connection that is passed on by its server name begins with no well-formed TLS ClientHello.
    BadClientHello = "bad_client_hello", 400, Client, false, "http_request_error", "The TLS ClientHello is malformed.";
    /// No pool serves the server name of a TLS connection, or it has none.
    UnknownServerName = "unknown_server_name", 421, Client, false, "destination_not_found", "No server serves this TLS server name.";
    /// Nothing was sent over a passed-on connection for longer than it may be idle.
    IdleTimeout = "idle_timeout", 408, Client, true, "connection_timeout", "The connection was idle for too long.";
    /// A stream of HTTP/2 was refused before it was a request: malformed, one too many, or too late.
    StreamRefused = "stream_refused", 400, Client, false, "http_request_error", "The stream was refused below HTTP.";
    /// The door is shutting down.
    Draining = "draining", 503, Door, true, "proxy_internal_response", "This server is shutting down; try again.";
    /// A defect in the door.
    Internal = "internal", 500, Door, true, "proxy_internal_error", "An internal error occurred.";
}

impl Reason {
    /// Why a request was not let in, although it was well formed.
    pub const ADMISSION: &'static [Self] = &[
        Self::BuffersFull,
        Self::ClientDisabled,
        Self::ClientRoute,
        Self::RateLimited,
        Self::TooManyInFlight,
        Self::TooManyRetries,
        Self::Shed,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::TooLate,
    ];

    /// Whether this is a refusal of admission with a status of 5xx.
    #[must_use]
    pub fn is_overload(self) -> bool {
        self.status() >= 500 && Self::ADMISSION.contains(&self)
    }

    /// The reason's place in [`Reason::ALL`], for counters in arrays.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_well_formed() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            let code = reason.code();
            assert!(
                code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
            assert!((400..600).contains(&reason.status()), "{code}");
            assert!(reason.detail().ends_with('.'), "{code}");
            let of_client = reason.fault() == Fault::Client;
            assert_eq!(
                of_client,
                reason.status() < 500
                    || matches!(
                        reason,
                        Reason::BadVersion | Reason::TooManyConnections | Reason::TooManyRetries
                    ),
                "{code}"
            );
        }
    }

    #[test]
    fn codes_are_unique() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
