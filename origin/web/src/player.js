// Plays an HLS presentation with hls.js and shows quality, buffer, protocol and cache status.
import Hls from "hls.js";

const REFRESH_MS = 500;

export function play(url, video, element) {
  if (!Hls.isSupported()) {
    video.src = url; // Safari on iOS plays HLS itself, without Media Source Extensions
    return { reloadLadder() {} };
  }
  let hls = start(url, video, element);
  setInterval(() => showPlayback(hls, video, element), REFRESH_MS);
  return {
    // Renditions that were published since the playlist was loaded: load it again, go on from the same place.
    reloadLadder() {
      const at = video.currentTime;
      hls.destroy();
      hls = start(url, video, element, at);
    },
  };
}

function start(url, video, element, startPosition = -1) {
  const hls = new Hls({ startPosition, capLevelToPlayerSize: false, enableWorker: true });
  globalThis.tidegate = { hls, video }; // for a person at the console, and for the browser tests
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    showQualities(hls, element("quality"));
    video.play().catch(() => {}); // the browser may want a click first
  });
  hls.on(Hls.Events.LEVEL_SWITCHED, () => showQualities(hls, element("quality")));
  hls.on(Hls.Events.FRAG_LOADED, (_, { frag, networkDetails }) => {
    showSegment(frag, networkDetails, element);
  });
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else setTimeout(() => hls.startLoad(), 1000);
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  return hls;
}

function showQualities(hls, box) {
  const choices = [[-1, "Auto"], ...hls.levels.map((level, index) => [index, nameOf(level)])];
  const chosen = hls.autoLevelEnabled ? -1 : hls.currentLevel;
  box.replaceChildren(
    ...choices.map(([index, name]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(index === chosen));
      button.addEventListener("click", () => {
        hls.nextLevel = index;
        showQualities(hls, box);
      });
      return button;
    }),
  );
}

function showSegment(frag, request, element) {
  const entry = performance.getEntriesByName(frag.url).at(-1);
  const cache = request?.getResponseHeader?.("cache-status") ?? "";
  const age = request?.getResponseHeader?.("age");
  element("protocol").textContent = entry?.nextHopProtocol || "–";
  element("segment").textContent = new URL(frag.url).pathname.split("/").slice(-2).join(" / ");
  element("cache").textContent = cache ? `${cache}${age ? ` (age ${age} s)` : ""}` : "–";
  element("cache").classList.toggle("hit", /;\s*hit/.test(cache));
  // A cache in the browser answers without a request; keep the list of entries from growing for ever.
  performance.clearResourceTimings();
}

function showPlayback(hls, video, element) {
  const level = hls.levels[hls.currentLevel];
  const quality = video.getVideoPlaybackQuality?.();
  element("rendition").textContent = level ? `${nameOf(level)} · ${level.width}×${level.height}` : "–";
  element("buffer").textContent = `${bufferedAhead(video).toFixed(1)} s`;
  element("bandwidth").textContent = `${(hls.bandwidthEstimate / 1e6).toFixed(1)} Mbit/s`;
  element("dropped").textContent = quality
    ? `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}`
    : "–";
}

function bufferedAhead(video) {
  for (let i = 0; i < video.buffered.length; i += 1) {
    if (video.buffered.start(i) <= video.currentTime && video.currentTime <= video.buffered.end(i)) {
      return video.buffered.end(i) - video.currentTime;
    }
  }
  return 0;
}

function nameOf(level) {
  return `${Math.min(level.width, level.height)}p`; // the ladder is named by the short side
}
