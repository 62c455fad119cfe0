//! What the readers' findings mean: mistakes that leave no configuration to judge.
//!
//! They are not rules: nothing sets them aside. This list exists so that every name in a finding
//! can be explained; a test holds it against the sources.

/// Name and meaning of every finding that is not a rule's, by name.
pub(super) static STRUCTURE: [(&str, &str); 76] = [
    (
        "after-the-end",
        "Something in a drill is to happen or to end after the drill itself has ended.",
    ),
    (
        "conflicting-keys",
        "Two keys are given of which only one can have its way, or a key without the one it belongs to.",
    ),
    (
        "duplicate-address",
        "Two listeners, or a listener and the admin interface, have the same address and port. Only one of them could listen.",
    ),
    (
        "duplicate-header",
        "A header is given twice, in other letters: the names of headers know no case.",
    ),
    (
        "duplicate-identity",
        "Two registered clients are known by the same key, so nobody can tell whose a request is. Networks may overlap: the most specific one wins.",
    ),
    (
        "duplicate-key",
        "A key or a table is written twice. TOML allows each once, so neither can be taken for the right one.",
    ),
    ("duplicate-name", "Two servers of a drill have the same name."),
    (
        "empty-list",
        "A list is empty that must name something. To mean anything, leave the key out.",
    ),
    ("empty-window", "The time that a drill measures ends before it has begun."),
    (
        "fixed-header",
        "A rule for header fields touches one that frames messages, is of one connection, or is the door's own. Changing it would leave two readings of a message, or none.",
    ),
    (
        "include-cycle",
        "A file of an imported configuration includes itself, by way of others or directly.",
    ),
    (
        "inexact-import",
        "A directive of another balancer is translated, and the door does nearly, not exactly, the same. This is a warning.",
    ),
    (
        "invalid-address",
        "This is not an address here. A listener has an IP address and a port; a server an address or a name, and a port.",
    ),
    (
        "invalid-capacity",
        "The file that `capacity` names was not written by `tidegate load capacity --write`, or was changed since.",
    ),
    ("invalid-hash", "A SHA-256 is written as 64 hex digits."),
    (
        "invalid-header",
        "This cannot be the value of a header: visible ASCII only, without blanks at its ends.",
    ),
    (
        "invalid-host",
        "This is not a host name: labels of letters, digits, `-` and `_`, joined by dots.",
    ),
    (
        "invalid-key",
        "A file does not hold a public key that tokens can be checked with: in PEM of RSA, P-256 or Ed25519, or a JSON Web Key Set with such a key.",
    ),
    ("invalid-location", "This cannot be the target of a redirect."),
    ("invalid-media-type", "This is not a media type, or none that compression may be limited to."),
    ("invalid-message", "A gRPC message is written as `hex:...` or `base64:...`."),
    ("invalid-method", "Methods are upper case tokens, such as `GET`."),
    ("invalid-name", "Names have 1 to 64 letters, digits, `-`, `_` or `.`."),
    (
        "invalid-network",
        "Networks are written as an address and a prefix without bits behind it, such as `10.0.0.0/8`.",
    ),
    (
        "invalid-origin",
        "This is not a site as browsers name it: a scheme, a host, and a port unless it is the scheme's own, as in `https://app.example.com`.",
    ),
    (
        "invalid-path",
        "Paths of requests begin with `/` and are written as canonical requests have them; paths of files must not be empty.",
    ),
    (
        "invalid-regex",
        "This regular expression cannot be compiled within its bounds, or no path matches it.",
    ),
    (
        "invalid-replacement",
        "Behind a `$` of `replace_path` stands a digit, `{name}`, or a second `$`.",
    ),
    ("invalid-status", "A status code, or a range of them, is out of order or out of range."),
    ("invalid-stream", "A stream of requests contradicts itself."),
    ("invalid-target", "A request of a load is a method and a target, such as `GET /`."),
    (
        "invalid-template",
        "A template is a path in which whole segments are `{name}`, and the last one may be `{*name}`.",
    ),
    ("invalid-text", "A text must be printable, and within its length."),
    (
        "invalid-token",
        "The name of a header or cookie has letters, digits and any of !#$%&'*+-.^_`|~.",
    ),
    ("invalid-unit", "Durations, sizes and rates always have a unit: `250ms`, `16KiB`, `200/s`."),
    ("invalid-url", "A URL does not have the scheme that is needed here."),
    (
        "invalid-users",
        "A user has a name that can be sent, and a hash of his password by bcrypt or Argon2id that takes no more than about a second.",
    ),
    ("invalid-value", "The key can have one value only."),
    (
        "missing-file",
        "A file that is named does not exist, or is no regular file. Paths are relative to the folder of the configuration.",
    ),
    ("missing-folder", "The folder of a file that is to be written does not exist."),
    ("missing-key", "A key is missing without which the table means nothing."),
    (
        "missing-reason",
        "An allowance must say why, in 10 to 500 characters: who reads it next must be able to tell whether it still holds.",
    ),
    ("more-findings", "There are more findings of this severity than are shown. Mend some first."),
    ("no-database", "A drill does something to a database that its stack does not have."),
    ("no-fault", "A fault of a drill changes nothing."),
    ("no-listener", "Without a `[listen.NAME]` nobody can connect."),
    ("no-route", "Without a `[routes.NAME]` every request would be answered 404."),
    ("no-traffic", "A change in a drill leaves no server that takes requests."),
    (
        "not-a-rule",
        "An allowance names something that is no rule. Only rules can be set aside, and `broken-invariant` and `large-move` cannot: invariants and how changes go live are your own.",
    ),
    ("nothing-stale", "A drill brings an old configuration back that was never replaced."),
    ("out-of-range", "A number, a size or a duration is out of its range."),
    (
        "partly-simulated",
        "Rules about shares run every pool in a simulation, up to a million requests in all. These pools were beyond that, so their shares are not, or not all, known. `tidegate plan` replays recorded traffic instead.",
    ),
    (
        "route-action",
        "A route forwards to a `pool`, or redirects, or responds: exactly one of them.",
    ),
    (
        "short-token",
        "A secret can be guessed: the token of the admin interface has at least 16 characters, the secret of signed tokens at least 32 bytes; both are best made by `openssl rand -hex 32`.",
    ),
    (
        "syntax",
        "The text is not TOML. What else is said of such a text is only what stays certain.",
    ),
    ("too-large", "A file is larger than may be read."),
    ("too-many", "There is more of something than may be."),
    ("too-many-regexes", "There are more regular expressions than 1,000, or than fit into 16 MiB."),
    ("too-many-routes", "There are more than 10,000 routes."),
    ("too-many-servers", "There are more than 10,000 servers over all pools."),
    (
        "trailing-slash",
        "A prefix ends with `/`, which says nothing: it serves the path without the slash too. This is a warning.",
    ),
    (
        "unbounded-queue",
        "In an imported configuration requests wait in front of a full server, however many there are: an overload becomes a wait that nobody sits through. This door bounds what waits, in number and in time.",
    ),
    (
        "unknown-directive",
        "A configuration of another balancer has a directive that this balancer does not know either.",
    ),
    (
        "unknown-key",
        "A key that is not known here is mostly misspelt: what it was to change would silently stay as it is, so it is refused.",
    ),
    ("unknown-group", "`replace_path` names a group that `path_regex` does not have."),
    ("unknown-listener", "A route names a listener that does not exist."),
    ("unknown-pool", "A route or a TCP listener names a pool that does not exist."),
    ("unknown-route", "A client or a limit names a route that does not exist."),
    ("unknown-server", "A drill names a server that its stack does not have."),
    ("unknown-stream", "A drill names a stream of requests that it does not have."),
    ("unknown-value", "This word is not one of those the key may have."),
    ("unreadable-file", "A file that is named exists and cannot be read."),
    (
        "unused-allowance",
        "An allowance sets nothing aside: what it was for has been mended, or its place is misspelt. This is a warning.",
    ),
    ("unused-keys", "A load has keys that none of its requests uses."),
    (
        "wrong-protocol",
        "Requests are spoken of where bytes are passed on unread, or the other way round: a route of a TCP listener, a pool of both, a hash of what no connection has.",
    ),
    (
        "wrong-type",
        "The value is of another type than the key's: a number for a text, a text for a table.",
    ),
];
