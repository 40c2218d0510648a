// What a session that is steered is judged by: where its segments came from, what the steering server told it, and how far
// it ever was from standing still.
import https from "node:https";

import { control, ready } from "./system.mjs";

const port = new URL(ready.steering_url).port;

// The name that DNS leads to the first PoP, and the PoPs' own hosts, all at the usual port: dash.js drops another one
// when it changes the host, hls.js keeps it.
export const name = ready.dns_name;
export const hosts = { "pop-a": "127.0.0.11", "pop-b": "127.0.0.12" };
const rules = [
  `MAP ${name}:443 ${hosts["pop-a"]}:${port}`,
  ...Object.values(hosts).map((host) => `MAP ${host}:443 ${host}:${port}`),
];
export const resolver = [`--host-resolver-rules=${rules.join(", ")}`];

// Everything that a page asks for, in the order of asking: segments by the host that they come from, and what steering said.
export function follow(page) {
  const seen = { segments: [], told: [], failed: [] };
  page.on("request", (request) => {
    const { host, pathname } = new URL(request.url());
    if (pathname.endsWith(".m4s")) seen.segments.push({ host, kind: kindOf(pathname), at: Date.now() });
  });
  page.on("response", async (response) => {
    const { host, pathname, searchParams } = new URL(response.url());
    const status = response.status();
    if (pathname.endsWith(".m4s") && status !== 200 && status !== 206) seen.failed.push({ host, status });
    if (!pathname.startsWith("/steering/") || response.request().method() !== "GET") return;
    const from = searchParams.get("_HLS_pathway") ?? searchParams.get("_DASH_pathway");
    const told = { from, at: Date.now(), status, manifest: null };
    seen.told.push(told);
    told.manifest = await response.json().catch(() => null);
  });
  page.on("requestfailed", (request) => {
    const { host, pathname } = new URL(request.url());
    if (pathname.endsWith(".m4s")) seen.failed.push({ host, error: request.failure()?.errorText });
  });
  return seen;
}

// /m/{media}/{epoch}/{rendition}/{n}.m4s
function kindOf(pathname) {
  return pathname.split("/").at(-2).startsWith("audio") ? "audio" : "video";
}

// Watches a video element: every time it stops for want of data, and the least that it had ahead while it played.
export function watchForStalls(page, selector) {
  return page.evaluate((selector) => {
    const video = document.querySelector(selector);
    const play = (globalThis.play = { began: false, ended: false, stalls: [], leastAheadS: Infinity });
    video.addEventListener("playing", () => (play.began = true));
    video.addEventListener("ended", () => (play.ended = true));
    video.addEventListener("waiting", () => {
      if (play.began && !video.ended && !video.seeking) play.stalls.push(video.currentTime);
    });
    video.addEventListener("timeupdate", () => {
      const { buffered, currentTime, duration } = video;
      // Near its end there is nothing more to have.
      if (!play.began || currentTime > duration - 1) return;
      for (let i = 0; i < buffered.length; i += 1) {
        if (buffered.start(i) <= currentTime && currentTime <= buffered.end(i)) {
          play.leastAheadS = Math.min(play.leastAheadS, buffered.end(i) - currentTime);
        }
      }
    });
  }, selector);
}

// The operators' API.
export function operate(method, path, body) {
  const { url, ca, token } = control();
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = { authorization: `Bearer ${token}`, ...(text && { "content-type": "application/json" }) };
  return new Promise((done, fail) => {
    const request = https.request(new URL(path, url), { method, ca, headers }, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("error", fail);
      answer.on("end", () => done({ status: answer.statusCode, body: Buffer.concat(chunks).toString() }));
    });
    request.on("error", fail);
    request.end(text);
  });
}
