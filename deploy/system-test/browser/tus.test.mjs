// The stock tus client from npm uploads, is interrupted, and resumes where it was.
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import * as tus from "tus-js-client";

import { ready, token } from "./system.mjs";

const file = process.env.TIDEGATE_CLIP;

test("tus-js-client resumes an upload that it broke off", { skip: !file && "TIDEGATE_CLIP names no file" }, async () => {
  const source = readFileSync(file);
  const options = {
    endpoint: ready.upload_url,
    chunkSize: Math.max(1024, Math.floor(statSync(file).size / 5)),
    headers: { authorization: `Bearer ${token()}` },
    metadata: { filename: "resumed.mp4" },
    retryDelays: null,
  };
  const url = await new Promise((done, fail) => {
    const upload = new tus.Upload(source, {
      ...options,
      onError: fail,
      onChunkComplete: () => upload.abort().then(() => done(upload.url)),
    });
    upload.start();
  });
  const offsets = [];
  await new Promise((done, fail) => {
    new tus.Upload(source, {
      ...options,
      uploadUrl: url,
      onError: fail,
      onProgress: (sent) => offsets.push(sent),
      onSuccess: done,
    }).start();
  });
  assert.ok(offsets[0] > 0, `went on from where it was, not from ${offsets[0]}`);
  assert.equal(offsets.at(-1), source.length);
});
