//! The flags whose new values need no restart.

/// The flags that SIGHUP applies, each with the moment of its effect.
pub(crate) const LIVE: [(&str, &str); 15] = [
    (
        "tls-cert",
        "new connections get the certificate in the file; another way to get one needs a restart",
    ),
    ("tls-key", "the same, for its key"),
    ("max-text", "new conversations, and messages by `POST`"),
    ("max-connections", "new connections"),
    ("max-per-address", "new connections"),
    ("rate", "at once"),
    ("daily-bytes", "at once"),
    ("new-names", "at once"),
    ("topic-rate", "at once"),
    ("unread", "at once"),
    ("ping", "new conversations"),
    ("motd", "new conversations; the file is read again"),
    (
        "operator-secret-file",
        "at once; the file is read again, and operators stay operators until they leave",
    ),
    ("edit-window", "at once"),
    ("verbose", "at once"),
];
