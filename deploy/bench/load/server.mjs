// The server that the load rig is measured against: one nginx on the first core, a video on demand and a live playlist.
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";

// 5 Mbit/s in segments of 4 s, for ten minutes.
export const BITRATE = 5_000_000;
export const SEGMENT_SECONDS = 4;
export const SEGMENT_BYTES = (BITRATE / 8) * SEGMENT_SECONDS;
const SEGMENTS = 150;
// Each connection has a socket, at the server too; where the system does not let a process have so many, there are fewer.
export const RAISED = "ulimit -n 65536 2>/dev/null || ulimit -n $(ulimit -Hn);";

// Server and client have a core each. `realtime`: before everything else that this machine has to do.
const CORES = { server: "0", client: "1" };

export function pinned(who, realtime) {
  return [...(realtime ? ["chrt", "-f", "1"] : []), "taskset", "-c", CORES[who]];
}

// What runs, and how it is stopped. Over QUIC where this nginx can.
export async function startServer(nginx, folder, realtime) {
  const media = path.join(folder, "media");
  makeMedia(media);
  const port = await freePort();
  const version = said("bash", ["-c", '"$0" -v 2>&1', nginx]).trim().replace("nginx version: ", "");
  const speaksH3 = said("bash", ["-c", '"$0" -V 2>&1', nginx]).includes("http_v3_module");
  const live = liveStream(media);
  const running = await startNginx([...pinned("server", realtime), nginx], folder, media, port, speaksH3);
  return { url: `https://127.0.0.1:${port}/`, folder, version, speaksH3, stop: () => [running, live].forEach((one) => one.kill()) };
}

function makeMedia(media) {
  mkdirSync(media);
  writeFileSync(path.join(media, "segment"), randomBytes(SEGMENT_BYTES));
  writeFileSync(path.join(media, "init.mp4"), randomBytes(1000));
  const lines = ["#EXTM3U", "#EXT-X-VERSION:7", `#EXT-X-TARGETDURATION:${SEGMENT_SECONDS}`, '#EXT-X-MAP:URI="init.mp4"'];
  for (let n = 0; n < SEGMENTS; n++) {
    symlinkSync("segment", path.join(media, `${n}.m4s`));
    lines.push(`#EXTINF:${SEGMENT_SECONDS},`, `${n}.m4s`);
  }
  writeFileSync(path.join(media, "vod.m3u8"), [...lines, "#EXT-X-ENDLIST", ""].join("\n"));
}

// A live playlist that goes on by a segment as often as one lasts. A process of its own: measuring waits for others.
function liveStream(media) {
  const script = `for ((n = 0; ; n++)); do
    { printf '#EXTM3U\\n#EXT-X-VERSION:7\\n#EXT-X-TARGETDURATION:%s\\n#EXT-X-MEDIA-SEQUENCE:%s\\n#EXT-X-MAP:URI="init.mp4"\\n' "$2" "$n"
      for ((i = n; i < n + 10; i++)); do printf '#EXTINF:%s,\\n%s.m4s\\n' "$2" "$((i % $3))"; done; } > "$1/next"
    mv "$1/next" "$1/live.m3u8"; sleep "$2"; done`;
  return spawn("bash", ["-c", script, "live", media, String(SEGMENT_SECONDS), String(SEGMENTS)], { stdio: "ignore" });
}

async function startNginx(command, folder, media, port, speaksH3) {
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
  const running = spawn("bash", ["-c", `${RAISED} exec "$@"`, "server", ...command, "-c", path.join(folder, "nginx.conf"), "-e", "stderr"], { stdio: "inherit" });
  await connected(port);
  return running;
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

export function said(program, flags) {
  return execFileSync(program, flags, { maxBuffer: 1 << 26 }).toString();
}
