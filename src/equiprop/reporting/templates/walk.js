"use strict";
// Moves the circles of nudges of a study: what is drawn was measured, and lies beside it in the page.
const NAMESPACE = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const digits = (value, count = 3) => Number(value.toPrecision(count)).toString().replace("-", "−");
const percent = (value) => (value === null ? "unknown" : digits(100 * value, 2) + " %");

// Axes over points of the plane that are all in view, with the same scale on both.
function plane(svg, points) {
  const [width, height, margin] = [340, 300, 34];
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  const span = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)) || 1;
  const scale = (Math.min(width, height) - 2 * margin) / span;
  const centre = [(Math.max(...xs) + Math.min(...xs)) / 2, (Math.max(...ys) + Math.min(...ys)) / 2];
  const at = ([x, y]) => [width / 2 + scale * (x - centre[0]), height / 2 - scale * (y - centre[1])];
  svg.replaceChildren();
  const [x0, y0] = at([0, 0]);
  svg.append(element("path", { class: "axis", d: `M${margin / 2} ${y0}H${width - margin / 2}M${x0} ${margin / 2}V${height - margin / 2}` }));
  svg.append(element("text", { class: "label", x: width - 6, y: y0 - 5, "text-anchor": "end" }, "real"));
  svg.append(element("text", { class: "label", x: x0 + 5, y: 14 }, "imaginary"));
  return at;
}

const path = (points) => points.map((point, place) => (place ? "L" : "M") + point.map((number) => number.toFixed(1)).join(" ")).join("");
const cross = ([x, y]) => `M${x - 6} ${y - 6}L${x + 6} ${y + 6}M${x - 6} ${y + 6}L${x + 6} ${y - 6}`;

function explore(section) {
  const walks = JSON.parse(section.querySelector(".walk-data").textContent);
  const find = (name) => section.querySelector(name);
  const [sizes, points, network, unit, play] = [".size", ".points", ".network", ".unit", ".play"].map(find);
  let data, counts, angles, timer = 0, step = Infinity;

  // Another network has other units, and may have been measured at other nudges.
  function choose() {
    data = walks[Number(network.value)];
    counts = Object.keys(data.errors).map(Number);
    angles = data.rests[0].length;
    unit.replaceChildren(...data.units.map((each, place) => new Option(each.name, place)));
    for (const [slider, count] of [[sizes, data.sizes.length], [points, counts.length]]) {
      const fresh = slider.max === "";
      slider.max = count - 1;
      if (fresh) slider.value = Math.floor(count / 2);
    }
  }

  function draw() {
    const size = Number(sizes.value), count = counts[Number(points.value)];
    const chosen = data.units[Number(unit.value)], beta = data.sizes[size], rests = data.rests[size];
    const state = (k) => [chosen.real[size][k], chosen.imaginary[size][k]];
    const places = Array.from({ length: count }, (_, k) => (k * angles) / count);
    const known = [...Array(angles).keys()].filter((k) => rests[k]);
    const whole = places.every((k) => rests[k]);
    const shown = Math.min(step, count);

    const circle = known.map(state);
    let at = plane(find(".plane"), [[0, 0], ...circle]);
    if (known.length === angles) find(".plane").append(element("path", { class: "path", d: path([...circle, circle[0]].map(at)) }));
    else for (const point of circle) find(".plane").append(element("circle", { cx: at(point)[0], cy: at(point)[1], r: 1.5, class: "label" }));
    places.slice(0, shown).filter((k) => rests[k]).forEach((k) => {
      const [x, y] = at(state(k));
      find(".plane").append(element("circle", { class: "hot", cx: x, cy: y, r: 4.5 }));
      find(".plane").append(element("text", { x: x + 7, y: y - 5, class: "label" }, `${Math.round((360 * k) / angles)}°`));
    });

    let sum = [0, 0];
    const sums = [[0, 0]];
    if (whole) for (const k of places.slice(0, shown)) {
      const turn = (-2 * Math.PI * k) / angles, [re, im] = state(k);
      sum = [sum[0] + (re * Math.cos(turn) - im * Math.sin(turn)) / (count * beta), sum[1] + (re * Math.sin(turn) + im * Math.cos(turn)) / (count * beta)];
      sums.push(sum);
    }
    at = plane(find(".sum"), [...sums, [chosen.exact, 0]]);
    find(".sum").append(element("path", { class: "exact", d: cross(at([chosen.exact, 0])) }));
    find(".sum").append(element("path", { class: "line", d: path(sums.map(at)) }));
    sums.slice(1).forEach((point) => find(".sum").append(element("circle", { class: "hot", cx: at(point)[0], cy: at(point)[1], r: 3.5 })));
    find(".sum").append(element("text", { class: "label", x: 8, y: 292 }, `× the exact response, ${digits(chosen.exact)}`));

    errors(find(".errors"), size, count);
    const [error, bar] = [data.errors[count][size], data.bars[count][size]];
    sizes.setAttribute("aria-valuetext", digits(beta));
    points.setAttribute("aria-valuetext", String(count));
    find(".size-is").textContent = digits(beta);
    find(".points-is").textContent = count;
    find(".says").textContent = !whole
      ? `With N = ${count} at |β| = ${digits(beta)} the system does not come to rest under every nudge: there is no estimate.`
      : `N = ${count} at |β| = ${digits(beta)}: ${chosen.name} responds by ${digits(sum[0])} where the exact response is ${digits(chosen.exact)}. ` +
        `The whole response is off by ${percent(error)}, and its bar says ${percent(bar)}.`;
  }

  // Error and bar over N on a logarithmic axis, the chosen N marked.
  function errors(svg, size, count) {
    const [width, height, left, bottom] = [340, 300, 58, 34];
    const values = counts.flatMap((n) => [data.errors[n][size], data.bars[n][size]]).filter((value) => value > 0);
    svg.replaceChildren();
    if (!values.length) return;
    const low = Math.floor(Math.log10(Math.min(...values))), high = Math.max(Math.ceil(Math.log10(Math.max(...values))), low + 1);
    const x = (n) => left + 14 + ((width - left - 28) * counts.indexOf(n)) / Math.max(counts.length - 1, 1);
    const y = (value) => 12 + ((height - bottom - 12) * (high - Math.log10(value))) / (high - low);
    for (let power = low; power <= high; power++) {
      svg.append(element("path", { class: "grid", d: `M${left} ${y(10 ** power)}H${width}` }));
      svg.append(element("text", { class: "label", x: left - 5, y: y(10 ** power) + 4, "text-anchor": "end" }, percent(10 ** power)));
    }
    svg.append(element("path", { class: "grid", d: `M${x(count)} 8V${height - bottom}` }));
    for (const [name, of] of [["bar", data.bars], ["line", data.errors]]) {
      const known = counts.filter((n) => of[n][size] > 0);
      svg.append(element("path", { class: name, d: path(known.map((n) => [x(n), y(of[n][size])])) }));
      for (const n of known) svg.append(element("circle", { class: name === "bar" ? "barred" : "hot", cx: x(n), cy: y(of[n][size]), r: n === count ? 4.5 : 2.5 }));
    }
    for (const n of counts) svg.append(element("text", { class: "label", x: x(n), y: height - 16, "text-anchor": "middle" }, n));
    svg.append(element("text", { class: "label", x: left, y: height - 2 }, "N;  — error,  - - its bar"));
  }

  function walk() {
    clearInterval(timer);
    step = 0;
    timer = setInterval(() => {
      step += 1;
      draw();
      if (step >= counts[Number(points.value)]) { clearInterval(timer); step = Infinity; }
    }, 450);
  }

  function moved(event) {
    clearInterval(timer);
    step = Infinity;
    if (event.target === network) choose();
    draw();
  }

  for (const control of [sizes, points, network, unit]) control.addEventListener("input", moved);
  play.addEventListener("click", walk);
  find(".walk-live").hidden = false;
  choose();
  draw();
}

document.querySelectorAll(".walk").forEach(explore);
