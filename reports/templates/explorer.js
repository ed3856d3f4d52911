"use strict";
// The query explorer. All texts reach the page through textContent, never as markup.
{
  const make = (tag, options = {}, ...children) => {
    const { className, text, ...attributes } = options;
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  };
  const TIE = 5e-5; // as in the tables
  const signed = (value) => Math.abs(value) <= TIE ? "0" : (value > 0 ? "+" : "−") + Math.abs(value).toFixed(3);
  const milliseconds = (value) => value === null ? "" : ` · ${Number(value.toPrecision(3)).toLocaleString("en")} ms`;

  const explore = (root, data) => {
    const ranked = data.tops.map((tops) => tops.split(" "));
    const queries = data.ids.map((id, place) => ({ id, place, text: data.queries[place] || `query ${id}` })); // runs come without texts
    const value = (query, index) => data.values[index][query.place] === null ? null : data.values[index][query.place] * data.unit;
    const top = (query, index) => [...ranked[index][query.place]].map((character) => character.codePointAt(0) - data.zero);
    // What is known of a query's passages, by first-stage rank: they are listed for the ranks that any system shows.
    const passages = (query) => {
      const shown = [...new Set(data.systems.flatMap((_, index) => top(query, index)))].sort((a, b) => a - b);
      const [ids, texts] = [data.docs[query.id], data.texts[query.id]];
      return new Map(shown.map((rank, place) => [rank,
        { id: ids?.[place] ?? `first-stage rank ${rank + 1}`, grade: data.grades[query.place][place], text: texts?.[place] }]));
    };
    const part = (role) => root.querySelector(`[data-role="${role}"]`);
    const [system, against, filter, order] = ["system", "against", "filter", "order"].map(part);
    const others = data.systems.map((_, index) => index).filter((index) => data.systems[index] !== data.baseline);
    const baseline = Math.max(0, data.systems.indexOf(data.baseline));
    const state = { query: null, shown: new Set() };
    for (const [select, chosen] of [[system, others[0] ?? 0], [against, baseline]]) {
      data.systems.forEach((label, index) => select.append(make("option", { value: index, text: label })));
      select.value = chosen;
    }

    const delta = (query) => {
      const [a, b] = [value(query, system.value), value(query, against.value)];
      return a === null || b === null ? null : a - b;
    };

    const tally = () => {
      const deltas = queries.map(delta).filter((value) => value !== null);
      const counts = {
        win: deltas.filter((value) => value > TIE).length,
        tie: deltas.filter((value) => Math.abs(value) <= TIE).length,
        loss: deltas.filter((value) => value < -TIE).length,
      };
      part("tally").replaceChildren();
      if (!deltas.length) return;
      const bar = make("div", { className: "bar", "aria-hidden": "true" });
      for (const [name, count] of Object.entries(counts)) {
        if (count) bar.append(make("span", { className: name, style: `flex: ${count}` }));
      }
      const words = `${data.systems[system.value]} wins ${counts.win}, ties ${counts.tie} and loses ${counts.loss} of ` +
        `${deltas.length} queries against ${data.systems[against.value]} (${data.measure}).`;
      part("tally").append(bar, make("span", { text: words }));
    };

    const list = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = queries.filter((query) => words.every((word) => `${query.id} ${query.text}`.toLowerCase().includes(word)));
      if (order.value !== "file") {
        const sign = order.value === "wins" ? -1 : 1;
        rows.sort((a, b) => sign * ((delta(a) ?? 0) - (delta(b) ?? 0)));
      }
      const widest = Math.max(...queries.map((query) => Math.abs(delta(query) ?? 0)), TIE);
      const items = rows.map((query) => {
        const change = delta(query);
        const button = make("button", { type: "button", "aria-pressed": query === state.query, "data-query": query.id },
          make("span", { text: query.text, dir: "auto" }),
          make("span", { className: "delta", text: change === null ? "" : signed(change) }));
        if (change !== null) {
          const size = 50 * Math.abs(change) / widest;
          const style = `width: ${size}%; left: ${change < 0 ? 50 - size : 50}%`;
          button.append(make("span", { className: "meter" }, make("span", { className: change < 0 ? "loss" : "win", style })));
        }
        button.addEventListener("click", () => { state.query = query; mark(); detail(); });
        return make("li", {}, button);
      });
      part("list").replaceChildren(...(items.length ? items : [make("li", { className: "none", text: "No query has these words." })]));
      return rows;
    };

    const mark = () => part("list").querySelectorAll("button").forEach((button) =>
      button.setAttribute("aria-pressed", button.dataset.query === state.query?.id));

    const entry = ({ id, grade, text }, position, rank) => {
      const moved = position - rank;
      const movement = moved === 0 ? ["", "="] : moved > 0 ? ["rose", `▲${moved}`] : ["fell", `▼${-moved}`];
      const item = make("li", {}, make("div", { className: "row" },
        make("span", { className: "rank", text: rank + 1 }),
        grade === null
          ? make("span", { className: "grade g-none", text: "?", title: "not judged" })
          : make("span", { className: `grade g-${Math.max(0, Math.min(3, grade))}`, text: grade, title: `grade ${grade}` }),
        make("span", { className: "doc", text: id, title: id }),
        make("span", { className: `moved ${movement[0]}`, text: movement[1], title: `rank ${position + 1} in the first stage` })));
      if (text) {
        const passage = make("p", { className: "passage", text, dir: "auto" });
        item.append(passage);
        if (text.length > 160) {
          const more = make("button", { className: "more", type: "button", text: "more", "aria-expanded": "false" });
          more.addEventListener("click", () => {
            const open = passage.classList.toggle("open");
            more.textContent = open ? "less" : "more";
            more.setAttribute("aria-expanded", open);
          });
          item.append(more);
        }
      }
      return item;
    };

    const column = (query, index) => {
      const scored = value(query, index);
      const score = scored === null ? "" : `${data.measure} ${scored.toFixed(4)}`;
      const ranking = make("ol", { className: "ranking" });
      const known = passages(query);
      top(query, index).forEach((position, rank) => ranking.append(entry(known.get(position), position, rank)));
      return make("section", { "aria-label": data.systems[index] },
        make("h4", { text: data.systems[index] }),
        make("p", { className: "score", text: score + milliseconds(data.ms[index][query.place]) }), ranking);
    };

    const detail = () => {
      const query = state.query;
      if (!query) return part("detail").replaceChildren();
      const shown = data.systems.map((_, index) => index).filter((index) => state.shown.has(index));
      const choose = make("div", { className: "choose", role: "group", "aria-label": "Systems shown side by side" });
      data.systems.forEach((label, index) => {
        const box = make("input", { type: "checkbox" });
        box.checked = state.shown.has(index);
        box.addEventListener("change", () => {
          if (box.checked) state.shown.add(index); else state.shown.delete(index);
          const columns = part("detail").querySelector(".columns");
          columns.replaceChildren(...data.systems.flatMap((_, one) => state.shown.has(one) ? [column(query, one)] : []));
        });
        choose.append(make("label", {}, box, ` ${label}`));
      });
      const about = `Query ${query.id} · ${data.candidates[query.place]} candidates · ${data.relevant[query.place]} passages known to be relevant`;
      part("detail").replaceChildren(
        make("h3", { text: query.text, dir: "auto" }),
        make("p", { className: "about", text: about + (query.id in data.texts ? "" : " · passage texts are not in this page") }),
        choose,
        make("div", { className: "columns", tabindex: "0", role: "region", "aria-label": "Rankings side by side" },
          ...shown.map((index) => column(query, index))));
    };

    const compare = () => {
      state.shown = new Set([Number(system.value), Number(against.value)]);
      tally();
      const rows = list();
      state.query ??= rows[0] ?? null;
      mark();
      detail();
    };
    system.addEventListener("change", compare);
    against.addEventListener("change", compare);
    order.addEventListener("change", list);
    filter.addEventListener("input", list);
    compare();
    root.dataset.ready = "true";
  };

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      unpack(entry.target.querySelector('[data-role="packed"]').textContent).then((data) => explore(entry.target, data));
    }
  }, { rootMargin: "800px" });
  document.querySelectorAll("[data-explorer]").forEach((root) => near.observe(root));
}
