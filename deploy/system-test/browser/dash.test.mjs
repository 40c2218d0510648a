// dash.js plays the MPD of the other PoP to its end.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { withPage } from "./browser.mjs";
import { edges, ready } from "./system.mjs";

const library = new URL("node_modules/dashjs/dist/modern/umd/dash.all.min.js", import.meta.url);

test("dash.js plays the MPD to its end", { timeout: 480_000 }, async () => {
  const source = await readFile(library, "utf8");
  await withPage(async (page) => {
    // A page of the same origin, so that nothing but DASH is on trial.
    await page.goto(ready.watch_url.replace(/\/\/[^/]+/, `//${edges.at(-1).authority}`));
    await page.setContent('<video id="dash" muted></video>');
    await page.addScriptTag({ content: source });
    await page.evaluate((url) => {
      globalThis.problems = [];
      const player = globalThis.dashjs.MediaPlayer().create();
      player.on("error", (event) => globalThis.problems.push(JSON.stringify(event.error ?? event)));
      player.initialize(document.getElementById("dash"), url, true);
      document.getElementById("dash").playbackRate = 2;
    }, ready.dash_path);
    await page.waitForFunction(
      () => globalThis.problems.length > 0 || document.getElementById("dash").ended,
      null,
      { timeout: 120_000 },
    );
    assert.deepEqual(await page.evaluate(() => globalThis.problems), []);
    const [at, length] = await page.evaluate(() => {
      const video = document.getElementById("dash");
      return [video.currentTime, video.duration];
    });
    assert.ok(Math.abs(at - length) < 0.5, `ended at ${at} of ${length}`);
  });
});
