// The running system that these tests look at: TIDEGATE_READY names the file that `tidegate dev up` wrote.
import { readFileSync } from "node:fs";
import https from "node:https";
import path from "node:path";

const readyFile = process.env.TIDEGATE_READY;
if (!readyFile) throw new Error("TIDEGATE_READY must name the ready.json of a running system");

export const ready = JSON.parse(readFileSync(readyFile, "utf8"));
const ca = readFileSync(resolve(ready.ca_cert));
// No connection is kept: one that the server closes at the moment of a request would fail it.
const agent = new https.Agent({ ca, keepAlive: false, maxSockets: 4 });

export const edges = ready.pops.filter((pop) => pop.role === "edge");

// Paths in ready.json are absolute or relative to the folder that the system was started in.
export function resolve(file) {
  return path.isAbsolute(file) ? file : path.join(process.env.TIDEGATE_CWD ?? process.cwd(), file);
}

export function token() {
  return readFileSync(resolve(ready.api_token_file), "utf8").trim();
}

// The control plane's own authority and an operator's token, as the file of contexts names them.
export function control() {
  const context = readFileSync(resolve(ready.cli_context), "utf8");
  const file = (name) => readFileSync(resolve(new RegExp(`^${name} = "(.*)"$`, "m").exec(context)[1]), "utf8");
  return { url: ready.control_plane, ca: file("ca"), token: file("token_file").trim() };
}

export function get(url, headers = {}) {
  return new Promise((done, fail) => {
    https
      .get(url, { agent, headers }, (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("error", fail);
        answer.on("end", () =>
          done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) }),
        );
      })
      .on("error", fail);
  });
}

// Asks again until `is` holds of the answer; fails after the limit with what came last.
export async function until(what, ask, is, limitMs = 60_000) {
  const end = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (is(answer)) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms; last: ${JSON.stringify(answer)}`);
    await new Promise((wake) => setTimeout(wake, 100));
  }
}
