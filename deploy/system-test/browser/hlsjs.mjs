// What hls.js in a browser makes of a stream: the figures that the load rig also gives, taken by the page itself.
import { readFile } from "node:fs/promises";

const library = new URL("node_modules/hls.js/dist/hls.min.js", import.meta.url);

export async function watch(page, base, entry, limitMs) {
  await page.goto(base);
  await page.addScriptTag({ content: await readFile(library, "utf8") });
  await page.evaluate((entry) => {
    const video = document.querySelector("video");
    const seen = (globalThis.seen = { startup: null, stalls: [], levels: [], ended: false, problems: [] });
    const hls = new globalThis.Hls({ enableWorker: false });
    const begun = performance.now();
    const at = () => (performance.now() - begun) / 1000;
    let stalledAt = null;
    video.addEventListener("playing", () => {
      seen.startup ??= at();
      if (stalledAt !== null) seen.stalls.push([stalledAt, at() - stalledAt]);
      stalledAt = null;
    });
    video.addEventListener("waiting", () => {
      if (seen.startup !== null && !video.ended && !video.seeking) stalledAt ??= at();
    });
    video.addEventListener("ended", () => (seen.ended = true));
    hls.on(globalThis.Hls.Events.FRAG_CHANGED, (_, { frag }) => {
      if (seen.levels.at(-1)?.[1] !== frag.level) seen.levels.push([at(), frag.level]);
    });
    hls.on(globalThis.Hls.Events.ERROR, (_, data) => data.fatal && seen.problems.push(data.details));
    hls.loadSource(entry);
    hls.attachMedia(video);
    void video.play();
  }, entry);
  await page.waitForFunction(() => globalThis.seen.ended || globalThis.seen.problems.length > 0, null, { timeout: limitMs });
  return page.evaluate(() => globalThis.seen);
}
