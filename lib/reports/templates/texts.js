// The texts lie in the page compressed; only those that are looked at become elements. Whatever a text
// says is set as text, never as markup.
const AT_ONCE = 10, DARKEST = {{darkest}}, SHADE = "{{shade}}", CURVE = 20;
const byId = (id) => document.getElementById(id);
const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const label = (metric) => metric.replaceAll("_", " ").replace("uid", "UID");

async function unpacked() {
  const bytes = Uint8Array.from(atob(byId("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function curve(bits) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const sums = [], counts = [];
  bits.forEach((value, i) => {
    const at = Math.floor((i * CURVE) / bits.length);
    sums[at] = (sums[at] || 0) + value; counts[at] = (counts[at] || 0) + 1;
  });
  const points = sums.map((sum, at) => [(at + 0.5) / CURVE, sum / counts[at]]).filter((point) => point);
  const most = 120; // tenths of a bit
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const ends = points.length ? `${(points[0][1] / 10).toFixed(1)} bits first, ${(points[points.length - 1][1] / 10).toFixed(1)} last` : "none";
  svg.setAttribute("aria-label", `mean surprisal along the text: ${ends}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", points.map(([x, y], i) => `${i ? "L" : "M"}${100 * x} ${40 - 38 * Math.min(y / most, 1)}`).join(""));
  svg.append(path);
  return svg;
}

function shaded(text) {
  const body = element("div", "tokens");
  let end = 0;
  text.lengths.forEach((length, i) => {
    const token = text.text.slice(end, end + length), bits = text.bits[i] / 10;
    end += length;
    if (!token) return;
    const span = element("span", "", token);
    span.style.background = `rgba(${SHADE}, ${(0.75 * Math.min(Math.max(bits / DARKEST, 0), 1)).toFixed(2)})`;
    span.title = `${JSON.stringify(token)}: ${bits.toFixed(1)} bits${text.ranks[i] ? `, rank ${text.ranks[i]}` : ""}`;
    body.append(span);
  });
  body.append(text.text.slice(end));
  return body;
}

// Of the texts of one source and opening the chosen sample, or the only one there is.
const chosen = (texts, sample) => texts?.find((text) => text.sample === sample) ?? (texts?.length === 1 ? texts[0] : undefined);

function column(source, text, several) {
  const made = element("section", "text");
  made.append(element("h3", "", text && several ? `${source} (${text.sample + 1} of ${several})` : source));
  if (!text) { made.append(element("p", "none", "no text")); return made; }
  const figures = Object.entries(text.metrics).map(([name, value]) => `${label(name)} ${value === null ? "–" : value}`);
  made.append(element("div", "figures", figures.join(" · ") + (text.status === "ok" ? "" : ` · ${text.status}`)));
  if (text.bits.length) made.append(curve(text.bits));
  made.append(shaded(text));
  return made;
}

unpacked().then(({ sources, metrics, documents }) => {
  let page = 0, found = documents, sample = 0;
  byId("order").append(new Option("as in the dataset", ""));
  for (const metric of metrics) {
    byId("order").append(new Option(`${label(metric)}, lowest first`, `+${metric}`), new Option(`${label(metric)}, highest first`, `-${metric}`));
  }
  sources.forEach((source) => byId("source").append(new Option(source, source)));
  const samples = 1 + Math.max(0, ...documents.flatMap((d) => Object.values(d.texts).flat().map((text) => text.sample)));
  for (let i = 0; i < samples; i++) byId("sample").append(new Option(`${i + 1} of ${samples}`, i));
  byId("samples").hidden = samples === 1;
  documents.forEach((d) => {
    d.all = [d.doc_id, d.title, d.prompt, ...Object.values(d.texts).flat().map((t) => t.text)].join("\n").toLowerCase();
  });

  const show = () => {
    const shown = found.slice(page * AT_ONCE, (page + 1) * AT_ONCE).map((d) => {
      const made = element("article", "document");
      made.id = d.doc_id;
      made.append(element("h2", "", d.doc_id), element("div", "prompt", d.prompt));
      const columns = element("div", "columns");
      sources.forEach((source) => {
        const own = d.texts[source];
        columns.append(column(source, chosen(own, sample), own?.length > 1 ? own.length : 0));
      });
      made.append(columns);
      return made;
    });
    byId("documents").replaceChildren(...shown);
    const last = Math.min((page + 1) * AT_ONCE, found.length);
    byId("count").textContent = found.length ? `${page * AT_ONCE + 1}–${last} of ${found.length}` : "nothing found";
    byId("previous").disabled = page === 0;
    byId("next").disabled = last >= found.length;
  };
  const choose = () => {
    const wanted = byId("search").value.trim().toLowerCase();
    found = documents.filter((d) => d.all.includes(wanted));
    const order = byId("order").value, source = byId("source").value;
    if (order) {
      const sign = order[0] === "+" ? 1 : -1, metric = order.slice(1);
      const value = (d) => chosen(d.texts[source], sample)?.metrics[metric] ?? null;
      // What has no value comes last either way.
      found.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)));
    }
    page = 0;
    show();
  };
  const turn = (by) => { page += by; show(); byId("documents").scrollIntoView(); };
  byId("search").addEventListener("input", choose);
  byId("order").addEventListener("change", choose);
  byId("source").addEventListener("change", choose);
  byId("sample").addEventListener("change", () => {
    sample = Number(byId("sample").value);
    const before = page;
    choose();
    if (!byId("order").value) { page = before; show(); }  // the same openings, other texts
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  document.querySelector("form.bar").addEventListener("submit", (event) => event.preventDefault());
  const goTo = () => {
    // A text that is not the first of its opening is named with its number: #name~2.
    let wanted = decodeURIComponent(location.hash.slice(1));
    const numbered = wanted.match(/^(.*)~(\d+)$/s);
    if (numbered && !found.some((d) => d.doc_id === wanted)) {
      wanted = numbered[1];
      sample = Math.min(Number(numbered[2]), samples - 1);
      byId("sample").value = sample;
    }
    const at = found.findIndex((d) => d.doc_id === wanted);
    if (at >= 0) { page = Math.floor(at / AT_ONCE); show(); byId(wanted).scrollIntoView(); }
  };
  addEventListener("hashchange", goTo);
  show();
  goTo();
  document.body.dataset.ready = "true";
});
