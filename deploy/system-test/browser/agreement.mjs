// Whether a player of the load rig and hls.js in Chromium meet the same on the same narrow link.
// `node agreement.mjs PATH-OF-TIDEGATE-LOAD`: exits with 1 and says where they differ by more than is stated here.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import { launch, openPage } from "./chromium.mjs";
import { watch } from "./hlsjs.mjs";
import { makeLadder, serveShaped } from "./shaped.mjs";

const [, , rig] = process.argv;
if (!rig) throw new Error("the path of tidegate-load is missing");

// The rate falls below what plays for a while, and by how much the two may differ. A decoder shows its first frame
// later than the bytes are there; hls.js looks at its buffer every 100 ms, waits for a tick before it asks for more,
// and resumes with less than a whole segment. A switch may fall on either side of a segment.
const cases = [
  {
    name: "one rendition, a link that nearly stands still for 14 s",
    seconds: 40,
    bitrates: ["300k"],
    trace: [[0, 600_000], [8, 20_000], [22, 600_000]],
    startup: 0.75,
    stalled: 2.5,
    switches: 0,
  },
  {
    name: "three renditions, a link that narrows for 12 s",
    seconds: 40,
    bitrates: ["300k", "900k", "2200k"],
    trace: [[0, 2_000_000], [8, 450_000], [20, 2_000_000]],
    startup: 0.75,
    stalled: 1.5,
    switches: 1,
  },
];

const ATTEMPTS_MAX = 4;
const folder = mkdtempSync(path.join(os.tmpdir(), "agreement-"));
const browser = await launch();
let differ = false;
try {
  for (const [n, one] of cases.entries()) {
    const media = path.join(folder, String(n));
    mkdirSync(media);
    makeLadder(media, one.seconds, one.bitrates);
    let agree = false;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX && !agree; attempt += 1) agree = await compare(one, media);
    differ ||= !agree;
  }
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
process.exitCode = differ ? 1 : 0;

// Both watch it in real time, one after the other: a machine that was busy with something else meanwhile lets one of them
// meet what the other did not. Players that are different differ every time.
async function compare(one, media) {
  const link = await serveShaped(media, one.trace);
  const page = await openPage(browser);
  const theirs = inFigures(await watch(page, link.url, `${link.url}main.m3u8`, 180_000));
  await page.close();
  link.reset();
  const ours = await play(`${link.url}main.m3u8`, one.seconds);
  await link.close();
  console.log(one.name);
  let agree = true;
  for (const figure of ["startup", "stalled", "switches"]) {
    const apart = Math.abs(ours[figure] - theirs[figure]);
    const verdict = apart <= one[figure] ? "agree" : "DIFFER";
    agree &&= apart <= one[figure];
    console.log(`  ${figure}: rig ${ours[figure].toFixed(2)}, hls.js ${theirs[figure].toFixed(2)}, may be ${one[figure]} apart: ${verdict}`);
  }
  return agree;
}

function inFigures(seen) {
  if (!seen.ended) throw new Error(`hls.js did not come to the end: ${seen.problems}`);
  return {
    startup: seen.startup,
    stalled: seen.stalls.reduce((sum, [, length]) => sum + length, 0),
    switches: seen.levels.length - 1,
  };
}

// One session of the rig. A gate that always holds is how a figure comes into the results as a number.
async function play(url, seconds) {
  const scenario = path.join(folder, "one.toml");
  const results = path.join(folder, "one.json");
  writeFileSync(
    scenario,
    `name = "agreement"
gates = ["startup_p50<1000s"]
[target]
urls = ["${url}"]
[arrivals]
profile = { kind = "constant", rate = 1 }
spacing = "even"
duration = "1s"
drain = "${2 * seconds}s"
[sessions]
protocols = { h1 = 1 }
`,
  );
  // What is looked at is what was played; a debug build on a busy machine may be late.
  const late = ["cpu_max=10", "loop_lag_max=60s", "schedule_error_max=60s"].map((limit) => `--set=rig.${limit}`);
  const patient = [...late, "--set=arrivals.start_within=60s"];
  await promisify(execFile)(rig, ["run", scenario, "--quiet", "--json", results, ...patient]);
  const { quality, gates } = JSON.parse(readFileSync(results, "utf8"));
  if (quality.views !== 1 || quality.cut !== 0) throw new Error(`not one whole view: ${JSON.stringify(quality)}`);
  return {
    startup: gates[0].measured / 1000,
    stalled: quality.stalled_s,
    switches: quality.switches_up + quality.switches_down,
  };
}
