// The way in: a form for an invitation, or for a name and its secret, where the
// server lets in only people that it knows.

import { $, show } from "./dom.mjs";
import { invitationIn, isName, isSecret } from "./typed.mjs";

/** The form that stands in place of the room until the server lets the user in. */
export class Entry {
  /** The invitation by which the user came. */
  #invitation;
  #enter;

  /** `enter(name, secret, invitation)` is called with what the user gives; the last two may be missing. */
  constructor(enter) {
    this.#enter = enter;
    $("entry-form").addEventListener("submit", (event) => {
      event.preventDefault();
      $("entry-wrong").textContent = this.#submit();
    });
  }

  /** Asks a person with an invitation for a name alone. */
  welcome(invitation) {
    this.#invitation = invitation;
    this.#show("What shall we call you?", "", false);
  }

  /** Asks for an invitation, or for a name and its secret; `why` is the server's sentence. */
  refuse(title, why) {
    this.#invitation = undefined;
    this.#show(title, why, true);
  }

  close() {
    if (!this.isOpen) return false;
    show($("entry"), false);
    document.body.classList.remove("outside");
    return true;
  }

  get isOpen() {
    return !$("entry").hidden;
  }

  #show(title, why, asksForAll) {
    $("entry-title").textContent = title;
    $("entry-why").textContent = why;
    $("entry-wrong").textContent = "";
    show($("entry-proof"), asksForAll);
    show($("entry"), true);
    document.body.classList.add("outside");
    $(asksForAll ? "entry-invitation" : "entry-name").focus();
  }

  /** Returns the complaint about what was typed, or "". */
  #submit() {
    const name = $("entry-name").value.trim();
    const secret = $("entry-secret").value.trim();
    const typed = $("entry-invitation").value.trim();
    const invitation = this.#invitation ?? invitationIn(typed);
    if (typed && !invitation) return "This is no invitation: give its whole URL, or the 22 letters behind #invite=.";
    if (!isName(name)) return "A name is 1 to 32 letters, digits or any of - _ . without spaces.";
    if (secret && !isSecret(secret)) return "A secret is 16 to 128 letters, digits or signs without spaces.";
    this.#enter(name, secret || undefined, invitation);
    return "";
  }
}
