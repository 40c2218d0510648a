"use strict";
// The page is whole without this: it hides a series, and says the values under the pointer.
for (const figure of document.querySelectorAll(".plot")) {
  for (const button of figure.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const isShown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(isShown));
      for (const group of figure.querySelectorAll(`g[data-series="${button.dataset.series}"]`)) {
        group.toggleAttribute("hidden", !isShown);
        group.style.display = isShown ? "" : "none";
      }
    });
  }
  const svg = figure.querySelector("svg[data-x]");
  const cursor = figure.querySelector(".cursor");
  const readout = figure.querySelector(".readout");
  const places = svg.dataset.x.split("|").filter(Boolean).map((text) => {
    const at = text.indexOf(":");
    return { x: Number(text.slice(0, at)), words: text.slice(at + 1) };
  });
  const lines = [...svg.querySelectorAll("path[data-values]")].map((path) => ({
    name: path.dataset.name, values: path.dataset.values.split("|"), group: path.parentElement,
  }));
  const hide = () => { cursor.style.opacity = 0; readout.replaceChildren(); };
  svg.addEventListener("pointermove", (event) => {
    if (!places.length) return;
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    let near = 0;
    places.forEach((place, index) => { if (Math.abs(place.x - x) < Math.abs(places[near].x - x)) near = index; });
    cursor.setAttribute("x1", places[near].x);
    cursor.setAttribute("x2", places[near].x);
    cursor.style.opacity = 0.5;
    readout.replaceChildren(document.createTextNode(places[near].words));
    for (const line of lines) {
      if (line.group.style.display === "none") continue;
      const value = document.createElement("b");
      value.textContent = line.values[near];
      readout.append(document.createElement("br"), document.createTextNode(`${line.name} `), value);
    }
  });
  svg.addEventListener("pointerleave", hide);
}
