// Measures queries per CPU second of tidegate-geo beside gdnsd on this machine: the same names, PoPs and networks, one UDP
// thread each, asked by dnsperf in turn. Server on the first core, dnsperf on the second. Prints a table.
//
// node figures.mjs RELEASE-FOLDER [SECONDS] [ROUNDS] [OUT-FILE]
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const [, , release = "target/release", seconds = "10", rounds = "3", out] = process.argv;
const geo = path.resolve(release, "tidegate-geo");
const folder = mkdtempSync(path.join(os.tmpdir(), "dns-figures-"));

const ZONE = "cdn.test";
const NAMES = 10;
const POPS = 20;
// So many /24 have a place; two that stand side by side as a rule belong to different PoPs.
const NETWORKS = 4096;
// Networks for which both are asked before anything is measured: they must say the same.
const COMPARED = 60;
// Without other limits than the network's, a client waits for so many answers at once.
const QUERIES_AT_ONCE = 200;
const BARS = { ratio: 1.2, signed: 40_000 };
const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

// What is asked: dnsperf's arguments, and who is asked. A subnet is that of a network which has a place.
const subnet = `8:00011800${hex(10)}${hex(3)}${hex(7)}`;
const CASES = [
  { name: "no EDNS", args: [], servers: ["gdnsd", "geo"], is_bar: true },
  { name: "EDNS", args: ["-e"], servers: ["gdnsd", "geo"] },
  { name: "client subnet", args: ["-e", "-E", subnet], servers: ["gdnsd", "geo"], is_bar: true },
  { name: "DO, zone not signed", args: ["-e", "-D"], servers: ["gdnsd", "geo"] },
  { name: "DO, signatures cached", args: ["-e", "-D"], servers: ["signed"], is_signed: true },
];

const missing = ["gdnsd", "dnsperf", "dig", "taskset"].filter((tool) => spawnSync("which", [tool]).status !== 0);
if (missing.length > 0) {
  console.error(`bench-dns: SKIPPED, nothing was measured: ${missing.join(", ")} not installed (deploy/build/needs.sh bench)`);
  process.exit(0);
}
const running = [];
try {
  const servers = await start();
  compare(servers);
  const results = measure(servers);
  const page = report(results);
  process.stdout.write(page);
  if (out) writeFileSync(out, page);
} finally {
  for (const child of running) child.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
}

// -- material

function hex(byte) {
  return byte.toString(16).padStart(2, "0");
}

/** The PoP of a network: neighbours differ. */
function popOf(network) {
  return (network * 7 + (network >> 4)) % POPS;
}

function prefix(network) {
  return `10.${network >> 8}.${network & 255}.0/24`;
}

function place(pop) {
  return { latitude: ((pop * 37) % 120) - 60, longitude: ((pop * 97) % 340) - 170 };
}

function addresses(pop) {
  return [`192.0.2.${pop + 1}`, `2001:db8:f::${(pop + 1).toString(16)}`];
}

function networks() {
  return Array.from({ length: NETWORKS }, (_, network) => network);
}

function writeGeo() {
  const dir = path.join(folder, "geo");
  mkdirSync(path.join(dir, "zones"), { recursive: true });
  const names = Array.from({ length: NAMES }, (_, number) => `_steer.www${number} TXT ""`);
  writeFileSync(
    path.join(dir, "zones", `${ZONE}.zone`),
    ["$TTL 300", "@ SOA ns1 hostmaster 1 3600 600 86400 60", "@ NS ns1", "ns1 A 127.0.0.1", ...names, ""].join("\n"),
  );
  const line = (what, { latitude, longitude }) => `${what},XX,${latitude},${longitude}`;
  const lines = [line("127.0.0.0/8", place(0)), ...networks().map((one) => line(prefix(one), place(popOf(one))))];
  writeFileSync(path.join(dir, "lines"), `${lines.join("\n")}\n`);
  execFileSync(geo, ["make-places", "lines", "places.mmdb"], { cwd: dir });
  const pops = Array.from({ length: POPS }, (_, pop) => {
    const { latitude, longitude } = place(pop);
    const [v4, v6] = addresses(pop);
    return [
      "[[pop]]",
      `id = "p${pop}"`,
      `latitude = ${latitude.toFixed(1)}`,
      `longitude = ${longitude.toFixed(1)}`,
      "capacity = 1000.0",
      `addresses = ["${v4}", "${v6}"]`,
    ].join("\n");
  });
  writeFileSync(path.join(dir, "fleet.toml"), `${pops.join("\n\n")}\n`);
  return dir;
}

function writeGdnsd(port) {
  const dir = path.join(folder, "gdnsd");
  for (const part of ["zones", "geoip", "run", "state"]) mkdirSync(path.join(dir, part), { recursive: true });
  const all = Array.from({ length: POPS }, (_, pop) => pop);
  const nets = ["127.0.0.0/8 => [ p0 ]", ...networks().map((one) => `${prefix(one)} => [ p${popOf(one)} ]`)];
  writeFileSync(path.join(dir, "geoip", "nets"), `${nets.join("\n")}\n`);
  const data = all.map((pop) => {
    const [v4, v6] = addresses(pop);
    return `p${pop} => { addrs_v4 => [ ${v4} ], addrs_v6 => [ ${v6} ] }`;
  });
  writeFileSync(
    path.join(dir, "config"),
    `options => {
  listen => [ 127.0.0.1 ]
  dns_port => ${port}
  udp_threads => 1
  tcp_threads => 1
  run_dir => ${dir}/run
  state_dir => ${dir}/state
  edns_client_subnet => true
}
plugins => {
  geoip => {
    maps => { clients => { datacenters => [ ${all.map((pop) => `p${pop}`).join(", ")} ], nets => nets } }
    resources => { www => { map => clients, service_types => up, dcmap => { ${data.join(", ")} } } }
  }
}
`,
  );
  const names = Array.from({ length: NAMES }, (_, number) => `www${number} 20 DYNA geoip!www`);
  writeFileSync(
    path.join(dir, "zones", ZONE),
    ["$TTL 300", "@ SOA ns1 hostmaster 1 3600 600 86400 60", "@ NS ns1", "ns1 A 127.0.0.1", ...names, ""].join("\n"),
  );
  return dir;
}

function writeQueries() {
  const lines = [];
  // Twice as many ask for IPv4 as for IPv6.
  for (let number = 0; number < 3000; number += 1) {
    lines.push(`www${(number * 7) % NAMES}.${ZONE} ${number % 3 === 2 ? "AAAA" : "A"}`);
  }
  const file = path.join(folder, "queries");
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

// -- servers

async function start() {
  const dir = writeGeo();
  execFileSync(geo, ["keys", "--keys", path.join(dir, "keys"), "generate", ZONE]);
  const servers = {};
  const gdnsdPort = await freePort();
  const gdnsd = writeGdnsd(gdnsdPort);
  servers.gdnsd = launch("gdnsd", ["-c", gdnsd, "start"], gdnsdPort);
  for (const [name, more] of [["geo", []], ["signed", ["--set", `dnssec.keys="${path.join(dir, "keys")}"`]]]) {
    const port = await freePort();
    const settings = [
      `listen.udp=["127.0.0.1:${port}"]`,
      `listen.tcp=["127.0.0.1:${port}"]`,
      `zones.folder="${path.join(dir, "zones")}"`,
      `places.places="${path.join(dir, "places.mmdb")}"`,
      "probe.enabled=false",
      `fleet.file="${path.join(dir, "fleet.toml")}"`,
      "fast.sockets=1",
      // The other has no limits either.
      "rate.enabled=false",
      'process.log_level="warn"',
    ];
    const args = ["serve", ...settings.flatMap((setting) => ["--set", setting]), ...more];
    servers[name] = launch(geo, args, port);
  }
  for (const server of Object.values(servers)) {
    const limit = Date.now() + 30_000;
    while (ask(server, "127.0.0.0/8", "A").length === 0) {
      if (Date.now() > limit || server.child.exitCode !== null) throw new Error(`no answer at port ${server.port}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return servers;
}

function launch(program, args, port) {
  const child = spawn("taskset", ["-c", "0", program, ...args], { stdio: ["ignore", "ignore", "inherit"] });
  running.push(child);
  return { child, port };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function ask({ port }, network, type) {
  const args = ["@127.0.0.1", "-p", String(port), "+short", "+tries=1", "+time=1", "+nocookie", `+subnet=${network}`, `www1.${ZONE}`, type];
  const { status, stdout } = spawnSync("dig", args, { encoding: "utf8" });
  return status === 0 ? stdout.trim().split("\n").filter(Boolean).sort() : [];
}

/** Both must say the same, or nothing is worth being measured. */
function compare({ gdnsd, geo: own, signed }) {
  for (let number = 0; number < COMPARED; number += 1) {
    const network = (number * 1237) % NETWORKS;
    for (const type of ["A", "AAAA"]) {
      const expected = addresses(popOf(network)).filter((address) => address.includes(":") === (type === "AAAA"));
      for (const [name, server] of Object.entries({ gdnsd, own, signed })) {
        const told = ask(server, prefix(network), type);
        if (told.join() !== expected.join()) throw new Error(`${name} says ${told} to ${prefix(network)}, not ${expected}`);
      }
    }
  }
}

// -- measuring

function measure(servers) {
  const queries = writeQueries();
  const results = CASES.map((one) => ({ ...one, runs: Object.fromEntries(one.servers.map((name) => [name, []])) }));
  for (let round = 0; round < Number(rounds); round += 1) {
    for (const one of results) {
      for (const name of one.servers) one.runs[name].push(run(servers[name], queries, one.args));
    }
  }
  return results;
}

function run({ child, port }, queries, args) {
  const before = ticks(child.pid);
  const text = execFileSync(
    "taskset",
    ["-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", String(port), "-d", queries, "-l", seconds, "-c", "8", "-T", "1", "-q", String(QUERIES_AT_ONCE), ...args],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
  );
  const used = (ticks(child.pid) - before) / TICKS;
  const number = (pattern) => Number(text.match(pattern)?.[1] ?? Number.NaN);
  const completed = number(/Queries completed:\s+(\d+)/);
  const good = number(/NOERROR (\d+)/);
  if (good !== completed) throw new Error(`not every answer is a good one:\n${text}`);
  return { rate: completed / number(/Run time \(s\):\s+([\d.]+)/), perCpu: completed / used, lost: number(/Queries lost:\s+(\d+)/) };
}

/** User and system time of a process and its threads. */
function ticks(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

// -- what is printed

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}

function report(results) {
  const count = (value) => Math.round(value).toLocaleString("en-US").replaceAll(",", " ");
  const perCpu = (runs) => median(runs.map((run) => run.perCpu));
  const lines = ["| query | server | queries per CPU second | spread | queries per second | lost | beside gdnsd |", "|---|---|---|---|---|---|---|"];
  const bars = [];
  for (const one of results) {
    const ratio = one.runs.gdnsd ? perCpu(one.runs.geo) / perCpu(one.runs.gdnsd) : undefined;
    for (const [name, runs] of Object.entries(one.runs)) {
      const all = runs.map((run) => run.perCpu);
      const spread = `${count(Math.min(...all))} – ${count(Math.max(...all))}`;
      const beside = name === "geo" ? `${ratio.toFixed(2)}x` : "";
      const lost = runs.reduce((sum, run) => sum + run.lost, 0);
      const label = name === "gdnsd" ? "gdnsd" : "tidegate-geo";
      lines.push(`| ${one.name} | ${label} | ${count(perCpu(runs))} | ${spread} | ${count(median(runs.map((run) => run.rate)))} | ${lost} | ${beside} |`);
    }
    const verdict = (is) => (is ? "held" : "MISSED");
    if (one.is_bar) bars.push(`- ${one.name}: ${ratio.toFixed(2)}x gdnsd, at least ${BARS.ratio}x: ${verdict(ratio >= BARS.ratio)}`);
    if (one.is_signed) bars.push(`- ${one.name}: ${count(perCpu(one.runs.signed))} per CPU second, at least ${count(BARS.signed)}: ${verdict(perCpu(one.runs.signed) >= BARS.signed)}`);
  }
  const cpu = readFileSync("/proc/cpuinfo", "utf8").match(/model name\s*: (.*)/)?.[1] ?? "unknown";
  const head = `${cpu}, ${os.cpus().length} cores; ${rounds} rounds of ${seconds} s, medians; loopback, one UDP thread each.`;
  return `${head}\n\n${lines.join("\n")}\n\n${bars.join("\n")}\n`;
}
