// Lets the page open without a connection, where the browser can.

import { base } from "./dom.mjs";

const WORKER = `${base}/-/worker.js`;

/** The only trusted script: the policy allows no other, and no second policy. */
const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL: () => WORKER });

/** Starts the worker that keeps pages, and keeps this one, which came before the worker. */
export async function keepPage() {
  const { serviceWorker } = navigator;
  // Browsers have none for pages loaded over plain HTTP from another host.
  if (!serviceWorker) return;
  try {
    await serviceWorker.register(policy?.createScriptURL("") ?? WORKER, { scope: `${base}/` });
    if (serviceWorker.controller) return;
    const page = await fetch(location.pathname, { headers: { accept: "text/html" } });
    if (page.ok) await (await caches.open(`pages ${base}`)).put(location.pathname, page);
    const assets = [...document.querySelectorAll("link[rel=stylesheet], script[src]")].map(({ href, src }) => href ?? src);
    await (await caches.open(`assets ${base}`)).addAll(assets.map((url) => new URL(url).pathname));
  } catch {
    // The browser allows no storage, or the connection is lost.
  }
}
