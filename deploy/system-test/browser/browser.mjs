// A browser that accepts this system's own certificate and nothing else.
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

import { launch, openPage } from "./chromium.mjs";
import { control, edges, ready, resolve } from "./system.mjs";
import tls from "node:tls";

export async function withPage(work, more = []) {
  const browser = await launch([`--ignore-certificate-errors-spki-list=${(await publicKeys()).join(",")}`, ...more]);
  const complaints = [];
  try {
    const page = await openPage(browser);
    page.on("pageerror", (error) => complaints.push(String(error)));
    return await work(page, complaints);
  } finally {
    await browser.close();
  }
}

// The hashes of the public keys that the edges and the control plane show, after each was checked against its authority.
async function publicKeys() {
  const ca = readFileSync(resolve(ready.ca_cert));
  const { url, ca: controlCa } = control();
  return Promise.all([
    ...edges.map((pop) => publicKey(pop.authority, ca)),
    publicKey(new URL(url).host, controlCa),
  ]);
}

function publicKey(authority, ca) {
  const [host, port] = authority.split(":");
  return new Promise((done, fail) => {
    const socket = tls.connect({ host, port: Number(port), ca, servername: "localhost" }, () => {
      const { publicKey } = new X509Certificate(socket.getPeerX509Certificate().raw);
      const der = publicKey.export({ type: "spki", format: "der" });
      socket.end();
      done(createHash("sha256").update(der).digest("base64"));
    });
    socket.on("error", fail);
  });
}
