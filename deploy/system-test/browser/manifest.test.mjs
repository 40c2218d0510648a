// Parsers written by others read the manifests strictly, and both presentations name the same segments.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
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

// MPEG's own schema, of the edition that a package carries; TIDEGATE_DASH_XSD names a newer one.
const fetchSchema = fileURLToPath(new URL("../../build/dash-schema.sh", import.meta.url));
const schema = process.env.TIDEGATE_DASH_XSD ?? execFileSync(fetchSchema, { encoding: "utf8" }).trim();

function complaints(mpd) {
  const { error, status, stderr } = spawnSync("xmllint", ["--nonet", "--noout", "--schema", schema, "-"], {
    input: mpd,
    encoding: "utf8",
  });
  if (error) throw error;
  // 3: the document breaks the schema. Everything else but 0 is a broken schema or a broken test.
  assert.ok(status === 0 || status === 3, `xmllint ends with ${status}: ${stderr}`);
  return status === 0 ? "" : stderr;
}

// Who steers players is told by an element of ETSI TS 103 998, which that edition does not know.
const steering = /\s*<ContentSteering defaultServiceLocation="[\w.-]+" queryBeforeStart="(?:true|false)">[^<]+<\/ContentSteering>/;

test("the MPD follows the schema of ISO/IEC 23009-1", async () => {
  const mpd = await text(`${base}${ready.dash_path}`);
  assert.match(mpd, steering);
  assert.equal(complaints(mpd.replace(steering, "")), "");
});

// One fault each, so that the test above is known to look where we write. All editions notice these.
const faults = [
  ["the namespace", 'xmlns="urn:mpeg:dash:schema:mpd:2011"', 'xmlns="urn:mpeg:dash:schema:mpd:2012"'],
  ["no profiles", / profiles="[^"]*"/, ""],
  ["no minBufferTime", / minBufferTime="[^"]*"/, ""],
  ["a duration that is a number", / mediaPresentationDuration="[^"]*"/, ' mediaPresentationDuration="6.016"'],
  ["an unknown type", 'type="static"', 'type="vod"'],
  ["an unknown attribute", 'type="static"', 'type="static" length="6"'],
  ["no period", /<Period[\s\S]*<\/Period>/, ""],
  ["a start that is a number", /<Period ([^>]*)start="[^"]*"/, '<Period $1start="0"'],
  ["an element in the wrong place", /<Period ([^>]*)>/, '<Period $1><S d="1"/>'],
  ["an unknown element", /<\/Period>/, "<Rendition/></Period>"],
  ["text between elements", /<\/Period>/, "and so on</Period>"],
  ["a set's id that is no number", /<AdaptationSet id="\d+"/, '<AdaptationSet id="video"'],
  ["an alignment that is none", 'segmentAlignment="true"', 'segmentAlignment="maybe"'],
  ["a SAP type above 6", 'startWithSAP="1"', 'startWithSAP="7"'],
  ["a representation without id", /<Representation id="[^"]*"/, "<Representation"],
  ["an id with a space", /<Representation id="[^"]*"/, '<Representation id="360 p"'],
  ["no bandwidth", / bandwidth="\d+"/, ""],
  ["a negative bandwidth", / bandwidth="\d+"/, ' bandwidth="-1"'],
  ["a width that is no number", / width="\d+"/, ' width="wide"'],
  ["a shape that is a fraction", 'sar="1:1"', 'sar="1/1"'],
  ["a rate that is a decimal number", / frameRate="[^"]*"/, ' frameRate="29.97"'],
  ["channels of no scheme", /(<AudioChannelConfiguration) schemeIdUri="[^"]*"/, "$1"],
  ["a second template", /(<SegmentTemplate[\s\S]*?<\/SegmentTemplate>)/, "$1$1"],
  ["a template with a negative number", 'startNumber="1"', 'startNumber="-1"'],
  ["a timescale of thousandths", / timescale="\d+"/, ' timescale="15.36"'],
  ["an entry without duration", /<S ([^>]*)d="\d+"/, "<S $1"],
  ["a time before the beginning", /<S t="\d+"/, '<S t="-1"'],
  ["a list of segments beside the timeline", /<\/SegmentTemplate>/, "<SegmentList/></SegmentTemplate>"],
];

test("the schema notices every fault", async () => {
  const mpd = (await text(`${base}${ready.dash_path}`)).replace(steering, "");
  for (const [what, from, to] of faults) {
    const broken = mpd.replace(from, to);
    assert.notEqual(broken, mpd, `${what}: nothing to change`);
    assert.notEqual(complaints(broken), "", what);
  }
});
