// A person opens the watch page: the video plays for ten seconds of its time and changes its quality on request.
import assert from "node:assert/strict";
import { test } from "node:test";

import { withPage } from "./browser.mjs";
import { ready } from "./system.mjs";

test("the watch page plays and switches quality", { timeout: 480_000 }, async () => {
  await withPage(async (page, complaints) => {
    await page.goto(ready.watch_url);
    const at = () => page.evaluate(() => globalThis.tidegate?.video.currentTime ?? 0);
    await page.waitForFunction(() => globalThis.tidegate?.video.currentTime > 2, null, { timeout: 120_000 });

    const buttons = page.locator("#quality button");
    const names = await buttons.allTextContents();
    assert.ok(names.length >= 3, `Auto and at least two qualities, got ${names}`);

    const shown = () => page.locator("#rendition").textContent();
    for (const name of [names.at(-1), names[1]]) {
      await buttons.filter({ hasText: new RegExp(`^${name}$`) }).click();
      await page.waitForFunction(
        (wanted) => document.getElementById("rendition").textContent.startsWith(`${wanted} `),
        name,
        { timeout: 120_000 },
      );
      assert.match(await shown(), new RegExp(`^${name} `));
    }
    const length = await page.evaluate(() => globalThis.tidegate.video.duration);
    const wanted = Math.min(10, Math.floor(length) - 0.5);
    await page.waitForFunction((s) => globalThis.tidegate.video.currentTime >= s, wanted, { timeout: 120_000 });
    assert.ok((await at()) >= wanted);

    assert.match(await page.locator("#protocol").textContent(), /^(h2|h3|http\/1\.1)$/);
    assert.match(await page.locator("#cache").textContent(), /tidegate/);
    assert.match(await page.locator("#buffer").textContent(), /^\d+\.\d s$/);
    assert.deepEqual(complaints, []);
  });
});
