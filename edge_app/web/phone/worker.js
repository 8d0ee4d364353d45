"use strict";
// Keeps the page, its program and the bundle, so that they open without the machine. Its address
// carries the mark of all that: another bundle is another cache, and the old one is deleted.
const CACHE = `pneumoscope-phone-${new URL(self.location).search}`, PAGE = "/phone/";

async function fill() {
  const cache = await caches.open(CACHE);
  await cache.addAll([PAGE, ...await (await fetch("/phone/files.json")).json()]);
  // What the page looks like, as it names them.
  const page = await (await cache.match(PAGE)).text();
  await cache.addAll([...page.matchAll(/(?:href|src)="(\/static\/[^"]+)"/g)].map((found) => found[1]));
  await self.skipWaiting();
}

async function tidy() {
  for (const name of await caches.keys()) if (name.startsWith("pneumoscope-phone-") && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
}

// The page in today's language and with today's bundle while the machine is there.
async function newest(request) {
  try {
    return await fetch(request);
  } catch {
    return caches.match(PAGE);
  }
}

self.addEventListener("install", (event) => event.waitUntil(fill()));
self.addEventListener("activate", (event) => event.waitUntil(tidy()));
self.addEventListener("fetch", (event) => {
  const { request } = event, { pathname } = new URL(request.url);
  if (request.method !== "GET" || !/^\/(phone|static)\//.test(pathname)) return;
  event.respondWith(pathname === PAGE ? newest(request) : caches.match(request).then((kept) => kept ?? fetch(request)));
});
