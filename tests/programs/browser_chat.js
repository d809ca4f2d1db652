// Runs in a page: a WebSocket or an EventSource that the test controls from outside. Events are
// kept until the test asks for them.

const happened = [];
let asked = null;

function tell(...told) {
  if (asked) asked(told);
  else happened.push(told);
  asked = null;
}

window.told = (answer) => {
  if (happened.length) answer(happened.shift());
  else asked = answer;
};

window.join = (url, ...protocols) => {
  const chat = new WebSocket(url, protocols);
  chat.onopen = () => tell("open", chat.protocol, chat.extensions);
  chat.onmessage = (event) => tell("text", event.data);
  chat.onclose = (event) => tell("closed", event.code, event.reason, event.wasClean);
  window.chat = chat;
};

window.listen = (url) => {
  const events = new EventSource(url);
  for (const name of ["welcome", "live", "gap", "message"]) {
    events.addEventListener(name, (event) => tell(name, event.lastEventId, event.data));
  }
  events.onerror = () => tell("error", events.readyState);
  window.events = events;
};
