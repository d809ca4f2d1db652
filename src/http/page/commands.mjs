// Every command of the page. Made from src/protocol/command/table.rs by
// REGENERATE=1 cargo test --test all generated

/** Each command: its word, its arguments, and what it does. */
export const COMMANDS = [
  ["/name", "NAME", "be called NAME; this browser keeps it yours"],
  ["/join", "ROOM", "go to another room"],
  ["/members", "", "list the people in the room"],
  ["/rooms", "", "list the rooms with people in them"],
  ["/topic", "[TEXT]", "show the topic, or set it (- clears it)"],
  ["/me", "TEXT", "say what you do: /me waves"],
  ["/msg", "NAME TEXT", "say something to one person alone"],
  ["/inbox", "[N]", "the last N of your private messages"],
  ["/ignore", "[NAME]", "hide what NAME says; without NAME: whom do you ignore?"],
  ["/unignore", "NAME", "show what NAME says again"],
  ["/search", "WORDS", "find messages with all these words"],
  ["/private", "", "let only members enter this room"],
  ["/public", "", "let everybody enter this room again"],
  ["/invite", "[USES] [2d]", "a URL that lets people in (one person; 7 days)"],
  ["/invites", "", "list the open invitations"],
  ["/uninvite", "ID", "take back an invitation"],
  ["/remove", "NAME", "remove a member from this private room"],
  ["/owner", "NAME", "make a member an owner of this private room"],
  ["/operator", "SECRET", "become an operator; operators can:"],
  ["/kick", "WHO [WHY]", "send away a name, IP, prefix or IP:port"],
  ["/ban", "WHO [2h] [WHY]", "keep out a name, IP or prefix"],
  ["/unban", "WHO", "lift a ban"],
  ["/mute", "WHO [2h]", "let a person only read"],
  ["/unmute", "WHO", "lift a mute"],
  ["/bans", "", "list who is banned or muted"],
  ["/erase", "NUMBER", "erase a message; point at its time to see the number"],
  ["/release", "NAME", "free a name whose secret is lost"],
  ["/help", "", "list the commands, and other ways to join"],
];
