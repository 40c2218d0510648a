// The watch page: waits until the video is playable, plays it, and shows what the delivery did for the last segment.
import { status } from "./status.js";
import { play } from "./player.js";

const video = location.pathname.split("/").filter(Boolean).at(-1) ?? "";
const api = `/api/v1/videos/${encodeURIComponent(video)}`;
const base = `/v/${encodeURIComponent(video)}`;

const element = (id) => document.getElementById(id);
element("hls").href = `${base}/main.m3u8`;
element("dash").href = `${base}/manifest.mpd`;
element("api").href = api;

let player;

for await (const now of status(api)) {
  const title = now.title || now.filename || video;
  element("title").textContent = title;
  document.title = title;
  element("state").textContent = describe(now);
  if (now.state === "failed") {
    const { reason, detail } = now.failure;
    notice(detail ? `${reason}: ${detail}` : reason, true);
  } else if (now.state === "missing") {
    notice("There is no such video.", true);
  } else if (isPlayable(now) && !player) {
    notice("");
    player = play(`${base}/main.m3u8`, element("video"), element);
  } else if (!player) {
    notice(`${describe(now)} …`);
  } else if (now.state === "complete") {
    player.reloadLadder();
  }
}

function isPlayable(now) {
  return now.state === "playable" || now.state === "complete";
}

function describe(now) {
  if (now.state === "complete" || !now.progress_permille) return now.state;
  return `${now.state}, ${Math.floor(now.progress_permille / 10)} %`;
}

function notice(text, isBad = false) {
  const box = element("notice");
  box.hidden = !text;
  box.textContent = text;
  box.classList.toggle("bad", isBad);
}
