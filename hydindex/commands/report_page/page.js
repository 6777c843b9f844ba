"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const thumbnails = JSON.parse(document.getElementById("thumbnails").textContent);

// Pairs this far above and below the window are laid out too.
const MARGIN_PX = 600;
const ORDERS = {
  "highest score": (one, other) => other.score - one.score,
  "lowest score": (one, other) => one.score - other.score,
  "latest change": (one, other) => other.state_at.localeCompare(one.state_at),
};
const FEATURES = new Map(data.features.map((feature) => [feature.name, feature]));

const at = (id) => document.getElementById(id);
const list = at("pairs");
const count = (number) => number.toLocaleString("en");
const plural = (number, name) => `${count(number)} ${name}${number === 1 ? "" : "s"}`;
const minute = (time) => `${time.slice(0, 10)} ${time.slice(11, 16)} UTC`;

// Text is inserted as text: nothing here parses HTML.
function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* ---- copying ---- */

async function copy(text, what) {
  await navigator.clipboard.writeText(text);
  at("copied").textContent = `Copied ${what}`;
  clearTimeout(copy.timer);
  copy.timer = setTimeout(() => { at("copied").textContent = ""; }, 2500);
}

const query = (files) => `system:hash is ${files.map((file) => file.sha256).join(" ")}`;
const copyQuery = (files) => copy(query(files), `the search for ${plural(files.length, "file")}`);
const filesOf = (pairs) => [...new Set(pairs.flatMap((pair) => [pair.a, pair.b]))].map((position) => data.files[position]);

// A group: files that pairs connect.
function findGroups() {
  const parents = data.files.map((_, position) => position);
  const root = (position) => {
    while (parents[position] !== position) position = parents[position];
    return position;
  };
  for (const pair of data.pairs) parents[root(pair.a)] = root(pair.b);
  for (const pair of data.pairs) pair.group = root(pair.a);
}

/* ---- the list of pairs ---- */

// {pair, heading, inGroup, top, end, item}. heading: the pairs of a group, on its first row. top and
// end: pixels. item: the element, if it is laid out.
let rows = [];
let selected = -1; // the row that the keyboard selects

function passesFilters(pair) {
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
  const filtered = data.pairs.filter(passesFilters).sort(ORDERS[at("order").value]);
  const groups = new Map();
  for (const pair of filtered) {
    const key = at("grouped").checked ? pair.group : pair;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(pair);
  }
  rows = [...groups.values()].flatMap((pairs) => pairs.map((pair, position) => (
    { pair, heading: position === 0 && pairs.length > 1 ? pairs : null, inGroup: pairs.length > 1 }
  )));
  selected = -1;
  at("count").textContent = `${count(rows.length)} of ${plural(data.pairs.length, "pair")}`;
  at("nothing").hidden = rows.length > 0;
  measure();
}

function measure() {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const style = getComputedStyle(list);
  const height = (name) => parseFloat(style.getPropertyValue(name)) * rem;
  const [pairHeight, headingHeight] = [height("--pair"), height("--heading")];
  let top = 0;
  for (const row of rows) {
    row.top = top;
    top += pairHeight + (row.heading ? headingHeight : 0);
    row.end = top;
    row.item = null;
  }
  list.style.height = `${top}px`;
  list.replaceChildren();
  layOut();
}

// Add the rows near the window to the list, and remove all others from it.
function layOut() {
  const windowTop = -list.getBoundingClientRect().top;
  const windowEnd = windowTop + window.innerHeight;
  let nextItem = null;
  for (let number = rows.length - 1; number >= 0; number -= 1) {
    const row = rows[number];
    if (row.end < windowTop - MARGIN_PX || row.top > windowEnd + MARGIN_PX) {
      row.item?.remove();
      row.item = null;
      continue;
    }
    if (!row.item) {
      row.item = pairItem(number);
      list.insertBefore(row.item, nextItem);
    }
    nextItem = row.item;
  }
}

function select(number) {
  if (!rows.length) return;
  rows[selected]?.item?.classList.remove("selected");
  selected = Math.max(0, Math.min(rows.length - 1, number));
  const row = rows[selected];
  const bar = at("filters");
  const covered = getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
  const listTop = list.getBoundingClientRect().top + window.scrollY;
  if (listTop + row.top - covered < window.scrollY) window.scrollTo(0, listTop + row.top - covered);
  else if (listTop + row.end > window.scrollY + window.innerHeight) window.scrollTo(0, listTop + row.end - window.innerHeight);
  layOut();
  row.item.classList.add("selected");
  row.item.focus({ preventScroll: true });
}

/* ---- one pair ---- */

function pairItem(number) {
  const { pair, top, heading, inGroup } = rows[number];
  const item = element("li", { tabIndex: -1, ariaSetSize: rows.length, ariaPosInSet: number + 1 });
  item.classList.toggle("in-group", inGroup);
  item.classList.toggle("selected", number === selected);
  item.style.top = `${top}px`;
  if (heading) {
    const files = filesOf(heading);
    item.append(element("div", { className: "heading" },
      `${plural(files.length, "file")} in ${plural(heading.length, "pair")}`,
      element("button", { type: "button", textContent: "Copy search for all", onclick: () => copyQuery(files) })));
  }
  const files = [data.files[pair.a], data.files[pair.b]];
  item.append(element("div", { className: "pair" },
    pairSummary(pair, files),
    element("div", { className: "files" }, ...files.map(fileBox)),
    featureList(pair)));
  item.addEventListener("click", () => {
    rows[selected]?.item?.classList.remove("selected");
    selected = number;
    item.classList.add("selected");
  });
  return item;
}

function pairSummary(pair, files) {
  const remark = pair.reason ?? (pair.matches ? "" : "no longer matches under the current config");
  const decision = pair.decision === "open" ? "undecided" : pair.decision.replace("_", " ");
  return element("div", { className: "pair-summary" },
    element("span", { className: "score", title: `score ${pair.score}`, textContent: pair.score.toFixed(4) }),
    element("span", { className: `badge ${pair.state}`, title: `since ${minute(pair.state_at)}`, textContent: pair.state }),
    element("span", { className: `badge ${pair.decision}`, textContent: decision }),
    ...(remark ? [element("span", { className: "remark", title: remark, textContent: remark })] : []),
    element("button", { type: "button", textContent: "Copy search", title: query(files), onclick: () => copyQuery(files) }));
}

function fileBox(file) {
  const short = file.sha256.slice(0, 12);
  const source = thumbnails[file.id];
  const thumbnail = source === null
    ? element("span", { textContent: "no thumbnail" })
    : element("img", { src: source, alt: `thumbnail of ${short}`, decoding: "async" });
  const facts = [
    file.width_px && file.height_px ? `${file.width_px}×${file.height_px}` : null,
    file.duration_ms === null ? null : `${seconds(file.duration_ms)} s`,
    file.size_bytes === null ? null : `${(file.size_bytes / 1e6).toFixed(2)} MB`,
    file.mime,
    file.gone_at === null ? null : "gone from Hydrus",
  ].filter((fact) => fact !== null);
  const hash = element("button", {
    type: "button", className: "hash", title: `Copy ${file.sha256}`, textContent: `${short}…`,
    ariaLabel: `Copy SHA-256 ${short}…`, onclick: () => copy(file.sha256, "the hash"),
  });
  return element("div", { className: "file" },
    element("div", { className: "thumbnail" }, thumbnail),
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

/* ---- pictures that many files share ---- */

const seconds = (duration_ms) => (duration_ms / 1000).toFixed(2);

function sharedPicture(shared) {
  const files = shared.sha256s.map((sha256) => ({ sha256 }));
  const [shortest, longest] = shared.durations_ms.map(seconds);
  return element("li", { className: "shared" },
    element("div", { className: "heading" },
      `${plural(files.length, "file")} in ${plural(shared.pair_count, "pair")}, ${shortest} to ${longest} s`,
      element("button", { type: "button", textContent: "Copy search for all", onclick: () => copyQuery(files) })),
    element("div", { className: "files" }, ...shared.examples.map((position) => fileBox(data.files[position]))));
}

/* ---- the scores ---- */

// A bar for each band of scores, from the one below the first that is used or matches.
function drawScores() {
  const [width, height, top, bottom] = [320, 100, 18, 82];
  const counts = data.score_counts;
  const bands = counts.length;
  const firstUsed = counts.findIndex((value) => value > 0);
  const firstMatching = Math.floor(data.min_score * bands + 1e-9);
  const first = Math.max(0, Math.min(firstMatching, firstUsed < 0 ? bands : firstUsed) - 1);
  const lowest = first / bands;
  const highest = Math.max(1, ...counts);
  const step = width / (bands - first);
  const labels = [];
  const bars = [];
  for (let band = first; band < bands; band += 1) {
    const label = `${(band / bands).toFixed(2)} to ${((band + 1) / bands).toFixed(2)}: ${plural(counts[band], "pair")}`;
    const barHeight = counts[band] && Math.max(1, (bottom - top) * counts[band] / highest);
    labels.push(label);
    bars.push(svg("rect", {
      class: "bar", x: step * (band - first + 0.1), y: bottom - barHeight, width: step * 0.8, height: barHeight,
    }, svg("title", {}, label)));
  }
  const marker = width * (data.min_score - lowest) / (1 - lowest);
  at("scores").append(svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": labels.join("; ") },
    ...bars,
    svg("line", { class: "axis", x1: 0, x2: width, y1: bottom, y2: bottom }),
    svg("line", { class: "marker", x1: marker, x2: marker, y1: top, y2: bottom }),
    svg("text", { y: height - 4 }, lowest.toFixed(2)),
    svg("text", { x: width, y: height - 4, "text-anchor": "end" }, "1.00"),
    svg("text", { y: 11 }, `highest: ${plural(Math.max(...counts), "pair")}; pairs match from ${data.min_score.toFixed(2)}`)));
}

/* ---- the page ---- */

function addOptions(id, names) {
  at(id).append(...names.map((name) => element("option", { value: name, textContent: name.replace("_", " ") })));
}

function begin() {
  const parts = [`${plural(data.compared_files, "file")} compared`];
  for (const [state, number] of Object.entries(data.pair_states)) parts.push(`${count(number)} ${state}`);
  parts.push(`written ${minute(data.written_at)} by hydindex ${data.version}`);
  if (data.left_out) parts.push(`${plural(data.left_out, "pair")} with lower scores left out`);
  at("about").textContent = parts.join(" · ");
  at("attention").lastChild.append(...data.attention.map((text) => element("li", { textContent: text })));
  at("attention").hidden = !data.attention.length;
  for (const id of ["overview", "shared"]) at(id).open = window.matchMedia("(min-width: 60rem)").matches;
  at("shared").lastElementChild.append(...data.shared_pictures.map(sharedPicture));
  at("shared").hidden = !data.shared_pictures.length;
  findGroups();
  drawScores();
  addOptions("state", [...new Set(data.pairs.map((pair) => pair.state))].sort());
  addOptions("decision", [...new Set(data.pairs.map((pair) => pair.decision))].sort());
  addOptions("order", Object.keys(ORDERS));
  arrange();
}

at("filters").addEventListener("input", arrange);
for (const id of ["overview", "shared"]) at(id).addEventListener("toggle", layOut);
window.addEventListener("scroll", layOut, { passive: true });
window.addEventListener("resize", measure);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.matches("select, input:not([type=checkbox])");
  const act = isTyping
    ? { Escape: () => { event.target.blur(); select(selected); } }[event.key]
    : {
      j: () => select(selected + 1),
      ArrowDown: () => select(selected + 1),
      k: () => select(selected - 1),
      ArrowUp: () => select(selected - 1),
      c: () => { if (selected >= 0) copyQuery(filesOf([rows[selected].pair])); },
      "/": () => at("text").focus(),
    }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
begin();
