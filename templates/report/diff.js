"use strict";
// Filters and searches the rows of this page. Without it the page shows every row, and is complete.
(() => {
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
  const form = document.querySelector("form.filter");
  const rows = [...document.querySelectorAll("table.findings tbody tr")];
  if (!form || !rows.length) return;
  const found = form.querySelector(".found");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const total = rows.length.toLocaleString("en");

  const apply = () => {
    const severities = new Set([...form.querySelectorAll("[name=severity]:checked")].map((box) => box.value));
    const { section, effect } = form.elements;
    const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      const fits = severities.has(row.dataset.severity)
        && (!section.value || section.value === row.dataset.section)
        && (!effect.value || effect.value === row.dataset.effect)
        && words.every((word) => texts[index].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    found.textContent = `${shown.toLocaleString("en")} of ${total} differences shown`;
  };

  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
