// Measures the load rig on this machine and writes docs/load-figures.md: bytes per client CPU second beside wrk, h2load
// and oha on the same server, players per core, how late sessions begin on a loaded core, memory per player. Server on
// the first core, client on the second.
//
// node figures.mjs RELEASE-FOLDER NGINX [SECONDS]
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const [, , release = "target/release", nginx = "nginx", seconds = "20"] = process.argv;
const root = path.resolve(import.meta.dirname, "../../..");
const folder = mkdtempSync(path.join(os.tmpdir(), "load-figures-"));
const media = path.join(folder, "media");
const rig = path.resolve(release, "tidegate-load");
const time = Number(seconds);
process.env.PATH = `${path.join(root, "target/tools/bin")}:${process.env.PATH}`;

// 5 Mbit/s in segments of 4 s, for ten minutes.
const BITRATE = 5_000_000;
const SEGMENT_SECONDS = 4;
const SEGMENTS = 150;
// Sessions that play at once: enough to keep the client's core busy for the most part, not all of the time.
const PLAYERS = { h1: 500, h2: 500, h3: 200 };
// Each has a socket, at the server too; where the system does not let a process have so many, there are fewer.
const RAISED = "ulimit -n 65536 2>/dev/null || ulimit -n $(ulimit -Hn);";
const MANIFEST_PLAYERS = Math.min(20000, Number(text("bash", ["-c", `${RAISED} ulimit -n`], 1)) - 500);
// Players begin this many a second, and the window in which they are measured opens when all of them have begun.
const BEGIN_RATE = { media: 100, manifest: 800 };
const SETTLE_SECONDS = 5;
// On the loaded core players come and go all of the time: each stays so long. A session that begins costs more than one
// that plays on, so that this share of a core's players makes some 70 % of its load.
const STAY_SECONDS = 10;
const LOADED_SHARE = 0.55;
// Idle connections whose memory is compared with that of players.
const IDLE = 500;

let server, live;
try {
  makeMedia();
  live = liveStream();
  const port = await freePort();
  const speaksH3 = text(nginx, ["-V"], 2).includes("http_v3_module");
  server = await startNginx(port, speaksH3);
  const url = `https://127.0.0.1:${port}/`;
  const protocols = speaksH3 ? ["h1", "h2", "h3"] : ["h1", "h2"];
  const bytes = protocols.flatMap((protocol) => compare(protocol, url));
  const idle = Object.fromEntries(protocols.map((protocol) => [protocol, idleBytes(protocol, url)]));
  const players = protocols.map((protocol) => play(protocol, url, PLAYERS[protocol], false));
  players.push(play("h2", url, MANIFEST_PLAYERS, true));
  const loaded = protocols.map((protocol, at) => load(protocol, url, players[at].perCore));
  writeFileSync(path.join(root, "docs/load-figures.md"), page(bytes, players, loaded, idle, speaksH3));
} finally {
  server?.kill();
  live?.kill();
  rmSync(folder, { recursive: true, force: true });
}

function makeMedia() {
  mkdirSync(media);
  const length = (BITRATE / 8) * SEGMENT_SECONDS;
  writeFileSync(path.join(media, "segment"), randomBytes(length));
  writeFileSync(path.join(media, "init.mp4"), randomBytes(1000));
  const lines = ["#EXTM3U", "#EXT-X-VERSION:7", `#EXT-X-TARGETDURATION:${SEGMENT_SECONDS}`, '#EXT-X-MAP:URI="init.mp4"'];
  for (let n = 0; n < SEGMENTS; n++) {
    symlinkSync("segment", path.join(media, `${n}.m4s`));
    lines.push(`#EXTINF:${SEGMENT_SECONDS},`, `${n}.m4s`);
  }
  writeFileSync(path.join(media, "vod.m3u8"), [...lines, "#EXT-X-ENDLIST", ""].join("\n"));
}

// A live playlist that goes on by a segment as often as one lasts. A process of its own: measuring waits for others.
function liveStream() {
  const script = `for ((n = 0; ; n++)); do
    { printf '#EXTM3U\\n#EXT-X-VERSION:7\\n#EXT-X-TARGETDURATION:%s\\n#EXT-X-MEDIA-SEQUENCE:%s\\n#EXT-X-MAP:URI="init.mp4"\\n' "$2" "$n"
      for ((i = n; i < n + 10; i++)); do printf '#EXTINF:%s,\\n%s.m4s\\n' "$2" "$((i % $3))"; done; } > "$1/next"
    mv "$1/next" "$1/live.m3u8"; sleep "$2"; done`;
  return spawn("bash", ["-c", script, "live", media, String(SEGMENT_SECONDS), String(SEGMENTS)], { stdio: "ignore" });
}

async function startNginx(port, speaksH3) {
  execFileSync("openssl", [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
    "-keyout", path.join(folder, "key.pem"), "-out", path.join(folder, "cert.pem"),
  ], { stdio: "ignore" });
  const listen = speaksH3
    ? `listen 127.0.0.1:${port} ssl; http2 on; listen 127.0.0.1:${port} quic reuseport; http3 on; quic_gso on;`
    : `listen 127.0.0.1:${port} ssl http2;`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder};`).join(" ");
  writeFileSync(path.join(folder, "nginx.conf"), `
    daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 65536; pid ${folder}/pid; error_log ${folder}/error.log;
    events { worker_connections 30000; }
    http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=1000; open_file_cache_valid 1s; ${temporary}
      types { application/vnd.apple.mpegurl m3u8; video/mp4 mp4 m4s; }
      server { ${listen} ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.3; root ${media}; } }`);
  const running = spawn("bash", ["-c", `${RAISED} exec "$@"`, "server", "taskset", "-c", "0", nginx, "-c", path.join(folder, "nginx.conf"), "-e", "stderr"], { stdio: "inherit" });
  await connected(port);
  return running;
}

// Every client fetches the same segment over 16 connections, one request at a time on each.
function compare(protocol, url) {
  const target = `${url}segment`;
  const runs = [["tidegate-load", netBench(), [target, protocol, "16", String(time / 2)]]];
  if (protocol === "h1") runs.push(["wrk", "wrk", ["-t1", "-c16", `-d${time / 2}s`, target]]);
  if (protocol === "h1") runs.push(["h2load", "h2load", ["--h1", "-t1", "-c16", "-m1", `-D${time / 2}`, target]]);
  if (protocol === "h2") runs.push(["h2load", "h2load", ["-t1", "-c16", "-m1", "-w26", "-W26", `-D${time / 2}`, target]]);
  // oha's HTTP/3 is a feature that is not built here.
  if (has("oha") && ohaFlag(protocol)) runs.push(["oha", "oha", ["--no-tui", "--insecure", "-c16", `-z${time / 2}s`, ...ohaFlag(protocol), target]]);
  return runs.map(([name, program, flags]) => {
    const before = served();
    const cpu = cpuOf(program, flags);
    return { protocol, name, perCpu: (served() - before) / cpu, command: [name === "tidegate-load" ? "cargo bench -p tidegate-load --bench net --" : name, ...flags].join(" ").replaceAll(url, "https://SERVER/") };
  });
}

// What nginx has sent is read from the system's counters of its loopback: whatever the client says of itself.
function served() {
  const line = readFileSync("/proc/net/dev", "utf8").split("\n").find((one) => one.trim().startsWith("lo:"));
  return Number(line.trim().split(/\s+/)[1]);
}

// Players that begin one after the other and stay; measured when all of them are there.
function play(protocol, url, count, manifestOnly) {
  const rate = manifestOnly ? BEGIN_RATE.manifest : BEGIN_RATE.media;
  const arrive = count / rate;
  const run = (count, seconds) => players({ protocol, url, manifestOnly, rate, arrivals: `duration = "${count / rate}s"\ndrain = "${SETTLE_SECONDS + seconds}s"` });
  // What a fourth of them takes is taken off: with it goes what the program holds for itself, its histograms above all.
  const few = Math.ceil(count / 4);
  const ofFew = run(few, SETTLE_SECONDS).rig.memory_peak_bytes;
  const { rig: own, quality, intervals, fetches } = run(count, time);
  const failures = sum(fetches.flatMap((one) => Object.values(one.failures)));
  // A handshake or two that nginx lost are its figure; players that do not play are none at all.
  if (failures > count / 100 || quality.failed_starts > 0) throw new Error(`players failed: ${failures}, ${quality.failed_starts}`);
  const steady = intervals.filter((one) => one.at_s >= arrive + SETTLE_SECONDS && one.at_s < arrive + SETTLE_SECONDS + time - 1);
  const cpu = mean(steady.map((one) => one.rig_cpu));
  const there = mean(steady.map((one) => one.sessions));
  const beginning = intervals.filter((one) => one.at_s < arrive);
  const ofPlaying = (cpu / there) * sum(beginning.map((one) => one.sessions));
  return {
    protocol, count, manifestOnly, cpu,
    perCore: manifestOnly ? there / cpu : mean(steady.map((one) => one.bytes)) / cpu / (BITRATE / 8),
    // Beginning a session: a connection with its handshake, the first documents. Of players with media it is the first buffer too.
    beginning: manifestOnly ? (1000 * (sum(beginning.map((one) => one.rig_cpu)) - ofPlaying)) / count : undefined,
    memory: (own.memory_peak_bytes - ofFew) / (count - few), stalls: quality.stalls, views: quality.views, saturated: own.saturated,
  };
}

// Players that come and go on a core that has its hands full: how late do sessions begin?
function load(protocol, url, perCore) {
  const rate = Math.max(1, Math.round((perCore * LOADED_SHARE) / STAY_SECONDS));
  const arrivals = `warm_up = "${STAY_SECONDS + SETTLE_SECONDS}s"\nduration = "${time}s"\ndrain = "1s"`;
  const { rig: own, gates, intervals, arrivals: came } = players({ protocol, url, manifestOnly: false, rate, arrivals, stay: `watch = "fixed"\nwatch_time = "${STAY_SECONDS}s"` });
  const steady = intervals.filter((one) => one.at_s >= 0 && one.at_s < time - 1);
  return {
    protocol, rate, begun: came.begun, players: mean(steady.map((one) => one.sessions)), cpu: mean(steady.map((one) => one.rig_cpu)),
    scheduleError: gates[1].measured, saturated: own.saturated,
  };
}

function players({ protocol, url, manifestOnly, rate, arrivals, stay = "" }) {
  const results = path.join(folder, "results.json");
  const scenario = path.join(folder, "players.toml");
  writeFileSync(scenario, `name = "players"
gates = ["views>=0", "schedule_error_p99<1000s"]
[target]
urls = ["${url}${manifestOnly ? "live" : "vod"}.m3u8"]
[arrivals]
profile = { kind = "constant", rate = ${rate} }
spacing = "even"
${arrivals}
sessions_max = 100000
[sessions]
protocols = { ${protocol} = 1 }
[player]
buffer_max = "8s"
buffer_bytes = 0
manifest_only = ${manifestOnly}
${stay}
[net]
ca = ["${folder}/cert.pem"]
system_roots = false
[rig]
workers = 1
`);
  attempt(() => execFileSync("bash", ["-c", `${RAISED} exec "$@"`, "client", "taskset", "-c", "1", rig, "run", scenario, "--quiet", "--json", results], { stdio: ["ignore", "ignore", "inherit"] }));
  return JSON.parse(readFileSync(results, "utf8"));
}

// What a connection without a player holds. Over HTTP/1.1 that is its socket and TLS and nothing else; over HTTP/3 QUIC.
function idleBytes(protocol, url) {
  const said = spawnText("taskset", ["-c", "1", netBench(), `${url}init.mp4`, protocol, String(IDLE), "1"]);
  return Number(said.match(/(\d+) bytes held/)[1]);
}

function sum(numbers) {
  return numbers.reduce((all, one) => all + one, 0);
}

function mean(numbers) {
  return sum(numbers) / numbers.length;
}

// A breached gate or a saturated rig is a figure too.
function attempt(work) {
  try {
    work();
  } catch (error) {
    if (![3, 4].includes(error.status)) throw error;
  }
}

function page(bytes, players, loaded, idle, speaksH3) {
  // What is TLS or QUIC in a player's memory; HTTP/2 has the same TLS as HTTP/1.1.
  const secured = (protocol) => idle[protocol === "h2" ? "h1" : protocol];
  const best = (protocol) => Math.max(...bytes.filter((one) => one.protocol === protocol && one.name !== "tidegate-load").map((one) => one.perCpu), 0);
  const cpu = readFileSync("/proc/cpuinfo", "utf8").match(/model name\s*: (.*)/)?.[1] ?? "unknown";
  const load = os.loadavg()[0].toFixed(1);
  return `# Figures of the load rig

Written by \`make load-report\` on ${new Date().toISOString().slice(0, 10)}: ${cpu}, server (${text(nginx, ["-v"], 2).trim().replace("nginx version: ", "")}) on one core,
client on another, loopback, TLS 1.3 with P-256${speaksH3 ? "" : "; this nginx has no HTTP/3"}. The machine's load at the end was ${load}.

## Bytes per client CPU second

The same segment of ${(BITRATE / 8) * SEGMENT_SECONDS / 1e6} MB over 16 connections; bytes as the loopback counted them, CPU of the whole client process.

| protocol | client | GB per CPU second | to the best other | command |
|---|---|---|---|---|
${bytes.map((one) => `| ${one.protocol} | ${one.name} | ${(one.perCpu / 1e9).toFixed(2)} | ${one.name === "tidegate-load" && best(one.protocol) > 0 ? (one.perCpu / best(one.protocol)).toFixed(2) : "–"} | \`${one.command}\` |`).join("\n")}

${has("oha") ? "" : "oha could not be built here (`cargo install --version 1.16.0 oha`): it is not in the table.\n\n"}## Players on one core

Players of one ${BITRATE / 1e6} Mbit/s rendition in segments of ${SEGMENT_SECONDS} s, measured for ${time} s when all of them have begun. "Per core" is what they
take in a CPU second over what one takes; of manifest-only players, which follow a live playlist of ${SEGMENT_SECONDS} s segments, it is
how many were there over the share of the core. Memory is what three fourths of the players added to the most that the
process had with one fourth of them; "beyond" is without what an idle connection holds of TLS (${kB(idle.h1)})${idle.h3 ? ` or QUIC (${kB(idle.h3)})` : ""}.

| protocol | players at once | per core | core busy | memory per player | beyond TLS or QUIC | stalls in views | rig says |
|---|---|---|---|---|---|---|---|
${players.map((one) => `| ${one.protocol}${one.manifestOnly ? ", manifests only" : ""} | ${one.count} | ${Math.round(one.perCore)} | ${percent(one.cpu)} | ${kB(one.memory)} | ${kB(one.memory - secured(one.protocol))} | ${one.stalls} in ${one.views} | ${one.saturated.join("; ") || "fine"} |`).join("\n")}

Beginning a manifest-only session over HTTP/2, its connection and handshake included, takes ${players.at(-1).beginning.toFixed(2)} ms of a core once.

## Sessions that begin on a loaded core

Players of the same rendition that come and go, each for ${STAY_SECONDS} s: how late they begin.

| protocol | sessions a second | players at once | core busy | schedule error p99 | rig says |
|---|---|---|---|---|---|
${loaded.map((one) => `| ${one.protocol} | ${one.rate} | ${Math.round(one.players)} | ${percent(one.cpu)} | ${one.scheduleError?.toFixed(2)} ms | ${one.saturated.join("; ") || "fine"} |`).join("\n")}
`;
}

function kB(bytes) {
  return `${(bytes / 1000).toFixed(0)} kB`;
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

function netBench() {
  const listed = text("cargo", ["bench", "--locked", "-p", "tidegate-load", "--bench", "net", "--no-run", "--message-format=json"], 1);
  const made = listed.split("\n").filter((line) => line.includes('"name":"net"')).map((line) => JSON.parse(line));
  return made.at(-1).executable;
}

// CPU seconds of a command and its children, pinned to the client's core.
function cpuOf(program, flags) {
  const timed = spawnText("bash", ["-c", 'TIMEFORMAT="cpu %U %S"; time taskset -c 1 "$@"', "timed", program, ...flags]);
  const [, user, system] = timed.match(/cpu ([\d.]+) ([\d.]+)/);
  return Number(user) + Number(system);
}

function spawnText(program, flags) {
  const out = path.join(folder, "said");
  execFileSync("bash", ["-c", 'exec "$@" >"$0" 2>&1', out, program, ...flags], { cwd: root });
  return readFileSync(out, "utf8");
}

function text(program, flags, stream) {
  return execFileSync("bash", ["-c", stream === 2 ? '"$@" 2>&1' : '"$@" 2>/dev/null', "text", program, ...flags], { cwd: root, maxBuffer: 1 << 26 }).toString();
}

function ohaFlag(protocol) {
  return { h1: [], h2: ["--http2"] }[protocol];
}

function has(program) {
  return (process.env.PATH ?? "").split(":").some((where) => existsSync(path.join(where, program)));
}

function freePort() {
  return new Promise((done) => {
    const socket = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => done(port));
    });
  });
}

async function connected(port) {
  for (let left = 100; ; left--) {
    const is = await new Promise((done) => {
      const socket = net.connect(port, "127.0.0.1", () => done(socket.end() && true)).on("error", () => done(false));
    });
    if (is) return;
    if (left === 0) throw new Error("nginx does not listen");
    await new Promise((wake) => setTimeout(wake, 100));
  }
}
