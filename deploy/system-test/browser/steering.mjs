// What a session that is steered is judged by: where its segments came from, what the steering server told it, and how far
// it ever was from standing still.
import { readFile } from "node:fs/promises";
import https from "node:https";

import { control, edges, ready } from "./system.mjs";

// At the hosts that DNS and steering name, every PoP has the port of the first.
const [, port] = edges.find(({ name }) => name === "pop-a").authority.split(":");

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
    const told = { from, at: Date.now(), status, manifest: null, address: null };
    seen.told.push(told);
    told.address = (await response.serverAddr().catch(() => null))?.ipAddress ?? null;
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

const libraries = {
  hls: new URL("node_modules/hls.js/dist/hls.min.js", import.meta.url),
  dash: new URL("node_modules/dashjs/dist/modern/umd/dash.all.min.js", import.meta.url),
};

// Little is kept ahead and time goes slowly, so that much of the video is still to come when the order arrives.
const AHEAD_S = 3;
const RATE = 0.5;

export const players = {
  "hls.js": async (page) => {
    await page.addScriptTag({ content: await readFile(libraries.hls, "utf8") });
    return page.evaluate(
      ({ url, ahead, rate }) => {
        const video = document.querySelector("#steered");
        globalThis.problems = [];
        const hls = new globalThis.Hls({ enableWorker: false, maxBufferLength: ahead, maxMaxBufferLength: ahead });
        hls.on(globalThis.Hls.Events.ERROR, (_, { details, fatal }) => fatal && globalThis.problems.push(details));
        hls.loadSource(url);
        hls.attachMedia(video);
        video.defaultPlaybackRate = video.playbackRate = rate;
        void video.play();
      },
      { url: `https://${name}${ready.hls_path}`, ahead: AHEAD_S, rate: RATE },
    );
  },
  "dash.js": async (page) => {
    await page.addScriptTag({ content: await readFile(libraries.dash, "utf8") });
    return page.evaluate(
      ({ url, ahead, rate }) => {
        const video = document.querySelector("#steered");
        globalThis.problems = [];
        const player = globalThis.dashjs.MediaPlayer().create();
        player.on("error", (event) => globalThis.problems.push(JSON.stringify(event.error ?? event)));
        const buffer = {
          bufferTimeDefault: ahead,
          bufferTimeAtTopQuality: ahead,
          bufferTimeAtTopQualityLongForm: ahead,
        };
        player.updateSettings({ streaming: { buffer } });
        player.initialize(video, url, true);
        video.defaultPlaybackRate = video.playbackRate = rate;
      },
      { url: `https://${name}${ready.dash_path}`, ahead: AHEAD_S, rate: RATE },
    );
  },
};

// Begins to play on a page of the video's own host, and waits until it does.
export async function begin(page, start) {
  await page.goto(`https://${name}${ready.hls_path.replace(/\/[^/]+$/, "/none")}`);
  await page.setContent('<video id="steered" muted></video>');
  await watchForStalls(page, "#steered");
  await start(page);
  await page.waitForFunction(
    () => globalThis.problems.length > 0 || document.querySelector("#steered").currentTime > 0.5,
    null,
    { timeout: 120_000 },
  );
}

// The operators' API.
export function operate(method, path, body) {
  const { url, ca, token } = control();
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = { authorization: `Bearer ${token}`, ...(text && { "content-type": "application/json" }) };
  return new Promise((done, fail) => {
    const request = https.request(new URL(path, url), { method, ca, headers, agent: false }, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("error", fail);
      answer.on("end", () => done({ status: answer.statusCode, body: Buffer.concat(chunks).toString() }));
    });
    request.on("error", fail);
    request.end(text);
  });
}
