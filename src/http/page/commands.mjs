// Every command of the page. Made from src/protocol/command/table.rs by
// REGENERATE=1 cargo test --test all generated

/** Each command: its word, its arguments, and what it does. */
export const COMMANDS = [
  ["/name", "NAME", "be called NAME; this browser keeps it yours"],
  ["/join", "ROOM", "go to another room"],
  ["/members", "", "who is here?"],
  ["/rooms", "", "list the rooms with people in them"],
  ["/topic", "[TEXT]", "what is this room about? or say so (- for nothing)"],
  ["/me", "TEXT", "say what you do: /me waves"],
  ["/msg", "NAME TEXT", "say something to one person alone"],
  ["/inbox", "[N]", "the last N of your private messages"],
  ["/ignore", "[NAME]", "hide what NAME says; without NAME: whom do you ignore?"],
  ["/unignore", "NAME", "show what NAME says again"],
  ["/search", "WORDS", "find messages with all these words"],
  ["/operator", "SECRET", "be an operator, who can"],
  ["/kick", "WHO [WHY]", "send away a name, IP or IP:port"],
  ["/ban", "WHO [2h] [WHY]", "keep out a name or IP"],
  ["/unban", "WHO", "let them in again"],
  ["/mute", "WHO [2h]", "let them read only"],
  ["/unmute", "WHO", "let them speak again"],
  ["/erase", "NUMBER", "erase a message; point at its time to see the number"],
  ["/help", "", "what can be typed, and other ways to join"],
];
