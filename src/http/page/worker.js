// Keeps the page of each visited room, for times without a connection.

const base = new URL(registration.scope).pathname.replace(/\/$/, "");

/** How many pages and assets are kept. */
const MOST = { pages: 20, assets: 8 };

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (pathname.startsWith(`${base}/-/assets/`)) event.respondWith(asset(request, pathname));
  else if (request.mode === "navigate" && !pathname.startsWith(`${base}/-/`)) event.respondWith(page(request, pathname));
});

async function page(request, pathname) {
  try {
    const response = await fetch(request);
    const isPage = response.ok && !response.redirected && response.headers.get("content-type")?.startsWith("text/html");
    if (isPage) await keep("pages", pathname, response.clone());
    return response;
  } catch (error) {
    const kept = await find("pages", pathname);
    if (kept) return kept;
    throw error;
  }
}

/** An asset's name says its content, so a kept one is never old. */
async function asset(request, pathname) {
  const kept = await find("assets", pathname);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await keep("assets", pathname, response.clone());
  return response;
}

function open(kind) {
  return caches.open(`${kind} ${base}`);
}

async function find(kind, pathname) {
  const cache = await open(kind);
  return cache.match(pathname, { ignoreVary: true });
}

async function keep(kind, pathname, response) {
  try {
    const cache = await open(kind);
    await cache.put(pathname, response);
    const keys = await cache.keys();
    await Promise.all(keys.slice(0, -MOST[kind]).map((key) => cache.delete(key)));
  } catch {
    // The browser has no room: the page works with a connection only.
  }
}
