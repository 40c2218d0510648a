// The PoP that a player fetches from, and asks where to fetch from, dies: steering answers from the other PoP, and the player
// goes on there. Whoever runs this kills pop-a when the file named by TIDEGATE_PLAYING is there.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";

import { withPage } from "./browser.mjs";
import { begin, follow, hosts, name, players, resolver } from "./steering.mjs";

const flag = process.env.TIDEGATE_PLAYING;

test("a player goes on at the other PoP, and is told so by it", { timeout: 480_000 }, async () => {
  await withPage(async (page) => {
    const seen = follow(page);
    await begin(page, players[process.env.TIDEGATE_PLAYER]);
    const { address: from } = await answered(
      seen,
      ({ manifest }) => ["pop-a", "pop-b"].every((pop) => manifest["PATHWAY-PRIORITY"].includes(pop)),
      "steering names both PoPs before anything happens",
    );
    await writeFile(flag, "");
    // A session whose manifest names a pathway that still leads to the dead one is told to leave it.
    const order = await answered(
      seen,
      ({ manifest, address }) => manifest?.["PATHWAY-PRIORITY"][0] === "pop-b" && address !== from,
      "steering answers from the other PoP",
    );
    assert.ok(!order.manifest["PATHWAY-PRIORITY"].includes("pop-a"), JSON.stringify(order));
    // Requests to the dead one fail, which players say; what counts is that the video goes on to its end.
    await page.waitForFunction(() => globalThis.play.ended, null, { timeout: 120_000 }).catch(async (error) => {
      throw new Error(`${error}: ${JSON.stringify(await page.evaluate(() => globalThis.problems))}, ${JSON.stringify(seen)}`);
    });
    const first = seen.segments[0];
    assert.equal(first.host, name, JSON.stringify(seen.segments));
    for (const kind of ["audio", "video"]) {
      const last = seen.segments.findLast((segment) => segment.kind === kind);
      assert.equal(last.host, hosts["pop-b"], `${kind}: ${JSON.stringify(seen)}`);
    }
  }, resolver);
});

async function answered(seen, is, what) {
  const end = Date.now() + 120_000;
  for (;;) {
    const found = seen.told.find((told) => told.status === 200 && told.manifest && is(told));
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: ${JSON.stringify(seen)}`);
    await new Promise((wake) => setTimeout(wake, 100));
  }
}
