// A WebSocket of the package ws. It obeys the lines of standard input and prints
// its events as lines of JSON.

const readline = require("node:readline");
const WebSocket = require("ws");

const [url, ...protocols] = process.argv.slice(2);
const tell = (...told) => console.log(JSON.stringify(told));

const chat = new WebSocket(url, protocols);
chat.on("open", () => tell("open", chat.protocol || null, chat.extensions || null));
chat.on("message", (data, isBinary) => tell(isBinary ? "binary" : "text", data.toString()));
chat.on("pong", (data) => tell("pong", data.toString()));
chat.on("unexpected-response", (_, answer) => {
  tell("refused", answer.statusCode);
  process.exit();
});
chat.on("close", (code, reason) => {
  tell("closed", code, reason.toString());
  process.exit();
});

const orders = {
  say: (text) => chat.send(text),
  fragments: (text) => {
    for (const letter of text) chat.send(letter, { fin: false });
    chat.send("", { fin: true });
  },
  ping: (data) => chat.ping(data),
  close: () => chat.close(1000),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [, order, rest] = line.match(/^(\w+) ?(.*)$/);
  orders[order](rest);
});
