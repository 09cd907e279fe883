(() => {
  const bar = document.getElementById("filter");
  const grid = document.getElementById("grid");
  if (!bar) return;
  bar.hidden = false;
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    grid.dataset.show = button.value;
    for (const other of bar.querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
  });
})();
