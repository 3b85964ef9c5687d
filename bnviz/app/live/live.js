// Cards with plotly charts that change in place. Python sends titles, sentences and figures, and a
// card with an address asks the server for what is newer. The charts' DOM nodes, and with them zoom,
// hover and legend choices, stay as long as their keys do. Streamlit calls the default export again
// with each message and each theme change.

const DOUBLE_CLICK_MS = 300;
const ANSWER_MS = 250;
const LOST_MS = 3000;
const QUICK_MS = 150; // an answer that took longer is not asked for ahead of the reader
const HANDS = ["keydown", "pointerdown", "pointermove"];
const mounts = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  let mount = mounts.get(parentElement);
  if (!mount) mounts.set(parentElement, (mount = new Mount(parentElement)));
  mount.pick = (picked) => setTriggerValue("picked", picked);
  mount.update(data);
  return () => {
    mount.remove();
    mounts.delete(parentElement);
  };
}

class Mount {
  constructor(parent) {
    this.parent = parent;
    this.root = element("div", "figures", { role: "group" });
    this.cards = new Map();
    this.restUntil = 0;
    parent.appendChild(this.root);
    // A hand on a slider: new numbers wait, so that its answer finds nothing in its way.
    this.handed = ({ type, buttons }) => {
      if (type === "keydown" || buttons) this.restFor(ANSWER_MS);
    };
    for (const type of HANDS) document.addEventListener(type, this.handed, { capture: true });
    // A slider says its new value at once; Python hears of it, and answers, some time later.
    this.moved = new MutationObserver(() => this.cards.forEach((card) => card.follow()));
    this.moved.observe(document.body, { subtree: true, attributeFilter: ["aria-valuetext"] });
    this.resized = new ResizeObserver((entries) => {
      for (const { target } of entries) this.cards.get(target.dataset.chart)?.resize();
    });
    // A chart out of sight waits: drawing costs time that the training could use.
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          this.cards.get(target.dataset.card)?.see(isIntersecting);
        }
        this.draw();
      },
      { rootMargin: "300px" },
    );
    this.shown = () => this.cards.forEach((card) => card.see(card.visible));
    document.addEventListener("visibilitychange", this.shown);
  }

  update(message) {
    const theme = readTheme(this.parent.host ?? this.parent, message.palette);
    const { revision, texts, follows, values, growing } = message;
    this.root.setAttribute("aria-label", texts.group);
    this.root.style.setProperty("--card-width", `${message.card_width}px`);
    const keys = new Set(message.cards.map((card) => card.key));
    for (const [key, card] of this.cards) {
      if (!keys.has(key)) this.drop(key, card);
    }
    message.cards.forEach((content, index) => {
      const card = this.cards.get(content.key) ?? this.add(content.key);
      if (this.root.children[index] !== card.node) {
        this.root.insertBefore(card.node, this.root.children[index] ?? null);
      }
      card.update(content, { theme, revision, texts, follows, values, growing });
    });
    loadPlotly(message.plotly).then(
      () => {
        this.adoptStyle();
        this.answer();
      },
      () => this.cards.forEach((card) => card.fail()),
    );
  }

  add(key) {
    const card = new Card(key, () => this.answer(), (value) => this.pick({ card: key, value }));
    this.cards.set(key, card);
    this.resized.observe(card.plot);
    this.seen.observe(card.node);
    return card;
  }

  // What the reader has just asked for does not wait for a frame.
  answer() {
    if (!window.Plotly) return;
    if (!this.frame && this.next()?.asked) this.drawNext();
    this.draw();
  }

  drop(key, card) {
    this.cards.delete(key);
    this.resized.unobserve(card.plot);
    this.seen.unobserve(card.node);
    card.remove();
  }

  // One chart a frame, so that a slider moved meanwhile is heard between two charts. What the
  // reader has just asked for comes first, from the top, and at once; new numbers wait for their
  // turn, the chart that was drawn longest ago before the others, and drawing takes a quarter of the
  // time at most: the rest is for the reader, and on a small machine for the training. No frames
  // come while the tab is hidden, and nothing is drawn then.
  draw() {
    if (this.frame || !window.Plotly || !this.next()) return;
    clearTimeout(this.rest);
    const wait = this.next().asked ? 0 : this.restUntil - performance.now();
    if (wait > 0) {
      this.rest = setTimeout(() => this.draw(), wait);
      return;
    }
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.drawNext();
      this.draw();
    });
  }

  drawNext() {
    const began = performance.now();
    this.next()?.draw();
    this.restFor(3 * (performance.now() - began));
  }

  restFor(milliseconds) {
    this.restUntil = Math.max(this.restUntil, performance.now() + milliseconds);
  }

  next() {
    const ready = [...this.cards.values()].filter((card) => card.ready());
    const order = (a, b) => b.asked - a.asked || (a.asked ? 0 : a.drawnAt - b.drawnAt);
    return ready.sort(order)[0];
  }

  // plotly.js writes its style sheet into the document, where a shadow root does not see it.
  adoptStyle() {
    if (this.styled || !(this.parent instanceof ShadowRoot)) return;
    const source = document.getElementById("plotly.js-style-global");
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(Array.from(source?.sheet.cssRules ?? [], (rule) => rule.cssText).join("\n"));
    this.parent.adoptedStyleSheets = [...this.parent.adoptedStyleSheets, sheet];
    this.styled = true;
  }

  remove() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.rest);
    for (const type of HANDS) document.removeEventListener(type, this.handed, { capture: true });
    document.removeEventListener("visibilitychange", this.shown);
    this.frame = -1;
    this.moved.disconnect();
    this.resized.disconnect();
    this.seen.disconnect();
    this.cards.forEach((card) => card.remove());
    this.cards.clear();
    this.root.remove();
  }
}

class Card {
  constructor(key, redraw, pick) {
    this.key = key;
    this.pick = pick;
    this.redraw = redraw;
    this.visible = true;
    this.asked = true;
    this.drawnAt = 0;
    this.title = element("h3", "", { id: `title-${key}` });
    this.csv = element("button", "csv", { type: "button" });
    this.csv.disabled = true;
    this.csv.onclick = () => save(`${key}.csv`, toCsv(this.figure));
    this.page = element("button", "csv", { type: "button" });
    this.page.disabled = true;
    this.page.onclick = () => savePage(this);
    this.plot = element("div", "plot", { role: "group", "data-chart": key });
    this.stage = element("div", "stage waiting");
    this.sentence = element("figcaption");
    this.note = element("p", "note", { role: "status" });
    this.node = element("figure", "card", { "aria-labelledby": `title-${key}` });
    this.node.dataset.card = key;
    const header = element("header");
    const downloads = element("div", "downloads");
    downloads.append(this.page, this.csv);
    header.append(this.title, downloads);
    this.stage.append(this.plot);
    this.node.append(header, this.note, this.stage, this.sentence);
    this.plot.addEventListener("pointermove", ({ target, clientX, clientY }) => {
      this.pointer = { target, clientX, clientY };
    });
    this.plot.addEventListener("pointerleave", () => (this.pointer = null));
    // New numbers wait until a drag has ended, or the box being drawn would lose its chart, and
    // until plotly knows that a click on the legend is not the first half of a double click.
    this.release = () => {
      this.held = setTimeout(() => {
        this.dragged = false;
        redraw();
      }, DOUBLE_CLICK_MS + 50);
    };
    this.plot.addEventListener("pointerdown", () => {
      clearTimeout(this.held);
      this.dragged = true;
      for (const end of ["pointerup", "pointercancel"]) {
        window.addEventListener(end, this.release, { once: true, capture: true });
      }
    });
  }

  update(content, { theme, revision, texts, follows, values, growing }) {
    this.texts = texts;
    this.theme = theme;
    this.revision = revision;
    this.follows = follows;
    this.values = values;
    this.growing = growing;
    this.ahead = new Map();
    setText(this.csv, texts.csv);
    this.csv.title = texts.csv_hint;
    setText(this.page, texts.page);
    this.page.title = texts.page_hint;
    this.address = content.address;
    if (this.address && this.moved()) {
      this.follow(); // a slider says something newer than this message knows
      return;
    }
    this.show(content);
    this.wait(this.address?.again);
  }

  // A figure, or the words that stand for it until there is one.
  show(content) {
    setText(this.title, content.title);
    this.csv.setAttribute("aria-label", `${this.texts.csv_hint}: ${content.title}`);
    this.page.setAttribute("aria-label", `${this.texts.page_hint}: ${content.title}`);
    setText(this.note, content.text ?? "");
    this.node.dataset.state = content.state ?? "ready";
    this.stage.hidden = !content.figure;
    if (!content.figure) {
      this.asked = false;
      return;
    }
    this.plot.setAttribute("aria-label", content.alt);
    this.pickable = content.pickable;
    this.plot.classList.toggle("pickable", content.pickable);
    this.node.classList.toggle("wide", content.wide);
    this.stage.style.height = `${content.height}px`;
    setText(this.sentence, content.sentence);
    const asked = JSON.stringify([content.asked, this.revision, this.theme, this.texts]);
    this.asked ||= asked !== this.answers;
    this.answers = asked;
    const wire = JSON.stringify([this.revision, this.theme, this.texts, content.figure]);
    if (wire === this.wire) {
      this.asked = false;
      return;
    }
    this.wire = wire;
    this.figure = decode(content.figure);
    this.stale = true;
  }

  // ---- asking the server ------------------------------------------------------------------------

  // Out of sight nothing is asked for, and at once when it comes into sight.
  see(visible) {
    this.visible = visible;
    if (this.overdue && visible && !document.hidden) this.ask();
  }

  wait(seconds) {
    clearTimeout(this.timer);
    if (seconds) this.timer = setTimeout(() => this.ask(), 1000 * seconds);
  }

  // The parameters of the address that a slider says otherwise by now, before Python has heard of it.
  moved() {
    const changes = {};
    for (const [widget, name] of Object.entries(this.follows ?? {})) {
      const slider = document.querySelector(`.st-key-${widget} [aria-valuetext]`);
      const known = this.address.query[name];
      if (!slider || known === undefined) continue;
      const newest = name === this.growing && slider.value === slider.max;
      const said = newest ? "none" : slider.getAttribute("aria-valuetext");
      const same = said === known || Number(said) === Number(known);
      if (!same && (newest || !Number.isNaN(Number(said)))) changes[name] = said;
    }
    return Object.keys(changes).length ? changes : null;
  }

  follow() {
    const changes = this.address && this.moved();
    if (!changes) return;
    this.address = { ...this.address, query: { ...this.address.query, ...changes }, etag: "" };
    this.request?.abort();
    this.slid = Object.keys(changes)[0];
    const known = this.ahead.get(this.place());
    if (known) this.take(known);
    else this.ask();
  }

  // Where the server answers what this card shows, with some parameters changed.
  place(changes = {}) {
    return `${this.address.url}?${new URLSearchParams({ ...this.address.query, ...changes })}`;
  }

  async ask() {
    clearTimeout(this.timer);
    this.overdue = !this.visible || document.hidden;
    if (this.overdue || this.removed) return;
    const { etag } = this.address;
    const began = performance.now();
    const request = (this.request = new AbortController());
    try {
      const response = await fetch(this.place(), {
        headers: etag ? { "If-None-Match": etag } : {},
        signal: request.signal,
      });
      if (response.status === 304) {
        this.wait(Number(response.headers.get("X-Again")));
        return;
      }
      const answer = await response.json();
      if (request.signal.aborted || this.removed) return;
      if (!response.ok) throw new Error(answer.error);
      this.quick = performance.now() - began < QUICK_MS;
      this.take({ answer, etag: response.headers.get("ETag") });
    } catch (error) {
      if (error.name !== "AbortError" && !this.removed) this.wait(LOST_MS / 1000);
    }
  }

  take({ answer, etag }) {
    this.address.etag = etag;
    this.show({ title: this.title.textContent, ...answer.card, ...answer });
    this.wait(answer.again);
    this.redraw();
    if (this.quick && !answer.again) this.askAhead();
  }

  // The answers on both sides of a slider that the reader is moving, so that the next one is there
  // before it is asked for. Only what is final and was quick; a message of Python's forgets them.
  async askAhead() {
    const { ahead, slid } = this;
    const values = this.values?.[slid] ?? [];
    const at = values.indexOf(this.address.query[slid]);
    for (const value of at < 0 ? [] : [values[at + 1], values[at - 1]]) {
      const place = value === undefined ? null : this.place({ [slid]: value });
      if (!place || ahead.has(place) || this.removed) continue;
      const response = await fetch(place, { priority: "low" }).catch(() => null);
      if (!response?.ok) return;
      const answer = await response.json();
      if (!answer.again) ahead.set(place, { answer, etag: response.headers.get("ETag") });
    }
  }

  ready() {
    return this.stale && !this.dragged && (this.visible || !this.drawn);
  }

  draw() {
    const { data, layout } = resolve(this.figure, this.theme);
    nameTraces(data);
    if (this.plot.layout?.uirevision === this.revision) hideWithGroup(data, this.plot.data);
    // The same object each time: plotly rebuilds the chart when its configuration changes.
    if (this.config?.texts !== JSON.stringify(this.texts)) this.config = makeConfig(this);
    window.Plotly.react(
      this.plot,
      data,
      { template: template(this.theme), ...layout, uirevision: this.revision, autosize: true },
      this.config,
    );
    if (!this.drawn) this.plot.on("plotly_click", (event) => this.clicked(event));
    this.hover();
    this.stale = this.asked = false;
    this.drawn = true;
    this.drawnAt = performance.now();
    this.csv.disabled = this.page.disabled = false;
    this.stage.className = "stage";
  }

  // A point says what it stands for: by its own customdata, or by its series' meta.
  clicked({ points }) {
    const value = points[0]?.customdata ?? points[0]?.data.meta;
    if (this.pickable && value !== undefined && value >= 0) this.pick(value);
  }

  // plotly repeats the last mouse event itself, but inside a shadow root that one has lost its
  // target by now, and the label under a resting pointer would vanish.
  hover() {
    if (!this.pointer?.target.isConnected) return;
    const { target, clientX, clientY } = this.pointer;
    target.dispatchEvent(new MouseEvent("mousemove", { clientX, clientY }));
  }

  resize() {
    if (this.drawn && this.plot.offsetWidth) window.Plotly.Plots.resize(this.plot);
  }

  fail() {
    this.stage.className = "stage failed";
    setText(this.plot, this.texts.failed);
  }

  // A chart may be taken away in the very turn in which plotly draws it, and what plotly still has
  // to say about it then would find it emptied: that comes before any timer.
  remove() {
    this.removed = true;
    clearTimeout(this.timer);
    this.request?.abort();
    if (this.drawn) setTimeout(() => window.Plotly.purge(this.plot));
    this.node.remove();
  }
}

function element(tag, className = "", attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Once in a browser tab, however many pages and components ask.
function loadPlotly(url) {
  window.bnvizPlotly ??= new Promise((resolve, reject) => {
    window.bnvizPlotlyUrl = new URL(url, document.baseURI);
    const script = element("script", "", { src: window.bnvizPlotlyUrl });
    script.onload = () => (window.Plotly ? resolve() : reject());
    script.onerror = reject;
    document.head.appendChild(script);
  });
  return window.bnvizPlotly;
}

// ---- theme -------------------------------------------------------------------------------

function readTheme(host, palette) {
  const style = getComputedStyle(host);
  const css = (name) => style.getPropertyValue(`--${name}`).trim();
  const background = rgb(css("st-background-color"));
  const luminance = 0.2126 * background[0] + 0.7152 * background[1] + 0.0722 * background[2];
  const names = { ...palette[luminance < 128 ? "dark" : "light"] };
  for (const name of ["text", "border", "background", "secondary-background", "primary"]) {
    names[`st-${name}-color`] = css(`st-${name}-color`);
  }
  return { names, font: css("st-font"), colorway: css("st-chart-categorical-colors").split(",") };
}

let canvas;
function rgb(color) {
  canvas ??= element("canvas", "", { width: 1, height: 1 }).getContext("2d", {
    willReadFrequently: true,
  });
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
}

function paint(theme, name, alpha) {
  const color = theme.names[name] ?? theme.names["st-text-color"];
  if (!(name in theme.names)) console.warn(`No colour named "${name}" in the palette.`);
  return alpha ? `rgba(${rgb(color).slice(0, 3).join(",")},${alpha})` : color;
}

// A copy of the figure with every "var(--name)" or "var(--name/0.25)" turned into a colour.
function resolve(value, theme) {
  if (typeof value === "string") {
    const match = /^var\(--([\w-]+)(?:\/([\d.]+))?\)$/.exec(value);
    return match ? paint(theme, match[1], match[2]) : value;
  }
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map((item) => resolve(item, theme));
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, theme)]));
}

// What all figures share. As a template it reaches every axis, and a figure's own words win.
function template(theme) {
  const { names, font: family } = theme;
  const text = names["st-text-color"];
  const border = names["st-border-color"];
  const grid = paint(theme, "st-text-color", 0.12);
  const axis = {
    automargin: true,
    gridcolor: grid,
    linecolor: grid,
    tickcolor: grid,
    zeroline: false,
    zerolinecolor: paint(theme, "st-text-color", 0.35),
    tickfont: { size: 12 },
    title: { font: { size: 12 }, standoff: 8 },
  };
  const colorbar = { outlinewidth: 0, thickness: 12, tickfont: { size: 12 } };
  return {
    layout: {
      font: { family, size: 13, color: text },
      colorway: theme.colorway,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 10, t: 6, b: 40 },
      xaxis: axis,
      yaxis: axis,
      coloraxis: { colorbar },
      hovermode: "closest",
      hoverlabel: {
        bgcolor: names["st-secondary-background-color"],
        bordercolor: border,
        font: { family, size: 12, color: text },
      },
      legend: {
        orientation: "h",
        x: 0,
        xanchor: "left",
        y: 1.02,
        yanchor: "bottom",
        font: { size: 12 },
      },
      modebar: {
        bgcolor: names["st-background-color"],
        color: paint(theme, "st-text-color", 0.65),
        activecolor: text,
      },
      annotationdefaults: {
        font: { size: 12, color: text },
        arrowcolor: text,
        arrowwidth: 1,
        arrowhead: 6,
      },
      shapedefaults: { line: { color: text } },
      // On a touch screen a swipe over a chart scrolls the page; the mode bar turns zoom on.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    },
    data: { heatmap: [{ colorbar }], contour: [{ colorbar }] },
  };
}

// ---- plotly ------------------------------------------------------------------------------

function makeConfig(card) {
  const { zoom, pan, reset, png } = card.texts;
  const dictionary = { Zoom: zoom, Pan: pan, "Reset axes": reset };
  const picture = {
    name: "toImage",
    title: png,
    icon: window.Plotly.Icons.camera,
    click: (plot) => savePicture(plot, card),
  };
  return {
    texts: JSON.stringify(card.texts),
    displaylogo: false,
    doubleClickDelay: DOUBLE_CLICK_MS,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", picture]],
    locale: "page",
    locales: { page: { dictionary, format: {} } },
  };
}

function savePicture(plot, { key, theme, title }) {
  const layout = {
    ...plot.layout,
    paper_bgcolor: theme.names["st-background-color"],
    title: { text: title.textContent, x: 0.02, y: 0.97, yref: "container", yanchor: "top" },
    margin: { ...plot.layout.margin, t: 95 },
  };
  const size = { width: plot.offsetWidth, height: plot.offsetHeight + 80, scale: 2 };
  window.Plotly.downloadImage({ data: plot.data, layout }, { format: "png", filename: key, ...size });
}

// The chart as a page of its own that needs no network: the drawing library is in it.
async function savePage({ key, theme, title, sentence, figure, plot }) {
  const library = await (await fetch(window.bnvizPlotlyUrl)).text();
  const { data, layout } = resolve(figure, theme);
  const background = theme.names["st-background-color"];
  const whole = { template: template(theme), ...layout, paper_bgcolor: background };
  const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
  // "<" spelt out, so that no text can end the script.
  const script = (value) => JSON.stringify(value, plain).replaceAll("<", "\\u003c");
  const page = element("html");
  page.append(element("head"), element("body"));
  const [head, body] = page.children;
  head.append(element("meta", "", { charset: "utf-8" }), element("title"));
  setText(head.lastChild, title.textContent);
  body.style.cssText = `margin: 1.5rem; background: ${background}; color: ${theme.names["st-text-color"]}; font-family: ${theme.font}`;
  for (const [name, text] of [["h1", title], ["div", null], ["p", sentence]]) {
    body.append(element(name));
    if (text) setText(body.lastChild, text.textContent);
  }
  body.children[1].id = "plot";
  body.children[1].style.height = `${plot.offsetHeight}px`;
  const draw = `Plotly.newPlot("plot", ${script(data)}, ${script(whole)}, { responsive: true });`;
  const scripts = [library.replaceAll("</script", "<\\/script"), draw]
    .map((text) => `<script>${text}</script>`)
    .join("\n");
  save(`${key}.html`, `<!doctype html>\n${page.outerHTML.replace("</body>", () => `${scripts}</body>`)}`, "text/html");
}

// A hidden series is remembered by its uid: by its name, so that others may come and go. The
// name is spelt in letters and digits, for plotly puts the uid into CSS selectors.
function nameTraces(traces) {
  const count = {};
  for (const trace of traces) {
    const letters = Array.from(trace.name ?? "", (letter) => letter.codePointAt(0).toString(36));
    const name = [trace.type, ...letters].join("-");
    count[name] = (count[name] ?? 0) + 1;
    trace.uid ??= `${name}-${count[name]}`;
  }
}

// A series that comes later goes with its group, where the reader has hidden all that there was.
function hideWithGroup(traces, before) {
  const groups = (kept) => new Set(before.filter(kept).map(({ legendgroup }) => legendgroup));
  const hidden = groups(({ visible }) => visible === "legendonly");
  const shown = groups(({ visible }) => visible === undefined || visible === true);
  for (const trace of traces) {
    const { legendgroup } = trace;
    if (legendgroup && hidden.has(legendgroup) && !shown.has(legendgroup)) {
      trace.visible ??= "legendonly";
    }
  }
}

// ---- data --------------------------------------------------------------------------------

const ARRAYS = {
  f4: Float32Array,
  f8: Float64Array,
  i1: Int8Array,
  u1: Uint8Array,
  i2: Int16Array,
  u2: Uint16Array,
  i4: Int32Array,
};

// Typed arrays are decoded here, once: plotly would do so again at each redraw.
function decode(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value.bdata !== "string") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, decode(v)]));
  }
  const bytes = Uint8Array.from(atob(value.bdata), (letter) => letter.charCodeAt(0));
  const numbers = new ARRAYS[value.dtype](bytes.buffer);
  const flat = value.level ? fromLevels(numbers, value) : numbers;
  if (!value.shape) return flat;
  const [rows, columns] = value.shape.split(",").map(Number);
  return Array.from({ length: rows }, (_, row) => flat.subarray(row * columns, (row + 1) * columns));
}

// A heatmap's values travel as levels of their range; the number above all of them is no value.
function fromLevels(numbers, { low, level }) {
  return Float32Array.from(numbers, (n) => (n === 65535 ? NaN : low + n * level));
}

// One line a point, as `frame_of` in charts/encoding.py has them: panel (its title, or the name of its
// y axis), series (what `meta` says, else its name), variant, quantity and unit of y, x, y and, for a
// heatmap, z, whose gaps are left out.
function toCsv({ data, layout }) {
  const cell = (value) => {
    const text = String(value ?? "");
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const at = (array, index) => {
    const value = array ? array[index] : index;
    return array instanceof Float32Array ? Number(value.toPrecision(7)) : value;
  };
  const number = (axis) => Number((axis ?? "").slice(1) || 1);
  const lines = [["panel", "series", "variant", "quantity", "unit", "x", "y", "z"]];
  for (const { name, meta, legendgroup = "", xaxis, yaxis, x, y, z } of data) {
    const of = number(yaxis);
    const title = layout[`yaxis${of === 1 ? "" : of}`]?.title;
    const [, quantity, unit = ""] = /^(.*?)(?: \(([^()]*)\))?$/.exec(title?.text ?? title ?? "");
    const panel = layout.meta?.panels?.[number(xaxis) - 1] ?? (quantity || of);
    const series = (meta?.series ?? name ?? "").replaceAll(/<[^>]*>/g, "");
    const place = [panel, series, legendgroup, quantity, unit];
    if (z) {
      z.forEach((row, j) => row.forEach((value, i) => {
        if (Number.isFinite(value)) lines.push([...place, at(x, i), at(y, j), at(row, i)]);
      }));
    } else {
      for (let i = 0; i < (y ?? x ?? []).length; i++) lines.push([...place, at(x, i), at(y ?? x, i)]);
    }
  }
  return lines.map((line) => line.map(cell).join(",")).join("\n");
}

function save(filename, text, type = "text/csv") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", "", { href: url, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
