// Before the viewer follows a click, it moves to the section of the case that was clicked.
document.addEventListener("click", (event) => {
  const place = event.target.closest?.("[data-viewer-case]")?.closest(".case")?.querySelector(".stand");
  if (place) place.append(document.getElementById("viewer"));
}, true);
