// The states of a video, newest last, until it is complete, has failed or turns out to be missing.
//
// The first comes from the API at once; the following ones from its server-sent events. A broken event stream is
// opened again by the browser; states that were missed do not matter, since every event carries the whole state.

const FINAL = new Set(["complete", "failed", "missing"]);

export async function* status(api) {
  const first = await current(api);
  yield first;
  if (FINAL.has(first.state)) return;
  for await (const next of events(`${api}/events`)) {
    yield next;
    if (FINAL.has(next.state)) return;
  }
}

async function current(api) {
  const answer = await fetch(api, { headers: { accept: "application/json" } });
  if (answer.status === 404) return { state: "missing" };
  if (!answer.ok) throw new Error(`the API answered ${answer.status}`);
  return answer.json();
}

async function* events(url) {
  const source = new EventSource(url);
  const waiting = [];
  let wake = () => {};
  const take = (event) => {
    waiting.push(JSON.parse(event.data));
    wake();
  };
  source.addEventListener("state", take);
  source.addEventListener("deleted", () => {
    waiting.push({ state: "missing" });
    wake();
  });
  try {
    for (;;) {
      while (waiting.length > 0) yield waiting.shift();
      await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    source.close();
  }
}
