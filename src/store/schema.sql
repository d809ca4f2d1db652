-- The schema, explained in docs/storage.md. Every row ends with a checksum.
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 0),
    epoch TEXT NOT NULL,
    applied INTEGER NOT NULL,
    chain BLOB NOT NULL,
    clock INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    name_expiry INTEGER NOT NULL,
    edit_window INTEGER NOT NULL,
    owners INTEGER NOT NULL,
    swept INTEGER NOT NULL,
    guests BLOB NOT NULL,
    sum INTEGER NOT NULL
);
CREATE TABLE parents (
    batch INTEGER PRIMARY KEY,
    epoch TEXT NOT NULL,
    upto INTEGER NOT NULL,
    sum INTEGER NOT NULL
);
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    private INTEGER NOT NULL,
    said INTEGER NOT NULL,
    sum INTEGER NOT NULL
);
CREATE INDEX rooms_listed ON rooms (said) WHERE private = 0 AND name NOT GLOB '[@_]*';
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    room INTEGER NOT NULL REFERENCES rooms (id),
    prev INTEGER NOT NULL,
    earlier INTEGER NOT NULL,
    at INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    name TEXT,
    owner INTEGER NOT NULL,
    addr TEXT NOT NULL,
    address TEXT,
    text TEXT NOT NULL,
    id TEXT,
    content BLOB,
    kind INTEGER NOT NULL,
    recipient TEXT,
    partner INTEGER,
    about INTEGER,
    edited INTEGER,
    reacted INTEGER NOT NULL,
    sum INTEGER NOT NULL
);
-- Kinds below 2 are messages; the others change one.
CREATE INDEX messages_of_room ON messages (room, seq) WHERE kind < 2;
CREATE INDEX changes_of_room ON messages (room, seq) WHERE kind >= 2;
CREATE INDEX messages_with ON messages (room, partner, seq) WHERE partner IS NOT NULL;
CREATE INDEX edits ON messages (about) WHERE kind = 2;
CREATE INDEX reactions ON messages (about, text, owner, name) WHERE kind = 5;
CREATE UNIQUE INDEX messages_by_id ON messages (room, owner, id) WHERE id IS NOT NULL;
CREATE TABLE names (
    key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner INTEGER NOT NULL,
    salt BLOB NOT NULL,
    tag BLOB NOT NULL,
    used INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    sum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_of_owner ON names (owner);
CREATE TABLE memberships (
    room TEXT NOT NULL,
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    owns INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (room, owner)
) WITHOUT ROWID;
CREATE INDEX memberships_of_owner ON memberships (owner);
CREATE TABLE invitations (
    id INTEGER PRIMARY KEY,
    token BLOB NOT NULL UNIQUE,
    room TEXT NOT NULL,
    author TEXT NOT NULL,
    owner INTEGER NOT NULL,
    gives INTEGER NOT NULL,
    member INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    until INTEGER NOT NULL,
    sum INTEGER NOT NULL
);
CREATE INDEX invitations_of_room ON invitations (room);
CREATE TABLE admissions (
    invitation INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (invitation, owner)
) WITHOUT ROWID;
CREATE INDEX admissions_of_owner ON admissions (owner);
CREATE TABLE hooks (
    room TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    owner INTEGER NOT NULL,
    token BLOB NOT NULL UNIQUE,
    author TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (room, key)
) WITHOUT ROWID;
CREATE INDEX hooks_of_owner ON hooks (owner);
CREATE INDEX hooks_of_name ON hooks (key);
CREATE TABLE ignored (
    owner INTEGER NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE TABLE places (
    owner INTEGER NOT NULL,
    room TEXT NOT NULL,
    level INTEGER NOT NULL,
    read INTEGER NOT NULL,
    last INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    mentions INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (owner, room)
) WITHOUT ROWID;
CREATE INDEX places_of_room ON places (room);
CREATE INDEX places_by_last ON places (last) WHERE last > 0;
CREATE TABLE mentions (
    owner INTEGER NOT NULL,
    room TEXT NOT NULL,
    seq INTEGER NOT NULL,
    earlier INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (owner, room, seq)
) WITHOUT ROWID;
CREATE INDEX mentions_by_number ON mentions (seq);
CREATE TABLE topics (
    room TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    author TEXT NOT NULL,
    at INTEGER NOT NULL,
    sum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE sanctions (
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    shown TEXT NOT NULL,
    until INTEGER,
    reason TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (kind, target)
) WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    operator TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    sum INTEGER NOT NULL
);
