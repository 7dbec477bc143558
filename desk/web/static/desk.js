// Posters move while somebody points at them or has the keyboard's focus on them; letters lead to neighbours.

function moving(tile, on) {
  const poster = tile.querySelector("img[data-preview]");
  if (!poster) return;
  poster.dataset.still ??= poster.src;
  poster.src = on ? poster.dataset.preview : poster.dataset.still;
}

for (const tile of document.querySelectorAll(".tile")) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const begin = () => calm.matches || moving(tile, true);
  const end = () => moving(tile, false);
  tile.addEventListener("pointerenter", begin);
  tile.addEventListener("pointerleave", end);
  tile.addEventListener("focusin", begin);
  tile.addEventListener("focusout", end);
}

// In the grid arrows walk from tile to tile, as the eye does.
const links = [...document.querySelectorAll(".grid .tile a")];
function walk(event) {
  const at = links.indexOf(document.activeElement);
  if (at < 0) return;
  const top = links[0].getBoundingClientRect().top;
  const across = Math.max(1, links.filter((link) => Math.abs(link.getBoundingClientRect().top - top) < 5).length);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  if (step && links[at + step]) {
    links[at + step].focus();
    event.preventDefault();
  }
}

function typing(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea") !== null;
}

for (const filter of document.querySelectorAll(".filters select")) {
  filter.addEventListener("change", () => filter.form.requestSubmit());
}

for (const opener of document.querySelectorAll("[data-opens]")) {
  opener.addEventListener("click", () => {
    const opened = document.getElementById(opener.dataset.opens);
    opened.hidden = !opened.hidden;
    opener.setAttribute("aria-expanded", String(!opened.hidden));
    if (!opened.hidden) opened.querySelector("textarea, input:not([type=hidden])").focus();
  });
}

document.addEventListener("keydown", (event) => {
  if (typing(event)) return;
  if (links.length) walk(event);
  const meant = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (meant) {
    meant.click();
    event.preventDefault();  // the letter is not typed into what opens
  }
});
