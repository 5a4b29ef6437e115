"use strict";
// Draws the figures of a report from the JSON in its page, in the page's own colors.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const parsed = new Map();

  const dataOf = (id) => {
    if (!parsed.has(id)) parsed.set(id, JSON.parse(document.getElementById(id).textContent));
    return parsed.get(id);
  };

  // "var(--blue)" becomes the page's blue, "fade(var(--blue))" a transparent one.
  const painter = () => {
    const style = getComputedStyle(document.documentElement);
    const color = (text) => {
      const found = /^(fade\()?var\((--[a-z]+)\)\)?$/.exec(text);
      if (!found) return text;
      const hex = style.getPropertyValue(found[2]).trim();
      if (!found[1]) return hex;
      const part = (at) => parseInt(hex.slice(at, at + 2), 16);
      return `rgba(${part(1)},${part(3)},${part(5)},0.25)`;
    };
    const paint = (value) => {
      if (typeof value === "string") return color(value);
      if (Array.isArray(value)) return value.length && typeof value[0] === "object" ? value.map(paint) : value;
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, paint(item)]));
      }
      return value;
    };
    return paint;
  };

  const axis = (own) => ({
    automargin: true, gridcolor: "var(--grid)", linecolor: "var(--muted)", showline: true,
    mirror: true, ticks: "outside", ticklen: 4, tickcolor: "var(--muted)", zeroline: false,
    ...own, title: { standoff: 8, font: { size: 12 }, ...own.title },
  });

  const layoutOf = (own) => ({
    ...own,
    xaxis: axis(own.xaxis),
    yaxis: axis(own.yaxis),
    margin: { l: 52, r: 14, t: own.showlegend ? 30 : 14, b: 42 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 11.5, color: "var(--quiet)" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hovermode: "closest",
    hoverlabel: { bgcolor: "var(--card)", bordercolor: "var(--muted)", font: { color: "var(--text)" } },
    barmode: "overlay",
    bargap: 0.15,
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.01, yanchor: "bottom" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "var(--muted)", activecolor: "var(--text)" },
  });

  const config = {
    responsive: true, displaylogo: false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    toImageButtonOptions: { format: "png", scale: 3 },
  };

  const shown = new Map();
  const draw = (place, spec) => {
    const tall = parseFloat(place.dataset.tall) || 1;
    const width = Math.max(place.clientWidth, 260);
    const height = Math.round(Math.max(190, Math.min(340, width * 0.72) * tall));
    place.style.height = `${height}px`;
    const paint = painter();
    const data = paint(spec.data);
    // More is farther from the background, whichever that is.
    for (const trace of data) if (trace.colorscale === "Cividis") trace.reversescale = !dark.matches;
    Plotly.react(place, data, paint({ ...layoutOf(spec.layout), height }), config);
    shown.set(place, spec);
  };

  const specOf = (place) => dataOf(place.dataset.from)[Number(place.dataset.panel)];
  const places = [...document.querySelectorAll(".plot[data-from]")];
  const drawOnce = (place) => { if (!shown.has(place)) draw(place, specOf(place)); };

  // A figure is drawn when it comes near the window: long reports open at once.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { watcher.unobserve(entry.target); drawOnce(entry.target); }
    }
  }, { rootMargin: "600px" });
  places.forEach((place) => watcher.observe(place));
  window.addEventListener("beforeprint", () => places.forEach(drawOnce));
  dark.addEventListener("change", () => shown.forEach((spec, place) => draw(place, spec)));

  const chooser = document.getElementById("explorer-star");
  if (chooser) {
    const place = document.getElementById("plot-explorer");
    const link = document.getElementById("explorer-page");
    const choose = () => {
      const entry = dataOf("data-explorer")[Number(chooser.value)];
      link.href = entry.page;
      draw(place, entry.spec);
    };
    chooser.addEventListener("change", choose);
    for (const button of document.querySelectorAll(".step")) {
      button.addEventListener("click", () => {
        const count = chooser.options.length;
        chooser.selectedIndex = (chooser.selectedIndex + Number(button.dataset.step) + count) % count;
        choose();
      });
    }
    choose();
  }

  // A click on a heading sorts the rows: numbers by size, texts by letters, none last.
  const number = (text) => {
    const plain = text.replaceAll(",", "").replace("\u2212", "-");
    return /^[<>+-]?\s*[0-9.]/.test(plain) && !/^[0-9]+-[0-9]+-/.test(plain) ? parseFloat(plain.replace(/^[<>]\s*/, "")) : NaN;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [row, row.cells[column].textContent.trim()]);
        const numeric = head.classList.contains("number");
        const empty = (text) => text === "" || text === "\u2013" || (numeric && Number.isNaN(number(text)));
        rows.sort(([, a], [, b]) => {
          if (empty(a) || empty(b)) return empty(a) - empty(b);
          const order = numeric ? number(a) - number(b) : a.localeCompare(b, "en", { numeric: true });
          return down ? -order : order;
        });
        table.tBodies[0].append(...rows.map(([row]) => row));
      });
    });
  }

  for (const input of document.querySelectorAll(".filter")) {
    const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
  }
})();
