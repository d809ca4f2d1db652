// Compiled, not run: the types that openapi-typescript made.

import type { components, paths } from "./chat";

type Say = paths["/{room}"]["post"];
type Read = paths["/{room}"]["get"];

const said: Say["requestBody"]["content"]["application/json"] = { text: "hi" };
const kind: NonNullable<Say["parameters"]["query"]>["kind"] = "me";
const stored: Say["responses"]["200"]["content"]["application/json"] = { seq: 1, duplicate: true };
// @ts-expect-error A message has a text.
const silent: components["schemas"]["Said"] = {};
// @ts-expect-error There is one kind.
const shouted: components["schemas"]["Kind"] = "loud";

export function texts(page: Read["responses"]["200"]["content"]["application/json"]): string[] {
  return page.messages.map((one) => ("text" in one ? one.text : `${one.seq} is ${one.type}`));
}
export const all = [said, kind, stored, silent, shouted];
