// Asks for the status every few seconds and draws it. Text is always set as text, never as markup.
"use strict";

const EVERY_MS = 3000;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") ?? "";
let timer = 0;

async function ask() {
  clearTimeout(timer);
  try {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const answer = await fetch("/v1/status", { headers, cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) {
      return refuse(answer.status);
    }
    if (!answer.ok) {
      throw new Error(`the server answered ${answer.status}`);
    }
    draw(await answer.json());
  } catch (error) {
    byId("heard").className = "late";
    byId("heard").textContent = `no answer: ${error.message}; what is shown is old`;
  }
  timer = setTimeout(ask, EVERY_MS);
}

function refuse(status) {
  byId("login").hidden = false;
  byId("main").hidden = true;
  byId("heard").textContent = "a token is needed";
  byId("refused").textContent = token ? (status === 403 ? "this token may not read" : "this token is not known") : "";
  sessionStorage.removeItem("token");
  token = "";
  byId("token").focus();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  sessionStorage.setItem("token", token);
  ask();
});

function draw(status) {
  byId("login").hidden = true;
  byId("main").hidden = false;
  byId("heard").className = "";
  byId("heard").textContent = `as of ${new Date(status.at_unix_ms).toISOString().slice(11, 19)} UTC`;
  const pops = status.pops;
  const up = pops.filter((pop) => pop.state === "up").length;
  byId("up").textContent = `${up} of ${pops.length}`;
  const others = {};
  for (const pop of pops) {
    if (pop.state !== "up") others[pop.state] = (others[pop.state] ?? 0) + 1;
  }
  byId("states").textContent = Object.entries(others).map(([state, count]) => `${count} ${state}`).join(", ") || "all is well";
  byId("release").textContent = status.release.version;
  byId("rollout").textContent = status.release.stage ? `${status.release.stage}; ${status.release.next}` : "rolled out";
  byId("purges").textContent = status.purge_head;
  const lag = Math.max(0, ...pops.map((pop) => pop.purge_lag ?? 0));
  byId("lag").textContent = lag === 0 ? "nobody is behind" : `the last is ${lag} behind`;
  byId("audit").textContent = status.audit.number;
  byId("approvals").textContent = status.approvals_pending === 0 ? "nothing waits for a second person" : `${status.approvals_pending} wait for a second person`;
  drawTable(pops);
  drawMap(pops);
}

function kind(state) {
  return state === "up" ? "up" : state === "down" ? "down" : "warn";
}

function drawTable(pops) {
  const order = { down: 0, uncertain: 1, not_ready: 2, draining: 3, empty: 4, up: 5 };
  const sorted = [...pops].sort((a, b) => (order[a.state] ?? 0) - (order[b.state] ?? 0) || a.pop.localeCompare(b.pop));
  const rows = sorted.map((pop) => {
    const row = document.createElement("tr");
    const cell = (text, name) => {
      const made = document.createElement("td");
      made.textContent = text;
      if (name) made.className = name;
      row.append(made);
    };
    cell(pop.pop);
    cell(pop.state, kind(pop.state));
    cell(`${pop.nodes_up}/${pop.nodes}`, "number");
    cell(`${pop.release_oldest ?? "–"}/${pop.release}`, "number");
    cell(pop.purge_lag ?? "–", "number");
    cell(pop.hit_ratio === null ? "–" : `${(pop.hit_ratio * 100).toFixed(1)} %`, "number wide");
    cell(pop.role, "wide");
    return row;
  });
  byId("pops").replaceChildren(...rows);
}

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Equirectangular: a degree is a unit, north is up. No map of somebody else is drawn, only the grid.
function drawMap(pops) {
  const shapes = [];
  for (let east = -150; east <= 150; east += 30) {
    shapes.push(shape("line", { x1: east, x2: east, y1: -90, y2: 90, class: east === 0 ? "grid main" : "grid" }));
    shapes.push(shape("text", { x: east + 1, y: 63, class: "degree" }, `${Math.abs(east)}°${east > 0 ? "E" : east < 0 ? "W" : ""}`));
  }
  for (let north = -60; north <= 60; north += 30) {
    shapes.push(shape("line", { x1: -180, x2: 180, y1: -north, y2: -north, class: north === 0 ? "grid main" : "grid" }));
    shapes.push(shape("text", { x: -179, y: -north - 1, class: "degree" }, `${Math.abs(north)}°${north > 0 ? "N" : north < 0 ? "S" : ""}`));
  }
  const labels = [];
  const placed = pops.filter((pop) => pop.place);
  // What needs somebody is drawn last, on top.
  placed.sort((a, b) => (a.state === "up" ? 0 : 1) - (b.state === "up" ? 0 : 1));
  for (const pop of placed) {
    const [x, y] = [pop.place.longitude, -pop.place.latitude];
    const dot = shape("circle", { cx: x, cy: y, r: 2.4, class: `dot ${kind(pop.state)}` });
    dot.append(shape("title", {}, `${pop.pop}: ${pop.state}`));
    shapes.push(dot);
    if (placed.length <= 40 || pop.state !== "up") labels.push({ x, y, text: pop.pop });
  }
  shapes.push(...nameThem(labels));
  byId("map").replaceChildren(...shapes);
  const missing = pops.length - placed.length;
  byId("unplaced").textContent = missing === 0 ? "" : `${missing} without a place`;
}

// Puts each name beside its dot where no other name stands: right, left, above, below, or nowhere; the dot has a title.
function nameThem(labels) {
  const isNarrow = matchMedia("(max-width: 40rem)").matches;
  const [size, gap] = isNarrow ? [10, 5] : [4.5, 3.4];
  const taken = [];
  const shapes = [];
  for (const { x, y, text } of labels.reverse()) {
    const width = text.length * size * 0.6;
    const places = [
      [x + gap, y, "start"],
      [x - gap - width, y, "end"],
      [x - width / 2, y - gap - size / 2, "middle"],
      [x - width / 2, y + gap + size / 2, "middle"],
    ];
    const isFree = ([left, middle]) =>
      left > -180 && left + width < 180 &&
      !taken.some((box) => left < box.left + box.width && box.left < left + width && Math.abs(box.middle - middle) < size);
    const place = places.find(isFree);
    if (!place) continue;
    taken.push({ left: place[0], middle: place[1], width });
    // The width is a guess: the end that is beside the dot is the one that must be right.
    const [left, middle, anchor] = place;
    const at = left + { start: 0, middle: width / 2, end: width }[anchor];
    shapes.push(shape("text", { x: at, y: middle + size * 0.35, class: "name", "text-anchor": anchor }, text));
  }
  return shapes;
}

ask();
