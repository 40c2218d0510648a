// Parsers written by others read the manifests strictly, and both presentations name the same segments.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import * as HLS from "hls-parser";
import { parse as parseMpd } from "mpd-parser";

import { edges, get, ready } from "./system.mjs";

const base = `https://${edges[0].authority}`;
HLS.setOptions({ strictMode: true });

async function text(url) {
  const answer = await get(url);
  assert.equal(answer.status, 200, url);
  return answer.body.toString("utf8");
}

async function renditions() {
  const main = `${base}${ready.hls_path}`;
  const multivariant = HLS.parse(await text(main));
  assert.equal(multivariant.isMasterPlaylist, true);
  const urls = new Set(multivariant.variants.map((variant) => variant.uri));
  for (const variant of multivariant.variants) {
    for (const audio of variant.audio ?? []) if (audio.uri) urls.add(audio.uri);
  }
  return [...urls].map((uri) => new URL(uri, main).href);
}

test("a strict HLS parser accepts every playlist, and every segment is there", async () => {
  const playlists = await renditions();
  assert.ok(playlists.length >= 2, `one rendition and audio at least, got ${playlists}`);
  for (const url of playlists) {
    const playlist = HLS.parse(await text(url));
    assert.equal(playlist.endlist, true, url);
    assert.ok(playlist.segments.length > 0, url);
    for (const segment of playlist.segments) {
      const answer = await get(new URL(segment.uri, url).href);
      assert.equal(answer.status, 200, segment.uri);
      assert.match(answer.headers["cache-control"], /immutable/);
      assert.equal(answer.headers["surrogate-key"], undefined, "surrogate keys are for caches, not for clients");
    }
  }
});

test("the MPD names the same segments as the playlists", async () => {
  const fromHls = new Set();
  for (const url of await renditions()) {
    for (const segment of HLS.parse(await text(url)).segments) fromHls.add(new URL(segment.uri, url).pathname);
  }
  const url = `${base}${ready.dash_path}`;
  const mpd = parseMpd(await text(url), { manifestUri: url });
  const groups = Object.values(mpd.mediaGroups.AUDIO).flatMap((group) => Object.values(group));
  const tracks = [...mpd.playlists, ...groups.flatMap((group) => group.playlists)];
  const fromDash = new Set(tracks.flatMap((track) => track.segments.map((s) => new URL(s.resolvedUri).pathname)));
  assert.deepEqual([...fromDash].sort(), [...fromHls].sort());
});

// The schema comes with no package, so this runs where somebody has it: DASH-MPD.xsd of ISO/IEC 23009-1.
const schema = process.env.TIDEGATE_DASH_XSD;

test("the MPD follows the schema of ISO/IEC 23009-1", { skip: !schema && "TIDEGATE_DASH_XSD names no file" }, async () => {
  const mpd = await text(`${base}${ready.dash_path}`);
  const { status, stderr } = spawnSync("xmllint", ["--nonet", "--noout", "--schema", schema, "-"], { input: mpd });
  assert.equal(status, 0, String(stderr));
});
