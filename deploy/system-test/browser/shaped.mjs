// A server of HLS behind one narrow link: every byte of a segment waits for its turn on a rate that changes by the clock.
// The same link for whoever comes, one client at a time; `reset` begins its time anew.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";

// Moving pictures in three renditions, made by the ffmpeg command.
export function makeLadder(folder, seconds, bitrates) {
  const split = bitrates.map((_, n) => `[v${n}]`).join("");
  const scaled = bitrates.map((_, n) => `[v${n}]scale=${[320, 480, 640][n]}:-2[o${n}]`).join(";");
  const each = bitrates.flatMap((bits, n) => [
    ..."-map".split(" "), `[o${n}]`, `-b:v:${n}`, bits, `-minrate:v:${n}`, bits, `-maxrate:v:${n}`, bits,
    `-bufsize:v:${n}`, bits,
  ]);
  execFileSync("ffmpeg", [
    "-v", "error", "-f", "lavfi", "-i", `testsrc2=size=640x360:rate=25:duration=${seconds}`,
    "-filter_complex", `[0:v]noise=alls=20:allf=t,split=${bitrates.length}${split};${scaled}`,
    ...each, "-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "nal-hrd=cbr:force-cfr=1:scenecut=0",
    "-g", "50", "-keyint_min", "50",
    "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4",
    "-hls_fmp4_init_filename", "init-%v.mp4", "-hls_segment_filename", path.join(folder, "%v-%03d.m4s"),
    "-master_pl_name", "main.m3u8", "-var_stream_map", bitrates.map((_, n) => `v:${n}`).join(" "),
    path.join(folder, "%v.m3u8"),
  ]);
}

// `trace` is pairs of seconds and bits a second; the last rate holds on.
export async function serveShaped(folder, trace) {
  let begun;
  let free = 0; // when the link is free again, in seconds of its time
  const now = () => performance.now() / 1000 - begun;
  const rate = (at) => trace.findLast(([from]) => from <= at)[1];
  const send = async (response, body) => {
    for (let at = 0; at < body.length && !response.destroyed; at += PIECE) {
      const piece = body.subarray(at, at + PIECE);
      const from = Math.max(free, now());
      free = from + (piece.length * 8) / rate(from);
      const wait = (free - now()) * 1000;
      if (wait > 1) await new Promise((wake) => setTimeout(wake, wait));
      response.write(piece);
    }
    response.end();
  };
  const server = http.createServer((request, response) => {
    begun ??= performance.now() / 1000;
    const name = new URL(request.url, "http://localhost").pathname.slice(1);
    let body;
    try {
      body = name === "" ? Buffer.from("<!doctype html><video muted></video>") : readFileSync(path.join(folder, path.basename(name)));
    } catch {
      return response.writeHead(404).end();
    }
    const type = { ".m3u8": "application/vnd.apple.mpegurl", ".m4s": "video/mp4", ".mp4": "video/mp4" }[path.extname(name)];
    response.writeHead(200, { "content-type": type ?? "text/html", "content-length": body.length, "cache-control": "no-store" });
    return type === "video/mp4" ? send(response, body) : response.end(body);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    reset: () => ([begun, free] = [undefined, 0]),
    close: () => new Promise((done) => server.close(done), server.closeAllConnections()),
  };
}

// Bytes that go out together: 4 ms at the highest rate a test has.
const PIECE = 2048;
