// Debian's chromium, without a window.
import { chromium } from "playwright-core";

// How long it may take to start, and whatever is asked of a page: a busy machine does much else.
const PATIENCE_MS = 120_000;

export async function openPage(browser) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  return page;
}

export function launch(more = []) {
  return chromium.launch({
    timeout: PATIENCE_MS,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--autoplay-policy=no-user-gesture-required",
      ...more,
    ],
  });
}
