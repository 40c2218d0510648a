// Measures the load rig on this machine and writes docs/load-figures.md: bytes per client CPU second beside wrk, h2load
// and oha on the same server, players per core, how late sessions begin on a loaded core, memory per player. Server on
// the first core, client on the second.
//
// node figures.mjs RELEASE-FOLDER [NGINX] [--seconds N] [--only STAGE,…] [--bench PROGRAM] [--realtime]
//
// A stage is measured alone with --only; what the others measured before is kept in target/load-figures.json, and the page
// is written of all of them. Without it everything is measured again. --realtime, for root, is for a machine that has
// other work.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { bareBytes, bytesOfAll, load, play } from "./measure.mjs";
import { page } from "./page.mjs";
import { startServer } from "./server.mjs";

const root = path.resolve(import.meta.dirname, "../../..");
const kept = path.join(root, "target/load-figures.json");
const PROTOCOLS = ["h1", "h2", "h3"];
// Each by its name: what it measures of a server, with what was measured before.
const STAGES = {
  ...each("bytes", (protocol, server) => bytesOfAll(protocol, server)),
  ...each("bare", (protocol, server) => bareBytes(protocol, server)),
  ...each("play", (protocol, server) => play(protocol, false, server)),
  manifests: (server) => play("h2", true, server),
  ...each("load", (protocol, server, known) => load(protocol, of(known, `play-${protocol}`).perCore, server)),
};

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "20" }, only: { type: "string" }, bench: { type: "string" }, realtime: { type: "boolean" } },
});
const [release = "target/release", nginx = "nginx"] = positionals;
process.env.PATH = `${path.join(root, "target/tools/bin")}:${process.env.PATH}`;
const wanted = flags.only?.split(",") ?? Object.keys(STAGES);
const unknown = wanted.filter((stage) => !(stage in STAGES));
if (unknown.length > 0) {
  console.error(`no stage ${unknown.join(", ")}; there are ${Object.keys(STAGES).join(", ")}`);
  process.exit(2);
}

const folder = mkdtempSync(path.join(os.tmpdir(), "load-figures-"));
const known = flags.only ? read() : {};
let server;
try {
  server = await startServer(nginx, folder, flags.realtime);
  Object.assign(server, { realtime: flags.realtime, time: Number(flags.seconds), rig: path.resolve(release, "tidegate-load"), bench: flags.bench ?? netBench() });
  for (const stage of wanted.filter((stage) => server.speaksH3 || !stage.endsWith("-h3"))) {
    known[stage] = await STAGES[stage](server, known);
    known.machine = { realtime: flags.realtime, server: server.version, speaksH3: server.speaksH3, date: new Date().toISOString().slice(0, 10), load: os.loadavg()[0] };
    console.error(`${stage}: ${JSON.stringify(known[stage])}`);
    writeFileSync(kept, JSON.stringify(known, null, 1));
  }
} finally {
  server?.stop();
  rmSync(folder, { recursive: true, force: true });
}
const missing = Object.keys(STAGES).filter((stage) => !(stage in known) && (known.machine.speaksH3 || !stage.endsWith("-h3")));
if (missing.length > 0) console.error(`not measured yet, so no page is written: ${missing.join(", ")}`);
else writeFileSync(path.join(root, "docs/load-figures.md"), page(known, PROTOCOLS.filter((protocol) => `play-${protocol}` in known)));

function each(name, measure) {
  return Object.fromEntries(PROTOCOLS.map((protocol) => [`${name}-${protocol}`, (server, known) => measure(protocol, server, known)]));
}

function of(known, stage) {
  if (!(stage in known)) throw new Error(`${stage} is measured first`);
  return known[stage];
}

function read() {
  try {
    return JSON.parse(readFileSync(kept, "utf8"));
  } catch {
    return {};
  }
}

function netBench() {
  const flags = ["bench", "--locked", "-p", "tidegate-load", "--bench", "net", "--no-run", "--message-format=json"];
  const listed = execFileSync("cargo", flags, { cwd: root, maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "ignore"] }).toString();
  const made = listed.split("\n").filter((line) => line.includes('"name":"net"')).map((line) => JSON.parse(line));
  return made.at(-1).executable;
}
