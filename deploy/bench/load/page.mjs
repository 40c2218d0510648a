// docs/load-figures.md, of what was measured. Pure but for the name of the processor and which tools are here.
import { readFileSync } from "node:fs";
import { has, STAY_SECONDS } from "./measure.mjs";
import { BITRATE, SEGMENT_BYTES, SEGMENT_SECONDS } from "./server.mjs";

export function page(known, protocols) {
  const of = (name) => protocols.map((protocol) => known[`${name}-${protocol}`]);
  const bytes = of("bytes").flat();
  const players = [...of("play"), known.manifests];
  const { server, speaksH3, realtime, date, load } = known.machine;
  // What is the connection in a player's memory: socket, TLS or QUIC, and what is under way in them.
  const bare = (protocol) => known[`bare-${protocol}`];
  const cpu = readFileSync("/proc/cpuinfo", "utf8").match(/model name\s*: (.*)/)?.[1] ?? "unknown";
  return `# Figures of the load rig

Written by \`make load-report\` on ${date}: ${cpu}, server (${server}) on one core,
client on another, loopback, TLS 1.3 with P-256${speaksH3 ? "" : "; this nginx has no HTTP/3"}${realtime ? "; both before all other work of the machine" : ""}. The machine's load at the end was ${load.toFixed(1)}.
One stage alone is measured again with \`node deploy/bench/load/figures.mjs target/release NGINX --only STAGE\`.

## Bytes per client CPU second

The same segment of ${SEGMENT_BYTES / 1e6} MB over 16 connections; bytes as the loopback counted them, CPU of the whole client process.

| protocol | client | GB per CPU second | to the best other | command |
|---|---|---|---|---|
${bytes.map((one) => row(one.protocol, one.name, (one.perCpu / 1e9).toFixed(2), ratio(one, bytes), `\`${one.command}\``)).join("\n")}

${has("oha") ? "" : "oha is not in the table: it was not there (`cargo install --version 1.16.0 oha`).\n\n"}## Players on one core

Players of one ${BITRATE / 1e6} Mbit/s rendition in segments of ${SEGMENT_SECONDS} s, all there at once. "Per core" is what they take in a CPU second
over what one takes; of manifest-only players, which follow a live playlist of ${SEGMENT_SECONDS} s segments, it is how many were there over
the share of the core. Memory is what three fourths of the players added to the most that the process had with one fourth
of them; "bare" is the same of connections without players that fetch the same segment as often (\`cargo bench -p tidegate-load
--bench net -- https://SERVER/segment h1 1000 18 every=4s rate=100\`), and "beyond" what a player has more than that.

| protocol | players at once | per core | core busy | memory per player | bare | beyond | stalls in views | rig says |
|---|---|---|---|---|---|---|---|---|
${players.map((one) => row(one.manifestOnly ? `${one.protocol}, manifests only` : one.protocol, one.count, Math.round(one.perCore), percent(one.cpu), kB(one.memory), ...beyond(one, bare), `${one.stalls} in ${one.views}`, verdict(one))).join("\n")}

Beginning a manifest-only session over HTTP/2, its connection and handshake included, takes ${known.manifests.beginning.toFixed(2)} ms of a core once.

## Sessions that begin on a loaded core

Players of the same rendition that come and go, each for ${STAY_SECONDS} s: how late they begin.

| protocol | sessions a second | players at once | core busy | schedule error p99 | rig says |
|---|---|---|---|---|---|
${of("load").map((one) => row(one.protocol, one.rate, Math.round(one.players), percent(one.cpu), `${one.scheduleError?.toFixed(2)} ms`, verdict(one))).join("\n")}
`;
}

// Players of manifests alone keep quiet connections, with which none was compared.
function beyond({ manifestOnly, memory, protocol }, bare) {
  return manifestOnly ? ["–", "–"] : [kB(bare(protocol)), kB(memory - bare(protocol))];
}

// Ours to the best other client of the protocol.
function ratio(one, all) {
  const others = all.filter((other) => other.protocol === one.protocol && other.name !== "tidegate-load").map((other) => other.perCpu);
  return one.name === "tidegate-load" && others.length > 0 ? (one.perCpu / Math.max(...others)).toFixed(2) : "–";
}

function verdict({ saturated }) {
  return saturated.join("; ") || "fine";
}

function row(...cells) {
  return `| ${cells.join(" | ")} |`;
}

function kB(bytes) {
  // Without the sign of a nothing.
  return `${Math.round(bytes / 1000) + 0} kB`;
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}
