// Lines that say how far runs and tasks are. Python draws them once; from then on they ask the server,
// and when the state of one has changed, the page's script is asked to run again.

const LOST_MS = 3000;
const mounts = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  let mount = mounts.get(parentElement);
  if (!mount) mounts.set(parentElement, (mount = new States(parentElement)));
  mount.changed = (keys) => setTriggerValue("changed", keys);
  mount.update(data);
  return () => {
    mount.remove();
    mounts.delete(parentElement);
  };
}

// What has to be drawn again by the page when it changes; checkpoints only where the page asks.
const keyOf = (state, query) => (query.checkpoints ? `${state.key} ${state.checkpoints}` : state.key);

class States {
  constructor(parent) {
    this.root = document.createElement("div");
    parent.appendChild(this.root);
    this.shown = () => this.ask();
    document.addEventListener("visibilitychange", this.shown);
  }

  update({ states, query, after_s: after, sent }) {
    clearTimeout(this.next);
    if (after) this.next = setTimeout(() => this.changed(`after ${sent}`), 1000 * after);
    this.query = query;
    this.keys = states.map((state) => keyOf(state, query));
    this.draw(states);
    this.wait(states);
  }

  draw(states) {
    const lines = states.filter(({ text }) => text);
    while (this.root.children.length > lines.length) this.root.lastChild.remove();
    while (this.root.children.length < lines.length) this.root.append(line());
    lines.forEach(({ text, progress }, index) => {
      const [words, bar] = this.root.children[index].children;
      if (words.textContent !== text) words.textContent = text;
      bar.hidden = progress === null;
      bar.setAttribute("aria-valuenow", Math.round(100 * (progress ?? 0)));
      bar.firstChild.style.width = `${100 * (progress ?? 0)}%`;
    });
  }

  wait(states) {
    clearTimeout(this.timer);
    const again = states.map((state) => state.again).filter((seconds) => seconds !== null);
    if (again.length) this.timer = setTimeout(() => this.ask(), 1000 * Math.min(...again));
  }

  async ask() {
    clearTimeout(this.timer);
    if (this.removed || document.hidden) return;
    let states;
    try {
      const response = await fetch(`states?${parameters(this.query)}`);
      if (!response.ok) throw new Error(response.status);
      states = await response.json();
    } catch {
      this.timer = setTimeout(() => this.ask(), LOST_MS);
      return;
    }
    if (this.removed) return;
    this.draw(states);
    const keys = states.map((state) => keyOf(state, this.query));
    if (String(keys) !== String(this.keys)) {
      this.keys = keys;
      this.changed(keys.join(" "));
    }
    this.wait(states);
  }

  remove() {
    this.removed = true;
    clearTimeout(this.timer);
    clearTimeout(this.next);
    document.removeEventListener("visibilitychange", this.shown);
    this.root.remove();
  }
}

// Each value of a list is a parameter of its own.
function parameters(query) {
  const list = Object.entries(query).flatMap(([name, value]) => [value].flat().map((v) => [name, v]));
  return new URLSearchParams(list);
}

function line() {
  const node = document.createElement("div");
  node.className = "state-line";
  node.setAttribute("data-testid", "state-line");
  const words = document.createElement("div");
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "progress");
  bar.append(document.createElement("div"));
  node.append(words, bar);
  return node;
}
