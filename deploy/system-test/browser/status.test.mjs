// An operator opens the status page: a token, the PoPs, the map; wide and narrow, light and dark; nobody else is asked.
import assert from "node:assert/strict";
import { test } from "node:test";

import { withPage } from "./browser.mjs";
import { control, ready } from "./system.mjs";

test("the status page asks for a token and shows every PoP", { timeout: 480_000 }, async () => {
  await withPage(async (page, complaints) => {
    const asked = new Set();
    page.on("request", (request) => asked.add(new URL(request.url()).origin));
    page.on("console", (message) => {
      // The first question is asked without a token, on purpose.
      if (message.type() === "error" && !message.text().includes("401")) complaints.push(message.text());
    });
    await page.goto(ready.control_plane);
    await page.locator("#token").fill("tga_0_0");
    await page.getByRole("button", { name: "Show" }).click();
    await page.waitForFunction(() => document.getElementById("refused").textContent.includes("not known"));
    assert.ok(await page.locator("#main").isHidden());

    await page.locator("#token").fill(control().token);
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator("#main").waitFor({ state: "visible" });
    const names = await page.locator("#pops td:first-child").allTextContents();
    assert.deepEqual(names.sort(), ready.pops.map((pop) => pop.name).sort());
    assert.equal(await page.locator("#map").count(), 1);
    assert.match(await page.locator("#heard").textContent(), /^as of \d\d:\d\d:\d\d UTC$/);

    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const width of [360, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const isCut = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
        assert.ok(!isCut, `nothing is cut off at ${width} in ${colorScheme}`);
      }
    }
    assert.deepEqual([...asked], [new URL(ready.control_plane).origin]);
    assert.deepEqual(complaints, []);
  });
});
