// What is measured of the load rig against one server: bytes per client CPU second beside other clients, players that
// stay, players that come and go. The client has the second core. Every measurement stands for itself.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { BITRATE, RAISED, SEGMENT_SECONDS, pinned, said } from "./server.mjs";

// Sessions that play at once: the number that a core is to play.
const PLAYERS = { h1: 1000, h2: 1000, h3: 400 };
const MANIFEST_PLAYERS = Math.min(20000, Number(said("bash", ["-c", `${RAISED} ulimit -n`])) - 500);
// Players begin this many a second, and the window in which they are measured opens when all of them have begun. Each
// takes two segments when it begins: at this rate the server gives them beside what the others play.
const BEGIN_RATE = { h1: 100, h2: 100, h3: 20, manifest: 800 };
const SETTLE_SECONDS = 5;
// On the loaded core players come and go all of the time: each stays so long. A session that begins costs more than one
// that plays on, so that such a share of a core's players makes some 70 % of its load.
export const STAY_SECONDS = 10;
const LOADED_SHARE = { h1: 0.46, h2: 0.57, h3: 0.42 };
// Connections that fetch at once, one request at a time on each.
const CONNECTIONS = 16;

// Every client of a protocol that is here fetches the same segment.
export function bytesOfAll(protocol, server) {
  const { url, time, bench } = server;
  const target = `${url}segment`;
  const seconds = Math.max(2, Math.round(time / 2));
  return clients(protocol, target, seconds, bench).map(([name, program, flags, written]) => {
    const before = served();
    const { cpu, text } = cpuOf(program, flags, server);
    const failed = /[1-9]\d* of \d+ failed|, [1-9]\d* failed|Socket errors/.test(text);
    if (failed) throw new Error(`${name} over ${protocol}: ${text}`);
    const command = [written ?? name, ...flags].join(" ").replaceAll(url, "https://SERVER/");
    return { protocol, name, perCpu: (served() - before) / cpu, command };
  });
}

function clients(protocol, target, seconds, bench) {
  const c = String(CONNECTIONS);
  const own = ["tidegate-load", bench, [target, protocol, c, String(seconds)], "cargo bench -p tidegate-load --bench net --"];
  // Windows of 64 MiB, as ours: an HTTP/2 client with the default ones measures round trips.
  const h2load = (...flags) => ["h2load", "h2load", [...flags, "-t1", `-c${c}`, "-m1", `-D${seconds}`, target]];
  const oha = (...flags) => ["oha", "oha", ["--no-tui", "--insecure", `-c${c}`, `-z${seconds}s`, ...flags, target]];
  const all = {
    h1: [own, ["wrk", "wrk", ["-t1", `-c${c}`, `-d${seconds}s`, target]], h2load("--h1"), oha()],
    h2: [own, h2load("-w26", "-W26"), oha("--http2", "-p1")],
    // Neither h2load of the distribution nor oha without a feature of its own speaks HTTP/3.
    h3: [own],
  };
  return all[protocol].filter(([, program]) => program.includes("/") || has(program));
}

// What a connection without a player holds: as many begin as fast and fetch the same as often, and it is measured alike.
export function bareBytes(protocol, server) {
  const { url, bench } = server;
  const peak = (count) => {
    const seconds = count / BEGIN_RATE[protocol] + 2 * SEGMENT_SECONDS;
    const flags = [`${url}segment`, protocol, count, Math.ceil(seconds), `every=${SEGMENT_SECONDS}s`, `rate=${BEGIN_RATE[protocol]}`];
    return Number(cpuOf(bench, flags.map(String), server).text.match(/(\d+) bytes at most/)[1]);
  };
  const count = PLAYERS[protocol];
  const few = Math.ceil(count / 4);
  return (peak(count) - peak(few)) / (count - few);
}

// Players that begin one after the other and stay; measured when all of them are there.
export function play(protocol, manifestOnly, server) {
  const { time } = server;
  const count = manifestOnly ? MANIFEST_PLAYERS : PLAYERS[protocol];
  const rate = manifestOnly ? BEGIN_RATE.manifest : BEGIN_RATE[protocol];
  const arrive = count / rate;
  const run = (count, seconds) => {
    const arrivals = `duration = "${count / rate}s"\ndrain = "${SETTLE_SECONDS + seconds}s"`;
    return players(server, { protocol, manifestOnly, rate, arrivals });
  };
  // What a fourth of them takes is taken off: with it goes what the program holds for itself, its histograms above all.
  const few = Math.ceil(count / 4);
  const ofFew = run(few, SETTLE_SECONDS).rig.memory_peak_bytes;
  const { rig: own, quality, intervals, fetches, gates } = run(count, time);
  const failures = sum(fetches.flatMap((one) => Object.values(one.failures)));
  // A handshake or two that nginx lost are its figure; players that do not play are none at all.
  if (failures > count / 100 || quality.failed_starts > 0) throw new Error(`players failed: ${failures}, ${quality.failed_starts}`);
  const steady = intervals.filter((one) => one.at_s >= arrive + SETTLE_SECONDS && one.at_s < arrive + SETTLE_SECONDS + time - 1);
  const cpu = mean(steady.map((one) => one.rig_cpu));
  const there = mean(steady.map((one) => one.sessions));
  const beginning = intervals.filter((one) => one.at_s < arrive);
  const ofPlaying = (cpu / there) * sum(beginning.map((one) => one.sessions));
  const played = mean(steady.map((one) => one.bytes)) / (BITRATE / 8);
  return {
    protocol, count, manifestOnly, cpu, played,
    perCore: (manifestOnly ? there : played) / cpu,
    // Beginning a session: a connection with its handshake, the first documents. Of players with media it is the first buffer too.
    beginning: manifestOnly ? (1000 * (sum(beginning.map((one) => one.rig_cpu)) - ofPlaying)) / count : undefined,
    memory: (own.memory_peak_bytes - ofFew) / (count - few),
    scheduleError: gates[1].measured, stalls: quality.stalls, views: quality.views, saturated: own.saturated,
  };
}

// Players that come and go on a core that has its hands full: how late do sessions begin?
export function load(protocol, perCore, server) {
  const { time } = server;
  const rate = Math.max(1, Math.round((perCore * LOADED_SHARE[protocol]) / STAY_SECONDS));
  const arrivals = `warm_up = "${STAY_SECONDS + SETTLE_SECONDS}s"\nduration = "${time}s"\ndrain = "1s"`;
  const stay = `watch = "fixed"\nwatch_time = "${STAY_SECONDS}s"`;
  const { rig: own, gates, intervals, arrivals: came } = players(server, { protocol, manifestOnly: false, rate, arrivals, stay });
  const steady = intervals.filter((one) => one.at_s >= 0 && one.at_s < time - 1);
  return {
    protocol, rate, begun: came.begun, players: mean(steady.map((one) => one.sessions)), cpu: mean(steady.map((one) => one.rig_cpu)),
    scheduleError: gates[1].measured, saturated: own.saturated,
  };
}

function players({ url, folder, rig, realtime }, { protocol, manifestOnly, rate, arrivals, stay = "" }) {
  // From one address the system finds ports quickly for some 14,000 connections, and then only by a long search.
  const sources = manifestOnly ? [2, 3, 4, 5].map((n) => `127.0.0.${n}`) : [];
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
sources = [${sources.map((one) => `"${one}"`)}]
[rig]
workers = 1
`);
  attempt(() => execFileSync("bash", ["-c", `${RAISED} exec "$@"`, "client", ...pinned("client", realtime), rig, "run", scenario, "--quiet", "--json", results], { stdio: ["ignore", "ignore", "inherit"] }));
  return JSON.parse(readFileSync(results, "utf8"));
}

// A breached gate or a saturated rig is a figure too.
function attempt(work) {
  try {
    work();
  } catch (error) {
    if (![3, 4].includes(error.status)) throw error;
  }
}

// What nginx has sent is read from the system's counters of its loopback: whatever the client says of itself.
function served() {
  const line = readFileSync("/proc/net/dev", "utf8").split("\n").find((one) => one.trim().startsWith("lo:"));
  return Number(line.trim().split(/\s+/)[1]);
}

// CPU seconds of a command and its children, pinned to the client's core; and what it said.
function cpuOf(program, flags, { folder, realtime }) {
  const out = path.join(folder, "said");
  const timed = 'TIMEFORMAT="cpu %U %S"; exec >"$0" 2>&1; time "$@"';
  execFileSync("bash", ["-c", timed, out, ...pinned("client", realtime), program, ...flags]);
  const text = readFileSync(out, "utf8");
  const [, user, system] = text.match(/cpu ([\d.]+) ([\d.]+)/);
  return { cpu: Number(user) + Number(system), text };
}

export function has(program) {
  return (process.env.PATH ?? "").split(":").some((where) => existsSync(path.join(where, program)));
}

function sum(numbers) {
  return numbers.reduce((all, one) => all + one, 0);
}

function mean(numbers) {
  return sum(numbers) / numbers.length;
}
