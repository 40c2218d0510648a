// A PoP is drained while players play from it: they go on from the other one, and nobody sees it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { withPage } from "./browser.mjs";
import { begin, follow, hosts, name, operate, players, resolver } from "./steering.mjs";
import { get, ready, until } from "./system.mjs";

for (const [player, start] of Object.entries(players)) {
  test(`a drain moves ${player} to the other PoP without a stall`, { timeout: 480_000 }, async () => {
    await told("a session stays", ["main", "pop-a", "pop-b"]);
    await withPage(async (page) => {
      const seen = follow(page);
      await begin(page, start);
      const drained = await operate("POST", "/v1/pops/pop-a/drain", { to_level: "steer", reason: "a test of steering" });
      try {
        assert.equal(drained.status, 202, drained.body);
        await told("the DNS heard of it", ["pop-b", "main", "pop-a"]);
        await page.waitForFunction(() => globalThis.problems.length > 0 || globalThis.play.ended, null, { timeout: 120_000 });
      } finally {
        const undone = await operate("DELETE", "/v1/pops/pop-a/drain?slow_start=1s");
        assert.equal(undone.status, 200, undone.body);
      }

      assert.deepEqual(await page.evaluate(() => globalThis.problems), []);
      assert.deepEqual(seen.failed, []);
      // It began where DNS had led it, and stayed until it was told to leave.
      const order = seen.told.find(({ manifest }) => manifest?.["PATHWAY-PRIORITY"][0] === "pop-b");
      assert.ok(order, `it was never told to leave: ${JSON.stringify(seen.told)}`);
      const before = seen.segments.filter(({ at }) => at < order.at);
      assert.ok(before.length > 0 && before.every(({ host }) => host === name), JSON.stringify(seen));
      // From then on everything comes from the other one, but what a buffer had decided on already.
      const moved = seen.segments.findIndex(({ host }) => host === hosts["pop-b"]);
      assert.ok(moved > 0, `nothing came from the other PoP: ${JSON.stringify(seen)}`);
      const late = seen.segments.slice(moved).filter(({ host }) => host !== hosts["pop-b"]);
      assert.ok(late.length <= 2, JSON.stringify(seen.segments));
      for (const kind of ["audio", "video"]) {
        const last = seen.segments.findLast((segment) => segment.kind === kind);
        assert.equal(last.host, hosts["pop-b"], `${kind}: ${JSON.stringify(seen.segments)}`);
      }

      const play = await page.evaluate(() => globalThis.play);
      assert.deepEqual(play.stalls, [], `it stood still: ${JSON.stringify(play)}`);
      assert.ok(play.leastAheadS > 0, JSON.stringify(play));
    }, resolver);
  });
}

// What a session of this machine that plays from where DNS leads is told, as soon as it is what is expected.
function told(what, expected) {
  // Browsers take every name below localhost for this machine; others may not.
  const { host, port, pathname } = new URL(ready.steering_url);
  const url = `https://localhost:${port}${pathname}?_HLS_pathway=main`;
  const ask = async () => {
    const answer = await get(url, { host });
    return answer.status === 200 ? JSON.parse(answer.body)["PATHWAY-PRIORITY"] : answer.status;
  };
  return until(what, ask, (order) => JSON.stringify(order) === JSON.stringify(expected), 60_000);
}
