"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const thumbnails = JSON.parse(document.getElementById("thumbnails").textContent);

// Pairs this far above and below the window are laid out too.
const MARGIN_PX = 600;
const STAGES = ["search", "fetch", "prepare", "compare", "verify_frames", "post"];
const ORDERS = {
  "highest score": (one, other) => other.score - one.score,
  "lowest score": (one, other) => one.score - other.score,
  "latest change": (one, other) => other.state_at.localeCompare(one.state_at),
  "largest group": (one, other) => other.group.files - one.group.files,
};
const FEATURES = new Map(data.features.map((feature) => [feature.name, feature]));

const at = (id) => document.getElementById(id);
const list = at("pairs");
const count = (number) => number.toLocaleString("en");
const plural = (number, name) => `${count(number)} ${name}${number === 1 ? "" : "s"}`;
const minute = (time) => `${time.slice(0, 10)} ${time.slice(11, 16)} UTC`;

// Text is inserted as text: nothing here parses HTML.
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/* ---- copying ---- */

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = element("textarea", { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  at("copied").textContent = `Copied ${what}`;
  clearTimeout(copy.timer);
  copy.timer = setTimeout(() => { at("copied").textContent = ""; }, 2500);
}

const query = (files) => `system:hash is ${files.map((file) => file.sha256).join(" ")}`;
const copyQuery = (files) => copy(query(files), `the search for ${plural(files.length, "file")}`);
const filesOf = (pairs) => [...new Set(pairs.flatMap((pair) => [pair.a, pair.b]))].map((place) => data.files[place]);

/* ---- groups: files that pairs connect ---- */

function findGroups() {
  const parents = data.files.map((_, place) => place);
  const root = (place) => {
    while (parents[place] !== place) place = parents[place] = parents[parents[place]];
    return place;
  };
  for (const pair of data.pairs) parents[root(pair.a)] = root(pair.b);
  const groups = new Map();
  data.files.forEach((_, place) => {
    const key = root(place);
    if (!groups.has(key)) groups.set(key, { files: 0 });
    groups.get(key).files += 1;
  });
  for (const pair of data.pairs) pair.group = groups.get(root(pair.a));
}

/* ---- the list of pairs ---- */

let rows = []; // {pair, top, heading}: top in pixels; heading: the pairs of its group, on its first one
let chosen = -1; // the row that the keyboard selects
const laidOut = new Map(); // row number -> its element
let sizes = {};

function isWanted(pair) {
  const text = at("text").value.trim().toLowerCase();
  const state = at("state").value;
  const decision = at("decision").value;
  const lowest = at("lowest").valueAsNumber;
  const highest = at("highest").valueAsNumber;
  return (!state || pair.state === state)
    && (!decision || pair.decision === decision)
    && !(pair.score < lowest)
    && !(pair.score > highest)
    && (!text || data.files[pair.a].sha256.includes(text) || data.files[pair.b].sha256.includes(text));
}

function arrange() {
  const wanted = data.pairs.filter(isWanted).sort(ORDERS[at("order").value]);
  const groups = new Map();
  for (const pair of wanted) {
    const key = at("grouped").checked ? pair.group : pair;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(pair);
  }
  rows = [...groups.values()].flatMap((pairs) => pairs.map((pair, place) => (
    { pair, heading: place === 0 && pairs.length > 1 ? pairs : null, inGroup: pairs.length > 1 }
  )));
  chosen = -1;
  at("count").textContent = `${count(rows.length)} of ${plural(data.pairs.length, "pair")}`;
  at("nothing").hidden = rows.length > 0;
  measure();
}

function measure() {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const style = getComputedStyle(list);
  const height = (name) => parseFloat(style.getPropertyValue(name)) * rem;
  sizes = { pair: height("--pair"), heading: height("--heading") };
  let top = 0;
  for (const row of rows) {
    row.top = top;
    top += sizes.pair + (row.heading ? sizes.heading : 0);
  }
  list.style.height = `${top}px`;
  for (const item of laidOut.values()) item.remove();
  laidOut.clear();
  layOut();
}

// The first row that ends below a height.
function rowBelow(height) {
  let from = 0;
  let to = rows.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    const end = middle + 1 < rows.length ? rows[middle + 1].top : Infinity;
    if (end > height) to = middle; else from = middle + 1;
  }
  return from;
}

function layOut() {
  const above = -list.getBoundingClientRect().top;
  const first = rowBelow(above - MARGIN_PX);
  const end = Math.min(rows.length, rowBelow(above + window.innerHeight + MARGIN_PX) + 1);
  for (const [number, item] of laidOut) {
    if (number < first || number >= end) {
      item.remove();
      laidOut.delete(number);
    }
  }
  for (let number = first; number < end; number += 1) {
    if (laidOut.has(number)) continue;
    const item = pairItem(number);
    const next = [...laidOut.keys()].filter((other) => other > number);
    list.insertBefore(item, next.length ? laidOut.get(Math.min(...next)) : null);
    laidOut.set(number, item);
  }
}

function choose(number) {
  if (!rows.length) return;
  laidOut.get(chosen)?.classList.remove("chosen");
  chosen = Math.max(0, Math.min(rows.length - 1, number));
  const row = rows[chosen];
  const bar = at("filters");
  const covered = getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
  const top = list.getBoundingClientRect().top + window.scrollY + row.top;
  const end = top + sizes.pair + (row.heading ? sizes.heading : 0);
  if (top - covered < window.scrollY) window.scrollTo(0, top - covered);
  else if (end > window.scrollY + window.innerHeight) window.scrollTo(0, end - window.innerHeight);
  layOut();
  laidOut.get(chosen).classList.add("chosen");
  laidOut.get(chosen).focus({ preventScroll: true });
}

/* ---- one pair ---- */

function pairItem(number) {
  const { pair, top, heading, inGroup } = rows[number];
  const item = element("li", { tabIndex: -1, className: inGroup ? "in-group" : "" });
  item.classList.toggle("chosen", number === chosen);
  item.setAttribute("aria-setsize", rows.length);
  item.setAttribute("aria-posinset", number + 1);
  item.style.top = `${top}px`;
  if (heading) {
    const files = filesOf(heading);
    item.append(element("div", { className: "heading" },
      `${plural(files.length, "file")} in ${plural(heading.length, "pair")}`,
      element("button", { type: "button", textContent: "Copy search for all", onclick: () => copyQuery(files) })));
  }
  const files = [data.files[pair.a], data.files[pair.b]];
  item.append(element("div", { className: "pair" },
    verdict(pair, files),
    element("div", { className: "files" }, ...files.map(fileBox)),
    featureList(pair)));
  item.addEventListener("click", () => {
    laidOut.get(chosen)?.classList.remove("chosen");
    chosen = number;
    item.classList.add("chosen");
  });
  return item;
}

function verdict(pair, files) {
  const remark = pair.reason ?? (pair.matches ? "" : "no longer matches under the current config");
  const decision = pair.decision === "open" ? "undecided" : pair.decision.replace("_", " ");
  return element("div", { className: "verdict" },
    element("span", { className: "score", title: `score ${pair.score}`, textContent: pair.score.toFixed(4) }),
    element("span", { className: `badge ${pair.state}`, title: `since ${minute(pair.state_at)}`, textContent: pair.state }),
    element("span", { className: `badge ${pair.decision}`, textContent: decision }),
    ...(remark ? [element("span", { className: "remark", title: remark, textContent: remark })] : []),
    element("button", { type: "button", textContent: "Copy search", title: query(files), onclick: () => copyQuery(files) }));
}

function fileBox(file) {
  const short = file.sha256.slice(0, 12);
  const source = thumbnails[file.id];
  const picture = source === null
    ? element("span", { textContent: "no thumbnail" })
    : element("img", { src: source, alt: `thumbnail of ${short}`, decoding: "async" });
  const facts = [
    file.width_px && file.height_px ? `${file.width_px}×${file.height_px}` : null,
    file.duration_ms === null ? null : `${(file.duration_ms / 1000).toFixed(2)} s`,
    file.size_bytes === null ? null : `${(file.size_bytes / 1e6).toFixed(2)} MB`,
    file.mime,
    file.gone_at === null ? null : "gone from Hydrus",
  ].filter((fact) => fact !== null);
  const hash = element("button", {
    type: "button", className: "hash", title: `Copy ${file.sha256}`, textContent: `${short}…`,
    onclick: () => copy(file.sha256, "the hash"),
  });
  hash.setAttribute("aria-label", `Copy SHA-256 ${short}…`);
  return element("div", { className: "file" },
    element("div", { className: "picture" }, picture),
    element("p", { title: facts.join(" · "), textContent: facts.join(" · ") }),
    hash);
}

function featureList(pair) {
  const terms = element("dl", { className: "features" });
  const values = Object.entries(pair.features);
  for (const [name, value] of values.length ? values : [["similarity", pair.score]]) {
    const { label, unit, explanation } = FEATURES.get(name) ?? { label: name, unit: "", explanation: "" };
    const shown = Number.isInteger(value) ? count(value) : Number(value).toFixed(Math.abs(value) < 100 ? 3 : 0);
    terms.append(
      element("dt", { textContent: label, title: explanation || label }),
      element("dd", { textContent: unit ? `${shown} ${unit}` : shown }));
  }
  return terms;
}

/* ---- figures ---- */

const WIDTH = 320;
const HEIGHT = 150;

function figure(title, ...content) {
  at("charts").append(element("figure", {}, element("figcaption", { textContent: title }), ...content));
}

// `labels`: one per bar. `ends`: labels of the axis. `marker.place`: between 0 and 1.
function barChart(title, values, labels, ends, marker = null) {
  const [left, right, top, bottom] = [4, WIDTH - 4, 18, HEIGHT - 18];
  const highest = Math.max(1, ...values);
  const step = (right - left) / values.length;
  const width = Math.min(step * 0.85, 40);
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${labels.join("; ")}` });
  values.forEach((value, number) => {
    const height = value ? Math.max(1, (bottom - top) * value / highest) : 0;
    picture.append(drawn("rect", {
      class: "bar", x: left + step * number + (step - width) / 2, y: bottom - height, width, height, rx: 1,
    }, drawn("title", {}, labels[number])));
  });
  picture.append(
    drawn("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    drawn("text", { x: left, y: HEIGHT - 4 }, ends[0]),
    drawn("text", { x: right, y: HEIGHT - 4, "text-anchor": "end" }, ends[1]),
    drawn("text", { x: left, y: 11 }, `highest: ${count(Math.max(...values, 0))}`));
  if (marker !== null) {
    const x = left + (right - left) * marker.place;
    picture.append(
      drawn("line", { class: "marker", x1: x, x2: x, y1: top, y2: bottom }),
      drawn("text", { class: "marked", x: marker.place > 0.6 ? x - 4 : x + 4, y: top + 10, "text-anchor": marker.place > 0.6 ? "end" : "start" }, marker.label));
  }
  figure(title, picture);
}

function drawScores() {
  const counts = data.score_counts;
  const bands = counts.length;
  const lowest = Math.min(data.min_score * bands, ...counts.flatMap((value, band) => (value ? [band] : [])));
  const first = Math.max(0, Math.min(Math.floor(lowest + 1e-9) - 1, bands - 4));
  const shown = counts.slice(first);
  const labels = shown.map((value, number) => (
    `${((first + number) / bands).toFixed(2)} to ${((first + number + 1) / bands).toFixed(2)}: ${plural(value, "pair")}`
  ));
  const place = (data.min_score - first / bands) / (1 - first / bands);
  barChart("Scores of matching pairs", shown, labels, [(first / bands).toFixed(2), "1.00"],
    { place, label: `match from ${data.min_score.toFixed(2)}` });
}

function drawRuns() {
  const { runs } = data;
  if (!runs.length) return;
  const ends = [runs[0], runs.at(-1)].map((run) => minute(run.started_at));
  const series = (name, title, value) => barChart(title, runs.map(value),
    runs.map((run) => `${minute(run.started_at)}, ${run.command}: ${plural(value(run), name)}`), ends);
  series("file", "Files in each search result", (run) => run.report.files.found);
  series("pair", "Pairs posted by each run", (run) => run.report.pairs.posted);
  drawTimes(runs.slice(-8));
}

function drawTimes(runs) {
  const [row, left, right] = [20, 72, WIDTH - 48];
  const title = "Seconds by stage";
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${row * runs.length}`, role: "img" });
  const summaries = runs.map((run, number) => {
    const { seconds } = run.report;
    const parts = STAGES.map((stage) => seconds[stage] ?? 0);
    const known = parts.reduce((sum, part) => sum + part, 0);
    parts.push(Math.max(0, seconds.total - known));
    const total = Math.max(seconds.total, known, 1e-9);
    const words = parts.map((part, stage) => `${(STAGES[stage] ?? "other").replace("_", " ")} ${part.toFixed(1)} s`).join(", ");
    const y = row * number;
    picture.append(
      drawn("text", { x: 0, y: y + 14 }, minute(run.started_at).slice(5, 16)),
      drawn("text", { x: WIDTH, y: y + 14, "text-anchor": "end" }, `${seconds.total.toFixed(1)} s`));
    let x = left;
    parts.forEach((part, stage) => {
      const width = (right - left) * part / total;
      picture.append(drawn("rect", { class: `stage-${stage}`, x, y: y + 4, width, height: row - 8 }, drawn("title", {}, words)));
      x += width;
    });
    return `${minute(run.started_at)}, ${run.command}: ${words}`;
  });
  picture.setAttribute("aria-label", `${title}: ${summaries.join("; ")}`);
  const legend = element("ul", { className: "legend" }, ...[...STAGES, "other"].map((stage, number) => (
    element("li", {}, drawn("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, drawn("rect", { class: `stage-${number}`, width: 10, height: 10 })), stage.replace("_", " "))
  )));
  figure(title, picture, legend);
}

/* ---- the page ---- */

function addOptions(id, names, first) {
  const options = names.map((name) => element("option", { value: name, textContent: name.replace("_", " ") }));
  at(id).append(...(first ? [element("option", { value: "", textContent: first })] : []), ...options);
}

function begin() {
  const parts = [`${plural(data.compared_files, "file")} compared`];
  for (const [state, number] of Object.entries(data.pair_states)) parts.push(`${count(number)} ${state}`);
  parts.push(`made ${minute(data.made_at)} by hydindex ${data.version}`);
  if (data.left_out) parts.push(`${plural(data.left_out, "pair")} with lower scores left out`);
  at("about").textContent = parts.join(" · ");
  at("attention").lastChild.append(...data.attention.map((text) => element("li", { textContent: text })));
  at("attention").hidden = !data.attention.length;
  at("overview").open = window.matchMedia("(min-width: 60rem)").matches;
  findGroups();
  drawScores();
  drawRuns();
  addOptions("state", [...new Set(data.pairs.map((pair) => pair.state))].sort(), "any");
  addOptions("decision", [...new Set(data.pairs.map((pair) => pair.decision))].sort(), "any");
  addOptions("order", Object.keys(ORDERS));
  arrange();
}

at("filters").addEventListener("input", arrange);
at("overview").addEventListener("toggle", layOut);
window.addEventListener("scroll", layOut, { passive: true });
window.addEventListener("resize", measure);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.matches("select, input:not([type=checkbox])");
  const act = isTyping
    ? { Escape: () => { event.target.blur(); choose(chosen); } }[event.key]
    : {
      j: () => choose(chosen + 1),
      ArrowDown: () => choose(chosen + 1),
      k: () => choose(chosen - 1),
      ArrowUp: () => choose(chosen - 1),
      c: () => { if (chosen >= 0) copyQuery(filesOf([rows[chosen].pair])); },
      "/": () => at("text").focus(),
    }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
begin();
